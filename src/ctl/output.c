#include "ctl/output.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static bool is_same(const struct stat *st, const char *path, const char *suffix)
{
	char name[PATH_MAX + 16];
	struct stat other;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	return stat(name, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

static bool belongs_to(const struct stat *st, const struct status *status)
{
	if (is_same(st, status->path, "") || is_same(st, status->path, "-wal") ||
	    is_same(st, status->path, "-shm") ||
	    (status->store && is_same(st, status->volume->main_path, "")))
		return true;
	for (size_t i = 0; i < status->spare_count; i++)
		if (is_same(st, status->spares[i].path, ""))
			return true;
	return false;
}

/* *ret is what a name leads to, through links; the name itself where nothing is. */
static int find_target(const char *path, const struct status *status, char **ret,
		       struct error *err)
{
	struct stat st;

	if (stat(path, &st) == 0) {
		if (!S_ISREG(st.st_mode))
			return error_set(err, EINVAL, "'%.200s' is no regular file; name another, "
					 "or '-' for standard output", path);
		if (belongs_to(&st, status))
			return error_set(err, EINVAL, "'%.200s' belongs to the volume; name "
					 "another file", path);
	}
	*ret = realpath(path, NULL);
	if (!*ret)
		*ret = strdup(path);
	return *ret ? 0 : error_set(err, ENOMEM, "not enough memory; end other programs first");
}

static int write_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

static int set_mode(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	return fchmod(fd, 0666 & ~mask) < 0 ? -errno : 0;
}

static int replace(const char *target, const char *data, size_t size)
{
	char temp[PATH_MAX + 16];
	CLEANUP_CLOSE int fd = -1;
	int rc;

	snprintf(temp, sizeof(temp), "%s.XXXXXX", target);
	fd = mkostemp(temp, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = write_all(fd, data, size);
	rc = rc ? rc : set_mode(fd);
	if (rc == 0 && rename(temp, target) < 0)
		rc = -errno;
	if (rc)
		unlink(temp);
	return rc;
}

int output_put(const char *path, const char *data, size_t size, const struct status *status,
	       struct error *err)
{
	CLEANUP_FREE char *target = NULL;
	int rc;

	if (!path || strcmp(path, "-") == 0) {
		fwrite(data, 1, size, stdout);
		return 0;
	}
	rc = find_target(path, status, &target, err);
	if (rc)
		return rc;
	rc = replace(target, data, size);
	if (rc)
		return error_set(err, -rc, "cannot write '%.200s': %s; name a file in a folder "
				 "that is there, with room and the right to write", path,
				 strerror(-rc));
	return 0;
}
