#include "remapfs/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>

#include "remapfs/cleanup.h"

struct device_queue {
	io_context_t context;
	unsigned depth;
	unsigned under_way;
	struct iocb **batch; /* to be submitted */
	unsigned batched;
	struct queued_io **refused; /* what the kernel did not take */
	unsigned refused_count;
	struct io_event *events;

	/*
	 * The kernel's own poll for this (IOCB_CMD_POLL) takes a kernel thread for each
	 * wake-up of /dev/fuse.
	 */
	int poll; /* epoll: of the one below, and of the user's descriptor */
	int back; /* eventfd: something has come back */
};

enum { BACK, READABLE };

/* ---- new and free ------------------------------------------------------------------- */

/*
 * Nobody reads the eventfd: it tells of each time that something comes back. Of the
 * user's descriptor it is told as long as there is something to be read.
 */
static int make_poll(struct device_queue *q, int fd)
{
	struct epoll_event back = {.events = EPOLLIN | EPOLLET, .data.u32 = BACK};
	struct epoll_event readable = {.events = EPOLLIN, .data.u32 = READABLE};

	q->poll = epoll_create1(EPOLL_CLOEXEC);
	q->back = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->poll < 0 || q->back < 0 || epoll_ctl(q->poll, EPOLL_CTL_ADD, q->back, &back) < 0 ||
	    epoll_ctl(q->poll, EPOLL_CTL_ADD, fd, &readable) < 0)
		return -errno;
	return 0;
}

int device_queue_new(unsigned depth, int fd, struct device_queue **ret)
{
	struct device_queue *q = calloc(1, sizeof(*q));
	int rc = -ENOMEM;

	if (!q)
		return -ENOMEM;
	q->depth = depth;
	q->poll = q->back = -1;
	q->batch = calloc(depth, sizeof(struct iocb *));
	q->refused = calloc(depth, sizeof(struct queued_io *));
	q->events = calloc(depth, sizeof(*q->events));
	if (q->batch && q->refused && q->events)
		rc = io_setup((int)depth, &q->context);
	rc = rc < 0 ? rc : make_poll(q, fd);
	if (rc < 0)
		device_queue_free(q);
	else
		*ret = q;
	return rc;
}

void device_queue_free(struct device_queue *q)
{
	if (!q)
		return;
	if (q->context)
		io_destroy(q->context);
	cleanup_close(&q->poll);
	cleanup_close(&q->back);
	free(q->batch);
	free(q->refused);
	free(q->events);
	free(q);
}

/* ---- to the kernel ---------------------------------------------------------------------- */

bool device_queue_add(struct device_queue *q, struct queued_io *io, struct device *device,
		      bool write, void *buf, size_t length, uint64_t offset)
{
	const struct device_queue_ops *ops = device->ops->queued;
	uint64_t base;
	int fd = ops ? ops->descriptor(device, write, &base) : -1;

	if (fd < 0)
		return false;
	*io = (struct queued_io){.device = device, .write = write, .length = length};
	if (write)
		io_prep_pwrite(&io->iocb, fd, buf, length, (long long)(base + offset));
	else
		io_prep_pread(&io->iocb, fd, buf, length, (long long)(base + offset));
	io->iocb.data = io;
	io->iocb.aio_rw_flags = device->waits ? 0 : RWF_NOWAIT;
	io_set_eventfd(&io->iocb, q->back);
	q->batch[q->batched++] = &io->iocb;
	q->under_way++;
	return true;
}

static void refuse(struct device_queue *q, struct iocb *iocb)
{
	struct queued_io *io = iocb->data;

	io->result = -EAGAIN;
	q->refused[q->refused_count++] = io;
}

/*
 * Where a file does not know RWF_NOWAIT, nothing tells what would wait. With it,
 * -EAGAIN says that this would have, and the caller lets another thread do that.
 * Files tell at once; block devices, such as dm-delay on Linux 6.1, by the outcome.
 */
static bool is_unknown(const struct queued_io *io, long result)
{
	return result == -EOPNOTSUPP && io->iocb.aio_rw_flags;
}

static void wait_where_needed(struct queued_io *io)
{
	io->device->waits = true;
	io->iocb.aio_rw_flags = 0;
}

/* An error is that of the first one that is left. */
void device_queue_submit(struct device_queue *q)
{
	unsigned done = 0;

	while (done < q->batched) {
		int n = io_submit(q->context, q->batched - done, q->batch + done);

		if (n > 0)
			done += (unsigned)n;
		else if (is_unknown(q->batch[done]->data, n))
			wait_where_needed(q->batch[done]->data);
		else if (n != -EINTR)
			refuse(q, q->batch[done++]);
	}
	q->batched = 0;
}

/* ---- back -------------------------------------------------------------------------------- */

static void come_back(struct queued_io *io, long result)
{
	struct device *d = io->device;

	if (is_unknown(io, result)) {
		wait_where_needed(io);
		io->result = -EAGAIN;
	} else {
		io->result = device_error(d->ops->queued->outcome(d, io->write, io->length, result));
	}
}

/* How many have come back. */
static int await(struct device_queue *q, bool *ret_readable)
{
	struct timespec none = {0};
	struct epoll_event events[2];
	int n;

	if (!ret_readable)
		return io_getevents(q->context, 1, q->depth, q->events, NULL);
	n = epoll_wait(q->poll, events, 2, -1);
	for (int i = 0; i < n; i++)
		*ret_readable |= events[i].data.u32 == READABLE;
	return io_getevents(q->context, 0, q->depth, q->events, &none);
}

unsigned device_queue_wait(struct device_queue *q, bool *ret_readable, struct queued_io **done)
{
	unsigned count = 0;
	int n = 0;

	device_queue_submit(q);
	for (; q->refused_count; count++)
		done[count] = q->refused[--q->refused_count];
	if (count == 0)
		n = await(q, ret_readable);
	for (int i = 0; i < n; i++) {
		struct queued_io *io = q->events[i].data;

		come_back(io, (long)q->events[i].res);
		done[count++] = io;
	}
	q->under_way -= count;
	return count;
}

unsigned device_queue_under_way(const struct device_queue *q)
{
	return q->under_way;
}
