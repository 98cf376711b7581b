/*
 * Who else can put another file in the place of a volume, or files beside it. The rule,
 * as ssh's StrictModes has it, for the real path (no links) of a file:
 *
 * - Each folder on the way, from / on, belongs to root, to the file's owner, or to the
 *   caller. The caller of sudo (SUDO_UID) is one as well; a file that is to be made will
 *   be the caller's.
 * - Nobody else can write it. A folder that others can write is in order where it is
 *   sticky, as /tmp is, and what is in it on the way, a folder or the file, belongs to
 *   root, to the caller, or to that folder's owner: others can have put a file of theirs
 *   there, but can neither rename nor remove this one.
 * - Nobody else can write the file.
 *
 * Others can write what has the mode bit for others, and what has the bit for the group.
 * That one does not count where the group has the number of the owner, as a user's own
 * group has, and there is no ACL.
 *
 * In a user namespace, the owner of what belongs to no user of it counts as root: its
 * root is not the machine's.
 */
#ifndef REMAPFS_FOLDER_H
#define REMAPFS_FOLDER_H

#include "remapfs/error.h"

/* In the order of gravity. */
enum folder_guard {
	FOLDER_GUARDED,
	FOLDER_SHARED, /* in a sticky folder: others can put files beside it */
	FOLDER_OPEN,   /* others can write it, or put another file in its place */
};

/*
 * Judges path by the rule. What cannot be looked at is left out. why has the line for
 * FOLDER_SHARED and FOLDER_OPEN, with the remedy; "" otherwise. Thread-safe.
 */
enum folder_guard folder_judge(const char *path, struct error *why);

/*
 * For whoever begins to use or to make a file: -EPERM for root where it is FOLDER_OPEN,
 * and err has the line. Otherwise 0: log_warning has told what is not FOLDER_GUARDED.
 */
int folder_check(const char *path, struct error *err);

#endif
