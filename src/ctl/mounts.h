/* What is mounted, as this process sees it. */
#ifndef REMAPFS_CTL_MOUNTS_H
#define REMAPFS_CTL_MOUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct mount {
	unsigned long long id; /* stx_mnt_id */
	dev_t device;
	const char *point, *type, *source;
	const char *options; /* of the file system: "rw,user_id=0,allow_other" */
};

/*
 * Shows take one mount after the other, the oldest first, until it returns true; then
 * true. What it is shown is gone when it returns. Without /proc there is nothing.
 */
bool mounts_find(bool (*take)(const struct mount *, void *context), void *context);

/* The same of what another process sees. */
bool mounts_find_of(pid_t process, bool (*take)(const struct mount *, void *context),
		    void *context);
/* Whether this process may see what that one sees. */
bool mounts_can_see(pid_t process);

/* The value of option ("upperdir") with its escapes resolved; false: there is none. */
bool mount_value(const struct mount *, const char *option, char *to, size_t size);

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

/* Whether option is among them, with its value if it has one: "user_id=0". */
bool mount_has(const struct mount *, const char *option);

#endif
