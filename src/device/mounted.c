/* /proc/self/mountinfo and /proc/swaps: neither asks any file system. */
#include "device/mounted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "remapfs/cleanup.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* The kernel writes blanks and the like as \040. */
static char *unescape(char *text)
{
	char *to = text;

	for (const char *c = text; *c; to++) {
		if (c[0] == '\\' && is_octal(c[1]) && is_octal(c[2]) && is_octal(c[3])) {
			*to = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
			c += 4;
		} else {
			*to = *c++;
		}
	}
	*to = 0;
	return text;
}

/* A name below /dev is looked at without asking a file system that may block. */
static bool names_device(const char *name, dev_t device)
{
	struct stat st;

	return strncmp(name, "/dev/", 5) == 0 && stat(name, &st) == 0 && S_ISBLK(st.st_mode) &&
	       st.st_rdev == device;
}

struct mount_line {
	dev_t device;
	const char *point, *type, *source;
};

/* proc_pid_mountinfo(5): id parent major:minor root point options [tag]... - type source */
static bool read_mount(char *line, struct mount_line *ret)
{
	char *end = strstr(line, " - "), *field[5] = {0}, *word[2] = {0};
	unsigned major_number, minor_number;

	line[strcspn(line, "\n")] = 0;
	if (!end)
		return false;
	*end = 0;
	end += 3;
	for (int i = 0; i < 5; i++)
		field[i] = strsep(&line, " ");
	for (int i = 0; i < 2; i++)
		word[i] = strsep(&end, " ");
	if (!field[4] || !word[1] || sscanf(field[2], "%u:%u", &major_number, &minor_number) != 2)
		return false;
	*ret = (struct mount_line){makedev(major_number, minor_number), unescape(field[4]),
				   word[0], unescape(word[1])};
	return true;
}

/* Until take returns true; *ret_read: the list could be read. */
static bool find_mount(bool (*take)(const struct mount_line *, const void *), const void *context,
		       bool *ret_read)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	CLEANUP_FREE char *line = NULL;
	struct mount_line mount;
	bool found = false;
	size_t room = 0;

	*ret_read = mounts != NULL;
	while (mounts && !found && getline(&line, &room, mounts) > 0)
		found = read_mount(line, &mount) && take(&mount, context);
	if (mounts)
		fclose(mounts);
	return found;
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

static bool is_remote_above(const struct mount_line *mount, const void *path)
{
	size_t length = strlen(mount->point);
	const char *rest = (const char *)path + length;

	if (!is_remote(mount->type) || strncmp(path, mount->point, length) != 0)
		return false;
	return *rest == 0 || *rest == '/' || length == 1;
}

bool path_may_block(const char *path)
{
	bool readable, found = find_mount(is_remote_above, path, &readable);

	return found || !readable;
}

static bool is_from(const struct mount_line *mount, const void *device)
{
	const dev_t *d = device;

	/* btrfs gives its mounts a number that is no device's. */
	return mount->device == *d || names_device(mount->source, *d);
}

bool device_is_mounted(dev_t device)
{
	bool readable;

	return find_mount(is_from, &device, &readable);
}

bool device_is_swap(dev_t device)
{
	FILE *swaps = fopen("/proc/swaps", "re");
	CLEANUP_FREE char *line = NULL;
	bool found = false;
	size_t room = 0;

	while (swaps && !found && getline(&line, &room, swaps) > 0) {
		line[strcspn(line, " \t\n")] = 0;
		found = names_device(unescape(line), device);
	}
	if (swaps)
		fclose(swaps);
	return found;
}
