/*
 * connect() goes through the magic link of a descriptor of the socket itself
 * (/proc/self/fd/N), which is short, and is opened with O_NOFOLLOW, so that
 * what was looked at is what is connected to.
 */
#include "control/address.h"

#include "remapfs/control.h"

#include "remapfs/cleanup.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

int64_t control_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int control_left(int64_t deadline)
{
	int64_t left = deadline - control_now();

	return left > 0 ? (int)left : 0;
}

static int open_directory(const char *path, size_t length)
{
	CLEANUP_FREE char *directory = NULL;
	int fd;

	if (!length)
		return open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	directory = strndup(path, length);
	if (!directory)
		return -1;
	fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

/*
 * ---- a folder that cannot be written ------------------------------------------------
 *
 * The socket of a volume on a read-only file system is in a folder of the user that
 * lasts until the next boot. Its name is the number of the file, which all its names share.
 */

char *control_folder(const char *volume_path)
{
	const char *runtime = geteuid() == 0 ? "/run" : getenv("XDG_RUNTIME_DIR");
	struct statvfs fs;
	char *folder;

	if (statvfs(volume_path, &fs) < 0 || !(fs.f_flag & ST_RDONLY) || !runtime ||
	    asprintf(&folder, "%s/remapfs", runtime) < 0)
		return NULL;
	return folder;
}

/* 1: this is where it is. 0: it is beside the volume. */
static int find_elsewhere(const char *volume_path, struct control_address *ret, struct error *err)
{
	CLEANUP_FREE char *folder = control_folder(volume_path);
	struct stat st;

	if (!folder || stat(volume_path, &st) < 0)
		return 0;
	snprintf(ret->name, sizeof(ret->name), "%x-%x-%llx.sock", major(st.st_dev),
		 minor(st.st_dev), (unsigned long long)st.st_ino);
	ret->directory = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (ret->directory >= 0)
		return 1;
	return error_set(err, errno, "the folder '%.200s' of control sockets: %s; check the path",
			 folder, strerror(errno));
}

int control_address_find(const char *volume_path, struct control_address *ret, struct error *err)
{
	/* A volume that was deleted under its daemon still has a socket. */
	CLEANUP_FREE char *real = realpath(volume_path, NULL);
	const char *path = real ? real : volume_path;
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct control_address found;
	int rc = find_elsewhere(volume_path, &found, err);

	if (rc != 0) {
		if (rc > 0)
			*ret = found;
		return rc < 0 ? rc : 0;
	}
	if (snprintf(found.name, sizeof(found.name), "%s.sock", name) > NAME_MAX)
		return error_set(err, ENAMETOOLONG,
				 "the name '%.40s...' is too long; name the volume with at most "
				 "240 bytes",
				 name);
	found.directory = open_directory(path, slash ? (size_t)(slash + 1 - path) : 0);
	if (found.directory < 0) {
		int code = errno;

		return error_set(err, code, "the folder of %.200s: %s; check the path", volume_path,
				 strerror(code));
	}
	*ret = found;
	return 0;
}

void control_address_release(struct control_address *address)
{
	if (address->directory >= 0)
		close(address->directory);
	address->directory = -1;
}

/* A full backlog answers EAGAIN at once, whatever the socket's timeouts say. */
static int connect_until(int fd, const struct sockaddr_un *to, int64_t deadline)
{
	while (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (!control_left(deadline))
			return -ETIMEDOUT;
		poll(NULL, 0, 20);
	}
	return 0;
}

int control_connect(const struct control_address *address, int64_t deadline)
{
	CLEANUP_CLOSE int node =
	    openat(address->directory, address->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	struct stat st;
	int fd, rc;

	if (node < 0 || fstat(node, &st) < 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d", node);
	rc = connect_until(fd, &to, deadline);
	if (rc == 0)
		return fd;
	close(fd);
	/* The socket is there: it is /proc that is not. */
	return rc == -ENOENT ? -ENOSYS : rc;
}
