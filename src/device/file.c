/*
 * A file or block device as a device.
 *
 * I/O is O_DIRECT: through the page cache a failing write would be reported
 * only by a later fsync, which does not say which sector it was. It is blocking
 * pread and pwrite, or queued as device_queue does it: the I/O of a killed process
 * is over once the process is.
 */
#include "remapfs/device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/claim.h"
#include "device/identity.h"
#include "remapfs/cleanup.h"
#include "remapfs/file_system.h"

struct file_device {
	struct device device;
	int fd;
	uint64_t base; /* bytes: where the region begins */
	atomic_bool *cut; /* the file was seen to be shorter than that: for ever */
	atomic_bool own_cut;
	struct claim claim;
	dev_t held; /* for claim_leave; 0: nothing */
};

static struct file_device *file_of(struct device *d)
{
	return (struct file_device *)d;
}

static int find_size(int fd, bool block_device, uint64_t *ret)
{
	struct stat st;

	*ret = 0;
	if (block_device)
		return ioctl(fd, BLKGETSIZE64, ret) < 0 ? -errno : 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	*ret = (uint64_t)st.st_size;
	return 0;
}

/* ---- I/O ------------------------------------------------------------------ */

/*
 * The size that was opened is the size. A write past the end of a file that was cut
 * makes it longer again, and what lay between then reads as zeros: so a file is asked
 * before and after each write, and stays failed once it was short, whatever is made
 * of it later. A block device tells by itself, and may come back.
 */
static bool is_shorter(struct file_device *f)
{
	const struct geometry *g = &f->device.geometry;
	uint64_t size;

	if (atomic_load_explicit(f->cut, memory_order_relaxed))
		return true;
	if (find_size(f->fd, g->block_device, &size) < 0 || size >= f->base + g->size)
		return false;
	atomic_store(f->cut, !g->block_device);
	return true;
}

static bool is_cut_file(struct file_device *f)
{
	return !f->device.geometry.block_device && is_shorter(f);
}

/* It did less than asked: -ENODEV, and remembered where it can be. */
static int gone(struct file_device *f)
{
	is_shorter(f);
	return -ENODEV;
}

/* What an errno of reading or writing says: also EIO may come from behind the end. */
static int io_error(struct file_device *f, bool write, int code)
{
	/* A block device is never full: this one was removed. */
	if (write && f->device.geometry.block_device && code == ENOSPC)
		return -ENODEV;
	return errno_is_media(code) && is_shorter(f) ? -ENODEV : -code;
}

/* Direct I/O that ends within a block came to the end of a file cut short. */
static bool is_cut(const struct device *d, ssize_t n)
{
	return d->geometry.direct && n % d->geometry.block_size != 0;
}

static int file_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	struct file_device *f = file_of(d);
	char *to = buf;

	if (atomic_load_explicit(f->cut, memory_order_relaxed))
		return -ENODEV;
	while (length > 0) {
		ssize_t n = pread(f->fd, to, length, (off_t)(f->base + offset));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_error(f, false, errno);
		/* End of file inside the device: it was removed or cut. */
		if (n == 0 || is_cut(d, n))
			return gone(f);
		to += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return 0;
}

static int file_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	struct file_device *f = file_of(d);
	const char *from = buf;

	if (is_cut_file(f))
		return -ENODEV;
	while (length > 0) {
		ssize_t n = pwrite(f->fd, from, length, (off_t)(f->base + offset));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return io_error(f, true, errno);
		if (n == 0 || is_cut(d, n))
			return gone(f);
		from += n;
		offset += (uint64_t)n;
		length -= (size_t)n;
	}
	return is_cut_file(f) ? -ENODEV : 0;
}

static int file_flush(struct device *d)
{
	int rc;

	do
		rc = fdatasync(file_of(d)->fd);
	while (rc < 0 && errno == EINTR);
	if (rc < 0)
		return -errno;
	/* What was written there is gone with it. */
	return is_cut_file(file_of(d)) ? -ENODEV : 0;
}

static int file_fallocate(struct device *d, int mode, uint64_t offset, uint64_t length)
{
	struct file_device *f = file_of(d);
	int rc;

	/* It would do nothing where there is nothing, and succeed. */
	if (is_shorter(f))
		return -ENODEV;
	do
		rc = fallocate(f->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)(f->base + offset),
			       (off_t)length);
	while (rc < 0 && errno == EINTR);
	if (rc == 0)
		return 0;
	return errno == ENOSYS || errno == ENOTTY ? -EOPNOTSUPP : -errno;
}

/*
 * On a block device the kernel takes a punched hole to mean "zeros, and by
 * unmapping only", and refuses where it cannot promise zeros.
 */
static int file_discard(struct device *d, uint64_t offset, uint64_t length)
{
	return file_fallocate(d, FALLOC_FL_PUNCH_HOLE, offset, length);
}

static int file_zero(struct device *d, uint64_t offset, uint64_t length)
{
	return file_fallocate(d, FALLOC_FL_ZERO_RANGE, offset, length);
}

static int file_next_data(struct device *d, uint64_t offset, uint64_t *ret_start,
			  uint64_t *ret_end)
{
	struct file_device *f = file_of(d);
	uint64_t limit = f->base + d->geometry.size;
	off_t data, hole;

	if (is_shorter(f))
		return -ENODEV;
	data = lseek(f->fd, (off_t)(f->base + offset), SEEK_DATA);
	if (data < 0 && errno != ENXIO)
		data = (off_t)(f->base + offset); /* cannot tell: all may be data */
	if (data < 0 || (uint64_t)data >= limit)
		return -ENXIO;
	hole = lseek(f->fd, data, SEEK_HOLE);
	if (hole < 0 || (uint64_t)hole > limit)
		hole = (off_t)limit;
	*ret_start = (uint64_t)data - f->base;
	*ret_end = (uint64_t)hole - f->base;
	return 0;
}

/* A server of files may remember sizes: it is asked. A disk that was removed has none. */
static int file_present(struct device *d)
{
	struct file_device *f = file_of(d);
	struct statx st = {0};
	uint64_t size;

	if (statx(f->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &st) < 0)
		return -errno;
	size = st.stx_size;
	if (d->geometry.block_device && ioctl(f->fd, BLKGETSIZE64, &size) < 0)
		return -errno;
	return size < f->base + d->geometry.size ? -ENODEV : 0;
}

static void file_identify(struct device *d, struct device_identity *ret)
{
	identify_descriptor(file_of(d)->fd, ret);
}

static void file_close(struct device *d)
{
	struct file_device *f = file_of(d);

	claim_release(&f->claim);
	if (f->held)
		claim_leave(f->held);
	close(f->fd);
	free(d);
}

/* ---- queued I/O ------------------------------------------------------------ */

/* Without O_DIRECT the kernel would wait for it while it is queued. */
static int file_descriptor(struct device *d, bool write, uint64_t *ret_base)
{
	struct file_device *f = file_of(d);

	*ret_base = f->base;
	return d->geometry.direct && !(write && is_cut_file(f)) ? f->fd : -1;
}

/* As file_read and file_write have it; -EINVAL: they may know a way. */
static int file_outcome(struct device *d, bool write, size_t length, long result)
{
	struct file_device *f = file_of(d);
	bool cut = write ? is_cut_file(f) : atomic_load_explicit(f->cut, memory_order_relaxed);

	if (cut || result == 0 || (result > 0 && is_cut(d, result)))
		return gone(f);
	if (result == (long)length)
		return 0;
	if (result > 0 || result == -EINTR || result == -EINVAL)
		return -EAGAIN;
	return io_error(f, write, (int)-result);
}

static const struct device_queue_ops file_queue_ops = {
	.descriptor = file_descriptor,
	.outcome = file_outcome,
};

static const struct device_ops file_ops = {
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.discard = file_discard,
	.zero = file_zero,
	.next_data = file_next_data,
	.close = file_close,
	.present = file_present,
	.identify = file_identify,
	.queued = &file_queue_ops,
};

/* ---- opening -------------------------------------------------------------- */

/* Set with blockdev or losetup, or by a switch on a card. */
static bool is_write_protected(int fd)
{
	int read_only = 0;

	return ioctl(fd, BLKROGET, &read_only) == 0 && read_only;
}

/* chattr +i or +a: not even root may write it. */
static bool is_immutable(int fd)
{
	int flags = 0;

	return ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && flags & (FS_IMMUTABLE_FL | FS_APPEND_FL);
}

static int read_only_error(const char *path, const struct file_device_options *o,
			   const char *why, struct error *err)
{
	bool main = strcmp(o->role, "main") == 0;

	return error_set(err, EROFS, "%s '%s' is read-only (%s); make it writable, or %s", o->role,
			 path, why, main ? "mount with -o ro" : "use another one");
}

/* Who may do everything is refused: not by the mode of the file. */
static int denied_error(const char *path, const struct file_device_options *o, int code,
			struct error *err)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char name[FILE_SYSTEM_NAME];
	const char *remedy = "run as a user who may read and write it";

	if (!o->read_only && fd >= 0 && is_write_protected(fd))
		return read_only_error(path, o, "the device is write-protected: see 'blockdev "
				       "--getro'", err);
	if (!o->read_only && fd >= 0 && is_immutable(fd))
		return read_only_error(path, o, "it is marked so: see 'lsattr', 'chattr -i -a'", err);
	if (geteuid() == 0)
		remedy = strncmp(file_system_name(path, name), "fuse", 4) == 0
			 ? "the mount that it is on does not let root in: run as the user who mounted it"
			 : "root is kept from it by a container, by a security module, or by the server "
			   "of its file system: allow it there";
	return error_set(err, code, "cannot open %s '%s': %s; %s", o->role, path, strerror(code),
			 remedy);
}

static int open_error(const char *path, const struct file_device_options *o, int code,
		      struct error *err)
{
	if (code == EBUSY)
		return error_set(err, code, "%s '%s' is in use (mounted, or held by another "
				 "program); unmount it, or end what holds it, first", o->role, path);
	if (code == EACCES || code == EPERM)
		return denied_error(path, o, code, err);
	if (code == EROFS)
		return read_only_error(path, o, "its file system is mounted so", err);
	return error_set(err, code, "cannot open %s '%s': %s; %s", o->role, path, strerror(code),
			 code == ENOENT ? "check the path"
			 : code == ETXTBSY ? "it is in use as swap, end that with 'swapoff'"
					   : "check the device");
}

/* Opens with O_DIRECT where the file system has it, O_DSYNC where not. */
static int open_best(const char *path, int flags)
{
	int fd = open(path, flags | O_DIRECT);

	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_DSYNC);
	return fd < 0 ? -errno : fd;
}

static int check_type(const char *path, const struct file_device_options *o, const struct stat *st,
		      struct error *err)
{
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return 0;
	return error_set(err, EISDIR, "%s '%s' is %s; give a disk image file or a block device",
			 o->role, path,
			 S_ISDIR(st->st_mode) ? "a directory" : "neither a file nor a block device");
}

/*
 * The least unit of I/O. A block device says it; for a file it is found by
 * trying, since not every file system reports it (statx STATX_DIOALIGN).
 */
static uint32_t find_block_size(int fd, const struct stat *st, bool direct)
{
	int logical = 0;
	void *buf;
	bool small;

	if (S_ISBLK(st->st_mode) && ioctl(fd, BLKSSZGET, &logical) == 0)
		return (uint32_t)logical;
	if (!direct || posix_memalign(&buf, 4096, 4096) != 0)
		return 512;
	small = pread(fd, buf, 512, 512) >= 0 || errno != EINVAL;
	free(buf);
	return small ? 512 : 4096;
}

static int set_region(struct file_device *f, const char *path, const struct file_device_options *o,
		      uint64_t file_size, struct error *err)
{
	struct geometry *g = &f->device.geometry;

	if (o->offset > file_size || o->length > file_size - o->offset)
		return error_set(err, EINVAL, "%s '%s' has %llu bytes, the region needs %llu; "
				 "choose offset= and length= inside it", o->role, path,
				 (unsigned long long)file_size,
				 (unsigned long long)(o->offset + o->length));
	f->base = o->offset;
	g->size = o->length ? o->length : file_size - o->offset;
	if (o->whole_blocks)
		g->size -= g->size % g->block_size;
	if (o->offset % g->block_size || (o->length && o->length % g->block_size))
		return error_set(err, EINVAL, "the region of %s '%s' is not in whole sectors of %u "
				 "bytes; align offset= and length=", o->role, path, g->block_size);
	return 0;
}

static struct claim_options claim_options_of(const char *path, const struct file_device_options *o)
{
	return (struct claim_options){.role = o->role, .path = path, .read_only = o->read_only,
				      .wait_ms = o->lock_wait_ms};
}

/*
 * The lock belongs to the open file description, not to the process: closing
 * another descriptor of the same file does not drop it.
 */
static int lock_region(struct file_device *f, const char *path,
		       const struct file_device_options *o, struct error *err)
{
	const struct claim_options c = claim_options_of(path, o);

	return claim_range(f->fd, o->offset, o->length ? o->offset + o->length : UINT64_MAX, &c,
			   err);
}

static int check_others(const struct storage *s, const char *path,
			const struct file_device_options *o, struct error *err)
{
	char name[300];
	const char *why;
	dev_t other;

	if (!storage_in_use(s, &other, &why))
		return 0;
	storage_device_name(other, name, sizeof(name));
	if (strcmp(why, "attached") == 0)
		return error_set(err, EBUSY, "%s '%s' is in use by %s; detach it first: losetup -d %s",
				 o->role, path, name, name);
	return error_set(err, EBUSY, "%s '%s' is in use: %s has the same bytes and is %s; end that "
			 "first", o->role, path, name, why);
}

/* Then its descriptor has the kernel's claim: see exclusive_flag. */
static bool is_whole(const struct file_device_options *o, uint64_t size)
{
	return o->offset == 0 && (o->length == 0 || o->length == size);
}

/* A descriptor that was handed over comes from a process that may open more than this one. */
static int claim_region(struct file_device *f, const char *path,
			const struct file_device_options *o, const struct stat *st,
			struct error *err)
{
	const struct claim_options c = claim_options_of(path, o);
	struct storage s;
	uint64_t size;
	int rc = storage_find(path, o->offset, o->length, &s);

	if (rc < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	rc = claim_storage(&s, f->fd, &c, &f->claim, err);
	if (rc == 0 && !o->opened)
		rc = check_others(&s, path, o, err);
	storage_free(&s);
	if (rc < 0 || !S_ISBLK(st->st_mode) ||
	    (find_size(f->fd, true, &size) == 0 && is_whole(o, size)))
		return rc;
	rc = claim_device(path, st->st_rdev);
	f->held = rc < 0 ? 0 : st->st_rdev;
	return rc < 0 && !o->opened ? open_error(path, o, -rc, err) : 0;
}

/* Of one that is claimed, whose server of files may have died, what the kernel remembers will do. */
static int find_type(int fd, const struct file_device_options *o, struct stat *ret)
{
	struct statx st;

	if (fstat(fd, ret) == 0)
		return 0;
	if (!o->claimed ||
	    statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return -errno;
	*ret = (struct stat){.st_mode = st.stx_mode};
	return 0;
}

static int take_open_file(struct file_device *f, const char *path,
			  const struct file_device_options *o, struct error *err)
{
	struct geometry *g = &f->device.geometry;
	struct stat st;
	uint64_t size;
	int rc = find_type(f->fd, o, &st);

	if (rc < 0)
		return open_error(path, o, -rc, err);
	rc = check_type(path, o, &st, err);
	/* The lock is that of the description, of which whoever claimed it has a descriptor. */
	if (rc == 0 && !o->claimed) {
		rc = lock_region(f, path, o, err);
		rc = rc < 0 ? rc : claim_region(f, path, o, &st, err);
	}
	if (rc < 0)
		return rc;
	rc = find_size(f->fd, S_ISBLK(st.st_mode), &size);
	/* One that has failed since is served as failed: the size that was opened is the size. */
	if (o->claimed && o->length && (rc < 0 || size < o->offset + o->length)) {
		size = o->offset + o->length;
		rc = 0;
	}
	if (rc < 0)
		return open_error(path, o, -rc, err);
	/* Older kernels open it for writing all the same. One that is in use may become so. */
	if (!o->claimed && !o->read_only && S_ISBLK(st.st_mode) && is_write_protected(f->fd))
		return open_error(path, o, EACCES, err);
	g->block_device = S_ISBLK(st.st_mode);
	g->block_size = find_block_size(f->fd, &st, g->direct);
	return set_region(f, path, o, size, err);
}

/*
 * The kernel grants O_EXCL on a block device to one holder. The descriptor of a whole
 * device has it; for regions claim_device holds it, and here it is only asked for.
 */
static int exclusive_flag(const char *path, const struct file_device_options *o,
			  const struct stat *st)
{
	CLEANUP_CLOSE int fd = -1;
	uint64_t size;

	if (!S_ISBLK(st->st_mode))
		return 0;
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0 && errno != EBUSY)
		return -errno;
	if (fd < 0)
		return claim_is_ours(st->st_rdev) ? 0 : -EBUSY;
	if (find_size(fd, true, &size) < 0)
		return -errno;
	return is_whole(o, size) ? O_EXCL : 0;
}

int file_device_descriptor(const char *path, const struct file_device_options *o, int *ret_fd,
			   struct error *err)
{
	int flags = (o->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;
	int rc;

	/* The type is looked at first: opening a FIFO or a tape has effects. */
	if (stat(path, &st) < 0)
		return open_error(path, o, errno, err);
	rc = check_type(path, o, &st, err);
	if (rc < 0)
		return rc;
	rc = exclusive_flag(path, o, &st);
	if (rc < 0)
		return open_error(path, o, -rc, err);
	rc = open_best(path, flags | rc);
	if (rc < 0)
		return open_error(path, o, -rc, err);
	*ret_fd = rc;
	return 0;
}

/* Of who may have opened another file, or not for writing. */
static int take_over(const char *path, const struct file_device_options *o, int *ret_fd,
		     struct error *err)
{
	int access = fcntl(o->fd, F_GETFL), fd;
	struct stat there, here;

	if (access < 0)
		return open_error(path, o, errno, err);
	/* What is claimed is it, whatever the path leads to by now. */
	if (!o->claimed && (fstat(o->fd, &here) < 0 || stat(path, &there) < 0))
		return open_error(path, o, errno, err);
	if ((!o->claimed && (here.st_dev != there.st_dev || here.st_ino != there.st_ino)) ||
	    (access & O_ACCMODE) != (o->read_only ? O_RDONLY : O_RDWR) ||
	    !(access & (O_DIRECT | O_DSYNC)))
		return error_set(err, EBADF, "%s '%s' is not what was opened for it; try again",
				 o->role, path);
	fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return open_error(path, o, errno, err);
	*ret_fd = fd;
	return 0;
}

int file_device_open(const char *path, const struct file_device_options *o, struct device **ret,
		     struct error *err)
{
	struct file_device *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	f->device.ops = &file_ops;
	f->cut = o->cut ? o->cut : &f->own_cut;
	rc = o->opened ? take_over(path, o, &f->fd, err)
		       : file_device_descriptor(path, o, &f->fd, err);
	if (rc < 0) {
		free(f);
		return rc;
	}
	f->device.geometry.direct = fcntl(f->fd, F_GETFL) & O_DIRECT;
	rc = take_open_file(f, path, o, err);
	if (rc < 0) {
		file_close(&f->device);
		return rc;
	}
	*ret = &f->device;
	return 0;
}

int file_device_fd(const struct device *d)
{
	return ((const struct file_device *)d)->fd;
}

size_t file_device_claims(const struct device *d, int *ret)
{
	const struct file_device *f = (const struct file_device *)d;
	int kernels = f->held ? claim_descriptor(f->held) : -1;
	size_t count = 0;

	if (kernels >= 0)
		ret[count++] = kernels;
	for (size_t i = 0; i < f->claim.count && count < FILE_DEVICE_CLAIMS; i++)
		ret[count++] = f->claim.fds[i];
	return count;
}
