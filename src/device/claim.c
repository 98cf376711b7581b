/*
 * Locks are write locks on ranges, or read locks for a reader. One more byte, far
 * behind any that is used, is read-locked by every holder: it tells that there is one.
 */
#include "device/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device/mounted.h"
#include "device/sysfs.h"
#include "remapfs/cleanup.h"

#define MARK ((off_t)1 << 62)
#define STEP_MS 50

/* ---- locks ------------------------------------------------------------------------ */

static struct flock lock_of(short type, uint64_t start, uint64_t end)
{
	uint64_t limit = end < (uint64_t)MARK ? end : (uint64_t)MARK;

	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)start,
			      .l_len = (off_t)(limit - start)};
}

static int tell_of_lock(const struct claim_options *o, int code, struct error *err)
{
	if (code == EAGAIN || code == EACCES)
		return error_set(err, EBUSY, "%s '%s' is in use by another remapfs; unmount that "
				 "one first", o->role, o->path);
	return error_set(err, code, "cannot lock %s '%s': %s; use a file system with locks", o->role,
			 o->path, strerror(code));
}

int claim_range(int fd, uint64_t start, uint64_t end, const struct claim_options *o,
		struct error *err)
{
	struct flock lock = lock_of(o->read_only ? F_RDLCK : F_WRLCK, start, end);
	struct flock mark = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = MARK, .l_len = 1};

	for (unsigned waited = 0; fcntl(fd, F_OFD_SETLK, &lock) < 0; waited += STEP_MS) {
		struct timespec pause = {.tv_nsec = STEP_MS * 1000000};

		if ((errno != EAGAIN && errno != EACCES) || waited >= o->wait_ms)
			return tell_of_lock(o, errno, err);
		nanosleep(&pause, NULL);
	}
	/* What locks all of it by another program has been refused before. */
	fcntl(fd, F_OFD_SETLK, &mark);
	return 0;
}

static bool is_marked(int fd)
{
	struct flock mark = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MARK, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &mark) == 0 && mark.l_type != F_UNLCK;
}

/* ---- on the lowest devices and files ------------------------------------------------- */

/* A block device may have several nodes, and each of them its own locks. */
static bool is_same_node(int fd, const struct storage_range *r)
{
	struct stat st, node;
	char name[300];

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	if (r->is_file)
		return S_ISREG(st.st_mode) && st.st_dev == r->device && st.st_ino == r->inode;
	return S_ISBLK(st.st_mode) && st.st_rdev == r->device &&
	       stat(storage_device_name(r->device, name, sizeof(name)), &node) == 0 &&
	       node.st_dev == st.st_dev && node.st_ino == st.st_ino;
}

static int open_for_lock(const struct storage_range *r, bool read_only)
{
	int fd = storage_open(r, read_only ? O_RDONLY : O_RDWR);

	return fd < 0 && !read_only ? storage_open(r, O_RDONLY) : fd;
}

static int claim_one(struct claim *c, const struct storage_range *r, const struct claim_options *o,
		     struct error *err)
{
	struct claim_options as_opened = *o;
	int fd = open_for_lock(r, o->read_only || r->through), rc;

	if (fd < 0)
		return 0;
	as_opened.read_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
	rc = claim_range(fd, r->start, r->end, &as_opened, err);
	if (rc < 0)
		close(fd);
	else
		c->fds[c->count++] = fd;
	return rc;
}

/* Part of it is the storage for certain, and locked as such: one lock would meet the other. */
static bool is_exact_too(const struct storage *s, const struct storage_range *r)
{
	for (size_t i = 0; i < s->count; i++) {
		const struct storage_range *exact = &s->ranges[i];

		if (!exact->through && exact->is_file == r->is_file &&
		    exact->device == r->device && exact->inode == r->inode)
			return true;
	}
	return false;
}

int claim_storage(const struct storage *s, int own, const struct claim_options *o,
		  struct claim *ret, struct error *err)
{
	struct claim c = {.fds = calloc(s->count + 1, sizeof(int))};
	int rc = 0;

	*ret = (struct claim){0};
	if (!c.fds)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	for (size_t i = 0; rc == 0 && i < s->count; i++)
		if (!is_same_node(own, &s->ranges[i]) &&
		    !(s->ranges[i].through && is_exact_too(s, &s->ranges[i])))
			rc = claim_one(&c, &s->ranges[i], o, err);
	if (rc < 0)
		claim_release(&c);
	else
		*ret = c;
	return rc;
}

void claim_release(struct claim *c)
{
	for (size_t i = 0; i < c->count; i++)
		close(c->fds[i]);
	free(c->fds);
	*c = (struct claim){0};
}

/* ---- the kernel's claim ----------------------------------------------------------------- */

#define HELD_MAX 256

/* Of devices of which this process uses regions. */
static struct {
	dev_t device;
	unsigned users; /* 0: the place is free */
	int fd;         /* -1: another remapfs has the claim */
} held[HELD_MAX];
static pthread_mutex_t holding = PTHREAD_MUTEX_INITIALIZER;

static size_t find_held(dev_t device)
{
	size_t i = 0;

	while (i < HELD_MAX && (held[i].users == 0 || held[i].device != device))
		i++;
	return i;
}

static size_t find_free(void)
{
	size_t i = 0;

	while (i < HELD_MAX && held[i].users)
		i++;
	return i;
}

static int stop(void *context, dev_t holder)
{
	(void)context, (void)holder;
	return 1;
}

static bool has_holders(dev_t device)
{
	CLEANUP_FREE char *folder = sysfs_folder(device);

	return folder && sysfs_each(folder, "holders", stop, NULL);
}

static bool is_range_marked(const struct storage_range *r)
{
	CLEANUP_CLOSE int fd = r->through ? -1 : open_for_lock(r, true);

	return fd >= 0 && is_marked(fd);
}

/* The device itself is marked where what lies below it cannot be opened, as on FUSE. */
bool claim_is_ours(dev_t device)
{
	struct storage_range itself = {.device = device};
	struct storage s;
	bool ours = is_range_marked(&itself);

	if (device_is_mounted(device) || device_is_swap(device) || has_holders(device) ||
	    storage_find_device(device, &s) < 0)
		return false;
	for (size_t i = 0; i < s.count && !ours; i++)
		ours = is_range_marked(&s.ranges[i]);
	storage_free(&s);
	return ours;
}

int claim_device(const char *path, dev_t device)
{
	HOLD_LOCK(&holding);
	size_t i = find_held(device);
	int fd;

	if (i < HELD_MAX) {
		held[i].users++;
		return 0;
	}
	i = find_free();
	if (i == HELD_MAX)
		return -EMFILE;
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno != EBUSY)
		return -errno;
	if (fd < 0 && !claim_is_ours(device))
		return -EBUSY;
	held[i].device = device;
	held[i].users = 1;
	held[i].fd = fd;
	return 0;
}

int claim_descriptor(dev_t device)
{
	HOLD_LOCK(&holding);
	size_t i = find_held(device);

	return i < HELD_MAX ? held[i].fd : -1;
}

void claim_leave(dev_t device)
{
	HOLD_LOCK(&holding);
	size_t i = find_held(device);

	if (i == HELD_MAX || --held[i].users > 0)
		return;
	if (held[i].fd >= 0)
		close(held[i].fd);
}
