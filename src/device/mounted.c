/* /proc/self/mountinfo and /proc/swaps: neither asks any file system. */
#include "device/mounted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/cleanup.h"
#include "remapfs/mountinfo.h"

/* A name below /dev is looked at without asking a file system that may block. */
static bool names_device(const char *name, dev_t device)
{
	struct stat st;

	return strncmp(name, "/dev/", 5) == 0 && stat(name, &st) == 0 && S_ISBLK(st.st_mode) &&
	       st.st_rdev == device;
}

static bool is_remote(const char *type)
{
	static const char *const types[] = {"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs",
					    "virtiofs", "autofs", "lustre", "gfs2", "ocfs2"};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return strncmp(type, "fuse", 4) == 0;
}

static bool is_remote_above(const struct mount *mount, void *context)
{
	const char *path = *(const char **)context, *rest;
	size_t length = strlen(mount->point);

	if (!is_remote(mount->type) || strncmp(path, mount->point, length) != 0)
		return false;
	rest = path + length;
	return *rest == 0 || *rest == '/' || length == 1;
}

bool path_may_block(const char *path)
{
	return mounts_find(is_remote_above, &path) || !mounts_can_see(0);
}

static bool is_from(const struct mount *mount, void *device)
{
	const dev_t *d = device;

	/* btrfs gives its mounts a number that is no device's. */
	return mount->device == *d || names_device(mount->source, *d);
}

bool device_is_mounted(dev_t device)
{
	return mounts_find(is_from, &device);
}

bool device_is_swap(dev_t device)
{
	FILE *swaps = fopen("/proc/swaps", "re");
	CLEANUP_FREE char *line = NULL;
	bool found = false;
	size_t room = 0;

	while (swaps && !found && getline(&line, &room, swaps) > 0) {
		line[strcspn(line, " \t\n")] = 0;
		found = names_device(mount_unescape(line), device);
	}
	if (swaps)
		fclose(swaps);
	return found;
}
