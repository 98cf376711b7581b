/*
 * What is left of a mount whose daemon died, or that no path leads to any more, and the
 * commands that take it away by hand. Used by remapctl and remapfs.
 *
 * A mount that is dead answers ENOTCONN, or ECONNABORTED, and the loop device on it fails
 * every request. Nothing here asks such a mount for anything but statfs(2), which the
 * kernel answers; nothing touches the backing file of a loop device whose path is known.
 */
#ifndef REMAPFS_CTL_REMAINS_H
#define REMAPFS_CTL_REMAINS_H

#include "ctl/mounts.h"
#include "remapfs/error.h"

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* Where a dead mount is. */
struct dead_mount {
	char point[PATH_MAX];
	char image[PATH_MAX]; /* the path of its disk.img, as loop devices name it */
};

/* The dead mount of remapfs that path is or lies in. path need not be absolute. */
bool dead_mount_at(const char *path, struct dead_mount *ret);

/*
 * A dead mount of the volume, whose path is absolute: of root, of the caller or of the
 * volume's owner, since anybody can have one that calls itself so.
 */
bool dead_mount_of(const char *volume, struct dead_mount *ret);

/* Either of them, of a path that need not be absolute. */
bool dead_mount_find(const char *path, struct dead_mount *ret);

/*
 * "the mount on ... is dead: ...; 'umount ...', 'losetup -d ...', 'fusermount3 -u ...', then
 * mount anew". Returns -ENOTCONN.
 */
int dead_mount_explain(const struct dead_mount *, struct error *err);

enum mount_reach {
	MOUNT_HERE,      /* or it cannot be told */
	MOUNT_ELSEWHERE, /* in a mount namespace that others use */
	MOUNT_HIDDEN,    /* out of everybody's sight */
};

/*
 * Who can get at the mount of the daemon of the volume, which gave this answer to peer_status.
 * Hidden is one after umount -l, and one in a mount namespace whose processes have ended. If
 * it is not here, err says so, and how to end it. One that is ending is here.
 */
enum mount_reach mount_reach(const char *volume, const json_t *answer, struct error *err);

/* The number of the daemon's file system; 0: it does not say. */
dev_t mount_number(const json_t *answer);

/*
 * The loop devices of a mount that has no path, by the number of its file system; 0: those
 * of mounts that are dead. Waits some seconds at most for each such loop device. "/dev/loop0 /dev/loop3"; "" when there is none.
 */
void hidden_loops(dev_t file_system, char *to, size_t size);

#endif
