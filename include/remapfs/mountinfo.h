/* What is mounted, out of proc_pid_mountinfo(5): it asks no file system. */
#ifndef REMAPFS_MOUNTINFO_H
#define REMAPFS_MOUNTINFO_H

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

/* The same of what another process sees; 0: this one. */
bool mounts_find_of(pid_t process, bool (*take)(const struct mount *, void *context),
		    void *context);
/* Whether this process may see what that one, or 0, this one, sees. */
bool mounts_can_see(pid_t process);

/* The value of option ("upperdir") with its escapes resolved; false: there is none. */
bool mount_value(const struct mount *, const char *option, char *to, size_t size);

/* Whether option is among them, with its value if it has one: "user_id=0". */
bool mount_has(const struct mount *, const char *option);

/* Resolves, in place, what /proc writes as \040: blanks and the like. Returns text. */
char *mount_unescape(char *text);

#endif
