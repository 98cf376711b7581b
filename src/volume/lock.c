/* Contract 8. flock(2) and the fcntl locks of SQLite do not see each other. */
#include "remapfs/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "remapfs/folder.h"

#define STEP (128u << 10) /* in one call the kernel reads as little as that ahead */

/*
 * Opening reads all of it, by its indexes, which is page by page and here and there:
 * with ten million rows that took 15 s, and 6 s where the pages were in memory.
 */
static void read_ahead(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	for (off_t at = 0; at < st.st_size; at += STEP)
		posix_fadvise(fd, at, STEP, POSIX_FADV_WILLNEED);
}

int volume_lock(const char *path, unsigned wait_ms, int *ret_fd, struct error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return error_set(err, errno, "cannot open volume '%s': %s; %s", path,
				 strerror(errno), errno == ENOENT
				 ? "make one with 'remapctl create', or of its spares if it was "
				   "lost with 'remapctl rebuild'" : "check the path");
	for (unsigned waited = 0;; waited += 50) {
		struct timespec pause = {.tv_nsec = 50 * 1000000};

		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			break;
		if (errno != EWOULDBLOCK)
			return error_set(err, errno, "cannot lock volume '%s': %s; use a file "
					 "system with locks", path, strerror(errno));
		if (waited >= wait_ms)
			return error_set(err, EBUSY, "volume '%s' is in use by another remapfs; "
					 "unmount that one first, and wait for its end", path);
		nanosleep(&pause, NULL);
	}
	rc = folder_check(path, err);
	if (rc < 0)
		return rc;
	read_ahead(fd);
	*ret_fd = fd;
	fd = -1;
	return 0;
}
