/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FORMAT_MANIFEST_WIRE_H
#define FORMAT_MANIFEST_WIRE_H

/* Slots of the manifest's tables (storage format section 5.3), for the encoder and the decoder. */
enum {
    MF_MANIFEST_ID, MF_EXTERNALS, MF_INITIALIZED, MF_WRITER_EPOCH, MF_COMPACTOR_EPOCH, MF_REPLAY_AFTER,
    MF_WAL_LAST_SEEN, MF_L0_LAST_COMPACTED,
    /* version 1 from here */
    MF1_L0 = 8, MF1_RUNS, MF1_CLOCK_TICK, MF1_CHECKPOINTS, MF1_LAST_SEQ, MF1_WAL_URI, MF1_SNAPSHOT_MIN, MF1_TRACKER,
    /* version 2 from here */
    MF2_SSTS = 8, MF2_L0, MF2_RUNS, MF2_CLOCK_TICK, MF2_CHECKPOINTS, MF2_LAST_SEQ, MF2_SNAPSHOT_MIN, MF2_TRACKER,
    MF2_SEGMENTS, MF2_EXTRACTOR,
};
enum { RUN_ID, RUN_SSTS };
enum { VIEW_ID, VIEW_SST_ID, VIEW_RANGE };
enum { CP_ID, CP_MANIFEST_ID, CP_EXPIRE, CP_CREATE, CP_METADATA_TYPE, CP_METADATA, CP_NAME };
enum { EXT_PATH, EXT_SOURCE, EXT_FINAL, EXT_SSTS };

/* The FlatBuffer counts alignment from its own start, behind the version. */
#define MANIFEST_VERSION_LEN 2

#endif
