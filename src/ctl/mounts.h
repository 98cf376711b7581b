/* What is mounted, as this process sees it. */
#ifndef REMAPFS_CTL_MOUNTS_H
#define REMAPFS_CTL_MOUNTS_H

#include <stdbool.h>
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

/* Whether option is among them, with its value if it has one: "user_id=0". */
bool mount_has(const struct mount *, const char *option);

#endif
