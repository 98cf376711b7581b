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

_Bool loop_is_attached(const char *path, char *ret_name, size_t name_size)
{
	CLEANUP_FREE char *real = realpath(path, NULL);
	DIR *dir = real ? opendir("/sys/block") : NULL;
	struct dirent *entry;
	_Bool found = 0;

	if (!dir)
		return 0;
	while (!found && (entry = readdir(dir))) {
		char backing[PATH_MAX];

		if (strncmp(entry->d_name, "loop", 4) != 0 ||
		    !backing_file(dirfd(dir), entry->d_name, backing, sizeof(backing)))
			continue;
		found = strcmp(backing, real) == 0;
		if (found)
			snprintf(ret_name, name_size, "%s", entry->d_name);
	}
	closedir(dir);
	return found;
}
