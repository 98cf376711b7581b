/*
 * A block device behind a small table of functions.
 *
 * Offsets and lengths are bytes and multiples of geometry.block_size; buffers
 * are aligned to at least that. Every call transfers all of what it was asked
 * or fails: a short count never reaches the caller. All calls may be made from
 * many threads at once; what overlapping concurrent calls leave behind is the
 * caller's to prevent. They return 0 or a negative errno:
 *
 *   media errors   see errno_is_media: maybe about these sectors. ETIMEDOUT of the
 *                  kernel is ETIME here
 *   -ENODEV        the device is gone: removed, or shorter than it was when it was
 *                  opened. A file that was seen so stays so, even if it is made longer
 *   -EOPNOTSUPP    discard, zero: the device cannot; write zeros instead
 *   anything else  about the device or the file system below it
 */
#ifndef REMAPFS_DEVICE_H
#define REMAPFS_DEVICE_H

#include "remapfs/error.h"
#include "remapfs/extent.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

struct geometry {
	uint64_t size;       /* bytes; fixed while the device is open */
	uint32_t block_size; /* the least unit of I/O: logical sector, bytes */
	bool direct;         /* I/O bypasses the page cache */
	bool block_device;
};

/*
 * What tells a device from others of its size. Of a file written_at is its time of
 * last change, in nanoseconds since 1970.
 */
struct device_identity {
	char hardware[160]; /* what it has for ever: a serial number, a uuid; "": not known */
	/*
	 * Which file it is: "inode …", where that lasts as long as the file. What may lead
	 * elsewhere after the next start of the machine begins otherwise. "": not known.
	 */
	char file[160];
	int64_t written_at; /* 0: not known */
};

struct device;

struct device_ops {
	int (*read)(struct device *, void *buf, size_t length, uint64_t offset);
	int (*write)(struct device *, const void *buf, size_t length, uint64_t offset);
	/* Durable: everything that was written before the call began. */
	int (*flush)(struct device *);
	/* After either, the range reads as zeros. discard may also free space. */
	int (*discard)(struct device *, uint64_t offset, uint64_t length);
	int (*zero)(struct device *, uint64_t offset, uint64_t length);
	/*
	 * The first part at or after offset that may hold data: *ret_start and
	 * *ret_end in bytes. -ENXIO: nothing but a hole up to the end.
	 */
	int (*next_data)(struct device *, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);
	void (*close)(struct device *);
	/*
	 * The device that does the same I/O on this range now. NULL: there is none,
	 * ask this one. The operation itself may be NULL: it is the device.
	 */
	struct device *(*stand_in)(struct device *, uint64_t offset, uint64_t length);
	/*
	 * 0, or why it is certain that the device is not what was opened, without I/O that
	 * would wake a disk. -ENODEV: it is shorter or was removed. NULL: cannot be told.
	 */
	int (*present)(struct device *);
	/* Fills what it knows of *ret, which is empty. NULL: it knows nothing. */
	void (*identify)(struct device *, struct device_identity *ret);
	/* For device_queue. NULL: the device has no descriptor to queue I/O on. */
	const struct device_queue_ops *queued;
};

struct device_queue_ops {
	/* Of O_DIRECT, and what is to be added to offsets; -1: there is none. */
	int (*descriptor)(struct device *, bool write, uint64_t *ret_base);
	/*
	 * 0 or what read or write would have returned when the kernel answered result;
	 * -EAGAIN: nothing is known, read or write have to do it.
	 */
	int (*outcome)(struct device *, bool write, size_t length, long result);
};

struct device {
	const struct device_ops *ops;
	struct geometry geometry;
	bool waits; /* RWF_NOWAIT is not known there; for the thread that has the device_queue */
};

/*
 * A time that ran out is one error, whichever of its two names the kernel has for it:
 * ETIMEDOUT is what the engine calls what it did not try.
 */
static inline int device_error(int rc)
{
	return rc == -ETIMEDOUT ? -ETIME : rc;
}

static inline int device_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	return device_error(d->ops->read(d, buf, length, offset));
}

static inline int device_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	return device_error(d->ops->write(d, buf, length, offset));
}

static inline int device_flush(struct device *d)
{
	return d->ops->flush(d);
}

static inline int device_discard(struct device *d, uint64_t offset, uint64_t length)
{
	return d->ops->discard(d, offset, length);
}

static inline int device_zero(struct device *d, uint64_t offset, uint64_t length)
{
	return d->ops->zero(d, offset, length);
}

static inline int device_next_data(struct device *d, uint64_t offset, uint64_t *ret_start,
				   uint64_t *ret_end)
{
	return d->ops->next_data(d, offset, ret_start, ret_end);
}

static inline struct device *device_stand_in(struct device *d, uint64_t offset, uint64_t length)
{
	return d->ops->stand_in ? d->ops->stand_in(d, offset, length) : d;
}

static inline int device_present(struct device *d)
{
	return d->ops->present ? d->ops->present(d) : 0;
}

static inline void device_identify(struct device *d, struct device_identity *ret)
{
	*ret = (struct device_identity){0};
	if (d->ops->identify)
		d->ops->identify(d, ret);
}

/* NULL is allowed. */
static inline void device_close(struct device *d)
{
	if (d)
		d->ops->close(d);
}

/* ---- file or block device ------------------------------------------------ */

struct file_device_options {
	const char *role; /* "main" or "spare", for messages */
	uint64_t offset;  /* the region, bytes; multiples of 512 */
	uint64_t length;  /* 0: up to the end of the file */
	bool whole_blocks; /* what is left over at the end of the file is not used */
	bool read_only;
	unsigned lock_wait_ms; /* how long to wait for another holder to end */
	/* fd is path as file_device_descriptor opened it: it is duplicated, and path not opened. */
	bool opened;
	int fd;
	/*
	 * With opened: whoever handed fd over holds the claims on what is below it, and
	 * looked for other users, as file_device_open does. path is for messages only.
	 * length is then believed, also where the device is shorter by now.
	 */
	bool claimed;
	/* Where it stands that the file was seen to be cut, for who opens it again. NULL: nowhere. */
	atomic_bool *cut;
};

/*
 * Opens path with O_DIRECT, or where that is refused with O_DSYNC (then
 * geometry.direct is false; the caller warns). Until it is closed the region is
 * claimed (contract 12): against every other remapfs by locks, also on the devices
 * and files below it, so that it is met by whatever name; a block device against
 * everybody else as well, by O_EXCL, which the kernel refuses while it is mounted or
 * otherwise held. Storage that another device with the same bytes makes use of is
 * refused: an attached loop device, one that is mounted or part of another one.
 *
 * Errors: -ENOENT, -EACCES, -EROFS (also a device that is write-protected, and a file that
 * is marked as immutable, where it shall be written), -EISDIR (not a file or block device),
 * -EBUSY (locked, mounted, attached), -EINVAL (region outside the file or not
 * a multiple of the block size), or what open(2) said; err has the line.
 */
int file_device_open(const char *path, const struct file_device_options *options,
		     struct device **ret, struct error *err);

/*
 * Opens path as file_device_open does, without locking it: for another process
 * that may not. The caller closes *ret_fd. Errors as above.
 */
int file_device_descriptor(const char *path, const struct file_device_options *options,
			   int *ret_fd, struct error *err);

/* The descriptor of one that file_device_open made; it stays the device's. */
int file_device_fd(const struct device *);
/*
 * Those that hold its other claims, the device's as well: so many of them in ret, which
 * has room for FILE_DEVICE_CLAIMS. A claim lasts as long as a copy of its descriptor is open.
 */
#define FILE_DEVICE_CLAIMS 64
size_t file_device_claims(const struct device *, int *ret);

/* ---- a device that is not written ----------------------------------------- */

/*
 * Wraps below, which it then owns and closes, and never writes to. What is written is
 * kept in memory, is read back as long as the device is open, and is gone with it. A block
 * that below cannot read stays unreadable after a write. -ENOMEM: below stays the caller's.
 */
int overlay_device_wrap(struct device *below, struct device **ret);

/* ---- fault injector ------------------------------------------------------ */

enum fault_on { FAULT_ON_READ = 1, FAULT_ON_WRITE = 2, FAULT_ON_BOTH = 3 };

enum fault_life {
	FAULT_PERMANENT,
	FAULT_TIMES,           /* the first `times` requests that meet it */
	FAULT_UNTIL_REWRITTEN, /* reads fail until a write covers all of it, which succeeds */
};

#define FAULT_DELAY_MS_MAX 3600000

struct fault {
	int64_t id;       /* > 0, unique: counts survive fault_device_set by it */
	spare_id_t spare; /* ON_MAIN or the spare it is on */
	sector_t start;   /* sectors of the device from the start of its region */
	uint64_t count;   /* start + count <= SLOT_MAX */
	enum fault_on on;
	int error; /* positive errno; 0: only the delay */
	enum fault_life life;
	uint64_t times; /* FAULT_TIMES: > 0, otherwise 0 */
	uint32_t delay_ms;
};

/*
 * What a failing write has written, and a failing read read: disks differ, so
 * faults do, by their id. dm-error, which fails what it maps and not the request,
 * is the second kind; null_blk, which refuses whole requests, the third.
 */
enum fault_way { FAULT_DOES_UP_TO = 1, FAULT_DOES_AROUND = 2, FAULT_DOES_NOTHING = 0 };

static inline enum fault_way fault_way(const struct fault *f)
{
	return (enum fault_way)(f->id % 3);
}

/*
 * Wraps inner, which it then owns and closes. A request that meets a fault fails,
 * and may have transferred other sectors (fault_way). Sectors are sector_size bytes.
 * spent(context, id) is called, from the thread that did the I/O and without locks
 * held, when a fault that does not last has ended; it may be NULL.
 */
int fault_device_wrap(struct device *inner, uint32_t sector_size,
		      void (*spent)(void *context, int64_t id), void *context,
		      struct device **ret);

/*
 * Replaces all faults at once: requests that begin after the return meet the
 * new ones. Faults whose spare is not `which` are skipped, so that one list
 * serves every device of a volume. Faults may overlap. -ENOMEM changes nothing.
 */
int fault_device_set(struct device *, spare_id_t which, const struct fault *faults, size_t count);

/*
 * Pulls inner out: it is closed, and every call fails with -ENODEV from then
 * on. No call may be under way.
 */
void fault_device_pull(struct device *);

/* How many sectors have a fault that has not ended; overlaps count twice. */
uint64_t fault_device_sectors(struct device *);

#endif
