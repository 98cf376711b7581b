/* How the mounts of volumes are named, and whose mounts there are. */
#ifndef REMAPFS_CTL_MOUNTS_H
#define REMAPFS_CTL_MOUNTS_H

#include "remapfs/mountinfo.h"

/* Of the name, with its end. */
#define MOUNT_NAME_SIZE 512

/*
 * How remapfs names the mount of a volume (an absolute path) as its source, as far as it
 * has room: "remapfs:PATH", or PATH where mount(8) made it.
 *
 * For mount(8) it is the volume as fstab has it: by that 'mount -a' knows what is mounted
 * already, and systemd which disk must stay until it is unmounted. It must not look like a
 * device, or systemd would unmount it.
 */
void mounts_name(const char *volume, bool by_mount, char *to, size_t size);

/*
 * Whose a FUSE file system is: who mounted it, as the kernel knows it (user_id= of a mount
 * that is to be seen from here, or fusectl). false: that cannot be told, or it is none.
 */
bool mounts_owner(dev_t file_system, uid_t *ret);

/*
 * Whether what a mount calls itself (its source, its type) is the word of a user who is
 * neither root nor the caller: of FUSE anybody names it as he likes.
 */
bool mount_is_strangers(const struct mount *);

#endif
