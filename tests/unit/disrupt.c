#include "disrupt.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"
#include "remapfs/cleanup.h"

static atomic_bool active;

/* Guards what follows: the engine has threads of its own. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct disruption now;
static unsigned matched, failed;
static char root[PATH_MAX];

void disrupt(const struct disruption *d)
{
	const char *name = at("x");
	HOLD_LOCK(&lock);

	snprintf(root, sizeof(root), "%.*s", (int)(strlen(name) - 1), name);
	now = *d;
	matched = failed = 0;
	atomic_store(&active, true);
}

unsigned disrupt_end(void)
{
	HOLD_LOCK(&lock);

	atomic_store(&active, false);
	return failed;
}

static bool ends_in(const char *path, const char *end)
{
	size_t n = strlen(path), m = strlen(end);

	return n >= m && strcmp(path + n - m, end) == 0;
}

/* The error that this call shall fail with, or 0. */
static int strikes(int fd, enum disrupt_calls call)
{
	char link[64], path[PATH_MAX];
	ssize_t n;
	unsigned order;

	if (!atomic_load(&active))
		return 0;
	HOLD_LOCK(&lock);
	if (!(now.calls & call))
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return 0;
	path[n] = 0;
	if (strncmp(path, root, strlen(root)) != 0 || !ends_in(path, now.file))
		return 0;
	order = matched++;
	if (order < now.after || (now.times && order >= now.after + now.times))
		return 0;
	failed++;
	return now.error;
}

static bool refused(int fd, enum disrupt_calls call)
{
	int kept = errno, error = strikes(fd, call);

	errno = error ? error : kept;
	return error != 0;
}

ssize_t pread(int fd, void *buf, size_t count, off_t offset)
{
	return refused(fd, DISRUPT_READ) ? -1 : syscall(SYS_pread64, fd, buf, count, offset);
}

ssize_t pread64(int fd, void *buf, size_t count, off_t offset)
{
	return pread(fd, buf, count, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t count, off_t offset)
{
	return refused(fd, DISRUPT_WRITE) ? -1 : syscall(SYS_pwrite64, fd, buf, count, offset);
}

ssize_t pwrite64(int fd, const void *buf, size_t count, off_t offset)
{
	return pwrite(fd, buf, count, offset);
}

int fsync(int fd)
{
	return refused(fd, DISRUPT_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return refused(fd, DISRUPT_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}
