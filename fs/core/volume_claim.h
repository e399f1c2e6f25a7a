/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_VOLUME_CLAIM_H
#define FS_CORE_VOLUME_CLAIM_H

#include "base/errand.h"
#include "fs/core/volume_state.h"

/*
 * How a mount takes a volume to write to it:
 *
 *   sessions are listed                one that may be alive: refused, with its name
 *   the manifest is read               it says which epoch the last writer has, or had
 *   sessions are listed again          the same
 *   a session of our own is created
 *   epoch + 1 is claimed               by compare-and-swap, and only from the epoch read first: else refused
 *
 * So of mounts that race exactly one has the volume. Each that finds another's session, or a later epoch, steps back;
 * and whoever reads the winner's epoch lists sessions after that, and finds his. A takeover claims from whoever has it:
 * the last one to do so is not fenced.
 */
struct volume_claim {
    struct fs *fs;
    struct errand errand;      /* a step of it, beside what else there is to ask of the store */
    const char *url;           /* for sentences, borrowed */
    struct session_list others; /* that were there; dead, or to be taken over from */
    bool has_session;          /* fs->session is in the store */
};

#define VOLUME_CLAIM_INIT(f, u) { .fs = (f), .url = (u), .others = SESSION_LIST_INIT }

/*
 * List sessions, and refuse when one may be alive; of a struct volume_claim. Done once before anything else, too: a listing
 * has no checksum, and a name that was spoilt on the way would hide a living mount.
 */
int volume_claim_look(void *claim);
/* Options of the engine for an open by this claim. For a takeover it lists sessions and creates ours at once. */
int volume_claim_begin(struct volume_claim *c, struct shale_options *opt);
/* After the open: whoever had the volume is fenced now, so the sessions of others go. */
int volume_claim_finish(void *claim);
/* After a failure, rc: our session goes. Returns rc; the sentence of -EBUSY tells who has the volume. */
int volume_claim_cancel(struct volume_claim *c, int rc);
void volume_claim_fini(struct volume_claim *c);

#endif
