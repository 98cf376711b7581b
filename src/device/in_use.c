#include "device/in_use.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

/* The path that a loop device names as its backing file, without newline. */
static _Bool backing_file(int sys_block, const char *loop, char *path, size_t size)
{
	char name[NAME_MAX + sizeof("/loop/backing_file")];
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "%s/loop/backing_file", loop);
	fd = openat(sys_block, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, path, size - 1);
	close(fd);
	if (n <= 0)
		return 0;
	path[n] = 0;
	path[strcspn(path, "\n")] = 0;
	return 1;
}

_Bool loop_is_attached(const struct stat *status, char *ret_name, size_t name_size)
{
	DIR *dir = opendir("/sys/block");
	struct dirent *entry;
	_Bool found = 0;

	if (!dir)
		return 0;
	while (!found && (entry = readdir(dir))) {
		char path[PATH_MAX];
		struct stat other;

		if (strncmp(entry->d_name, "loop", 4) != 0 ||
		    !backing_file(dirfd(dir), entry->d_name, path, sizeof(path)) ||
		    stat(path, &other) < 0)
			continue;
		found = other.st_dev == status->st_dev && other.st_ino == status->st_ino;
		if (found)
			snprintf(ret_name, name_size, "%s", entry->d_name);
	}
	closedir(dir);
	return found;
}
