#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT_S 290

__attribute__((constructor)) static void limit_time(void)
{
	alarm(TIME_LIMIT_S);
}

/* ---- scratch directory ---------------------------------------------------------- */

static char scratch[PATH_MAX / 2];

int scratch_setup(void **state)
{
	const char *base = getenv("TMPDIR");

	(void)state;
	snprintf(scratch, sizeof(scratch), "%s/remapfs-unit-XXXXXX", base && *base ? base : "/tmp");
	if (!mkdtemp(scratch)) {
		fprintf(stderr, "mkdtemp %s: %s\n", scratch, strerror(errno));
		return -1;
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

int scratch_teardown(void **state)
{
	(void)state;
	return nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *at(const char *name)
{
	static char paths[16][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	snprintf(path, PATH_MAX, "%s/%s", scratch, name);
	return path;
}

bool scratch_is_empty(void)
{
	DIR *dir = opendir(scratch);
	unsigned entries = 0;

	assert_non_null(dir);
	while (readdir(dir))
		entries++;
	closedir(dir);
	return entries == 2;
}

void make_file(const char *path, uint64_t size)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

void put_bytes(const char *path, uint64_t offset, const void *data, size_t length)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, data, length, (off_t)offset), length);
	close(fd);
}

void get_bytes(const char *path, uint64_t offset, void *data, size_t length)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(pread(fd, data, length, (off_t)offset), length);
	close(fd);
}

bool path_exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

void *aligned_buffer(size_t length)
{
	void *p = aligned_alloc(4096, (length + 4095) / 4096 * 4096);

	assert_non_null(p);
	memset(p, 0, length);
	return p;
}

/* ---- random --------------------------------------------------------------------- */

uint64_t test_seed(void)
{
	const char *given = getenv("REMAPFS_TEST_SEED");
	struct timespec now;
	uint64_t seed;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20;
	print_message("REMAPFS_TEST_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* splitmix64: any state will do as a seed. */
uint64_t random_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}

void random_fill(uint64_t *state, void *data, size_t length)
{
	uint8_t *p = data;

	for (size_t i = 0; i < length; i++)
		p[i] = (uint8_t)random_next(state);
}

void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* ---- processes ------------------------------------------------------------------ */

int in_child(int (*fn)(void *context), void *context)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(TIME_LIMIT_S);
		_exit(fn(context));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* ---- device in memory ----------------------------------------------------------- */

static struct ram_device *ram(struct device *d)
{
	return (struct ram_device *)d;
}

static int meet(struct device *d, enum ram_call call, uint64_t offset, uint64_t length)
{
	struct ram_device *r = ram(d);

	__atomic_add_fetch(&r->calls[call], 1, __ATOMIC_RELAXED);
	assert_true(offset + length <= d->geometry.size);
	assert_int_equal(offset % d->geometry.block_size, 0);
	assert_int_equal(length % d->geometry.block_size, 0);
	if (call == RAM_FLUSH || (offset < r->fail_to && offset + length > r->fail_from))
		return r->fail_error[call];
	return 0;
}

static int ram_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	int rc = meet(d, RAM_READ, offset, length);

	if (!rc)
		memcpy(buf, ram(d)->data + offset, length);
	return rc;
}

static int ram_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	int rc = meet(d, RAM_WRITE, offset, length);

	if (!rc)
		memcpy(ram(d)->data + offset, buf, length);
	return rc;
}

static int ram_flush(struct device *d)
{
	return meet(d, RAM_FLUSH, 0, 0);
}

static int ram_discard(struct device *d, uint64_t offset, uint64_t length)
{
	int rc = meet(d, RAM_DISCARD, offset, length);

	if (!rc)
		memset(ram(d)->data + offset, 0, length);
	return rc;
}

static int ram_zero(struct device *d, uint64_t offset, uint64_t length)
{
	int rc = meet(d, RAM_ZERO, offset, length);

	if (!rc)
		memset(ram(d)->data + offset, 0, length);
	return rc;
}

static int ram_next_data(struct device *d, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	const uint8_t *data = ram(d)->data;

	while (offset < d->geometry.size && !data[offset])
		offset++;
	if (offset == d->geometry.size)
		return -ENXIO;
	*ret_start = offset / d->geometry.block_size * d->geometry.block_size;
	*ret_end = d->geometry.size;
	return 0;
}

static void ram_close(struct device *d)
{
	if (ram(d)->closed)
		*ram(d)->closed = true;
	free(ram(d)->data);
	free(d);
}

struct ram_device *ram_device_new(uint64_t size, uint32_t block_size)
{
	static const struct device_ops ops = {
		.read = ram_read,
		.write = ram_write,
		.flush = ram_flush,
		.discard = ram_discard,
		.zero = ram_zero,
		.next_data = ram_next_data,
		.close = ram_close,
	};
	struct ram_device *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	r->device.ops = &ops;
	r->device.geometry =
		(struct geometry){.size = size, .block_size = block_size, .direct = true};
	r->data = calloc(1, size);
	assert_non_null(r->data);
	return r;
}
