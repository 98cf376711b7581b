/*
 * Direct I/O that is under way without a thread waiting for each (libaio).
 *
 * Contract 11 holds for it: the kernel ends a process, and unmaps its memory, only once
 * its queued I/O is over (exit_aio), and whoever comes next waits for that
 * (supervision_map). io_uring has no such end.
 *
 * For one thread at a time. Nothing waits but device_queue_wait; except that the
 * kernel, asked not to (RWF_NOWAIT), still waits to write a file of a file system
 * that is frozen (fsfreeze), and for anything where it does not know that flag.
 */
#ifndef REMAPFS_QUEUE_H
#define REMAPFS_QUEUE_H

#include "remapfs/device.h"

#include <libaio.h>

struct device_queue;

/* One read or write of the caller's; stays in place until it has come back. */
struct queued_io {
	struct iocb iocb; /* the queue's */
	struct device *device;
	bool write;
	size_t length;
	int result; /* once it has come back: of device_queue_ops.outcome */
};

/*
 * At most depth reads and writes at a time, for who waits for fd as well, which stays
 * open meanwhile. -ENOSYS, -EAGAIN: the kernel has none, or no more, of it
 * (fs.aio-max-nr); -ENOMEM; or what epoll and eventfd said.
 */
int device_queue_new(unsigned depth, int fd, struct device_queue **ret);

/* Waits for what is under way, which does not come back. NULL is allowed. */
void device_queue_free(struct device_queue *);

/*
 * As device_read and device_write (bytes, whole blocks, an aligned buffer), from
 * device_queue_submit or device_queue_wait on. It comes back with -EAGAIN where the
 * kernel would have to wait for more than the device (RWF_NOWAIT). false: the device
 * has no descriptor to do that with, nothing was queued.
 */
bool device_queue_add(struct device_queue *, struct queued_io *, struct device *, bool write,
		      void *buf, size_t length, uint64_t offset);

/* Hands what was added to the kernel. */
void device_queue_submit(struct device_queue *);

/*
 * Submits, then waits until something has come back, the descriptor is readable or
 * has an error (*ret_readable is set then), or a signal came. NULL: only for what is
 * under way, of which there must be some. Returns how many have come back, into
 * done, where there is room for all. What the kernel did not take has come back with
 * -EAGAIN.
 */
unsigned device_queue_wait(struct device_queue *, bool *ret_readable, struct queued_io **done);

/* How many were added and have not come back. */
unsigned device_queue_under_way(const struct device_queue *);

#endif
