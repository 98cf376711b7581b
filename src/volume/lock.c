/* Contract 8. flock(2) and the fcntl locks of SQLite do not see each other. */
#include "remapfs/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "remapfs/cleanup.h"

int volume_lock(const char *path, unsigned wait_ms, int *ret_fd, struct error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

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
					 "unmount that one first", path);
		nanosleep(&pause, NULL);
	}
	*ret_fd = fd;
	fd = -1;
	return 0;
}
