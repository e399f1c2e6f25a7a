/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FS_CORE_FSERR_H
#define FS_CORE_FSERR_H

/*
 * The errno that the kernel sees for an engine code, only here: -errno stays for those that make sense to a program;
 * everything else, corruption, fencing and a closed handle included, is -EIO. 0 and counts stay.
 */
int fserr(int rc);

#endif
