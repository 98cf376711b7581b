/* Block devices as sysfs describes them: small text files, which never block. */
#include "device/sysfs.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

char *sysfs_folder(dev_t device)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device), minor(device));
	return realpath(path, NULL);
}

bool sysfs_line(const char *folder, const char *name, char *text, size_t size)
{
	char path[PATH_MAX + 64];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, size - 1);
	if (n <= 0)
		return false;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	return true;
}

bool sysfs_number(const char *folder, const char *name, uint64_t *ret)
{
	char text[32], *end;
	unsigned long long value;

	if (!sysfs_line(folder, name, text, sizeof(text)))
		return false;
	value = strtoull(text, &end, 10);
	if (end == text)
		return false;
	*ret = value;
	return true;
}

bool sysfs_device(const char *folder, const char *name, dev_t *ret)
{
	unsigned major_number, minor_number;
	char text[32];

	if (!sysfs_line(folder, name, text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
		return false;
	*ret = makedev(major_number, minor_number);
	return true;
}

int sysfs_each(const char *folder, const char *list, int (*fn)(void *context, dev_t), void *context)
{
	char path[PATH_MAX + 64], name[NAME_MAX + 8];
	struct dirent *entry;
	DIR *directory;
	dev_t device;
	int rc = 0;

	snprintf(path, sizeof(path), "%s/%s", folder, list);
	directory = opendir(path);
	while (directory && rc == 0 && (entry = readdir(directory))) {
		snprintf(name, sizeof(name), "%s/dev", entry->d_name);
		if (entry->d_name[0] != '.' && sysfs_device(path, name, &device))
			rc = fn(context, device);
	}
	if (directory)
		closedir(directory);
	return rc;
}
