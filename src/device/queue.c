#include "remapfs/queue.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "remapfs/cleanup.h"

struct device_queue {
	io_context_t context;
	unsigned depth;
	unsigned under_way;
	struct iocb **batch; /* to be submitted; the watch may be among them */
	unsigned batched;
	struct queued_io **refused; /* what the kernel did not take */
	unsigned refused_count;
	struct io_event *events;
	struct iocb watch; /* of a descriptor that shall be readable */
	int watched;       /* the descriptor, while it is watched; otherwise -1 */
	int flags;         /* RWF_NOWAIT where the files have it */
};

/* ---- new and free ------------------------------------------------------------------- */

/* The watch came later than the rest (Linux 4.18). */
static int try_watch(struct device_queue *q)
{
	CLEANUP_CLOSE int fd = eventfd(1, EFD_CLOEXEC);
	struct iocb *one = &q->watch;
	int rc;

	if (fd < 0)
		return -errno;
	io_prep_poll(one, fd, POLLIN);
	rc = io_submit(q->context, 1, &one);
	if (rc == 1)
		rc = io_getevents(q->context, 1, 1, q->events, NULL);
	return rc == 1 ? 0 : -ENOSYS;
}

int device_queue_new(unsigned depth, struct device_queue **ret)
{
	struct device_queue *q = calloc(1, sizeof(*q));
	int rc = -ENOMEM;

	if (!q)
		return -ENOMEM;
	q->depth = depth;
	q->watched = -1;
	q->flags = RWF_NOWAIT;
	q->batch = calloc(depth + 1, sizeof(struct iocb *));
	q->refused = calloc(depth, sizeof(struct queued_io *));
	q->events = calloc(depth + 1, sizeof(*q->events));
	if (q->batch && q->refused && q->events)
		rc = io_setup((int)depth + 1, &q->context);
	rc = rc < 0 ? rc : try_watch(q);
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
	int fd = ops ? ops->descriptor(device, &base) : -1;

	if (fd < 0)
		return false;
	*io = (struct queued_io){.device = device, .write = write, .length = length};
	if (write)
		io_prep_pwrite(&io->iocb, fd, buf, length, (long long)(base + offset));
	else
		io_prep_pread(&io->iocb, fd, buf, length, (long long)(base + offset));
	io->iocb.data = io;
	io->iocb.aio_rw_flags = q->flags;
	q->batch[q->batched++] = &io->iocb;
	q->under_way++;
	return true;
}

static void refuse(struct device_queue *q, struct iocb *iocb)
{
	struct queued_io *io = iocb->data;

	/* Not one that could be created: see try_watch. */
	if (!io)
		return;
	io->result = -EAGAIN;
	q->refused[q->refused_count++] = io;
}

/* An error is that of the first one that is left. */
void device_queue_submit(struct device_queue *q)
{
	unsigned done = 0;

	while (done < q->batched) {
		int n = io_submit(q->context, q->batched - done, q->batch + done);

		if (n > 0)
			done += (unsigned)n;
		else if (n != -EINTR)
			refuse(q, q->batch[done++]);
	}
	q->batched = 0;
}

/* ---- back -------------------------------------------------------------------------------- */

/*
 * Where the file does not know RWF_NOWAIT, nothing tells what would wait. With it,
 * -EAGAIN says that this would have, and the caller lets another thread do that.
 */
static void come_back(struct device_queue *q, struct queued_io *io, long result)
{
	if (result == -EOPNOTSUPP && io->iocb.aio_rw_flags) {
		q->flags = 0;
		result = -EAGAIN;
	}
	io->result = io->device->ops->queued->outcome(io->device, io->write, io->length, result);
}

static void watch(struct device_queue *q, int fd)
{
	if (fd < 0 || q->watched >= 0)
		return;
	io_prep_poll(&q->watch, fd, POLLIN);
	q->watch.data = NULL;
	q->watched = fd;
	q->batch[q->batched++] = &q->watch;
}

unsigned device_queue_wait(struct device_queue *q, int fd, bool *ret_readable,
			   struct queued_io **done)
{
	unsigned count = 0;
	int n = 0;

	watch(q, fd);
	device_queue_submit(q);
	for (; q->refused_count; count++)
		done[count] = q->refused[--q->refused_count];
	if (count == 0)
		n = io_getevents(q->context, 1, q->depth + 1, q->events, NULL);
	for (int i = 0; i < n; i++) {
		struct queued_io *io = q->events[i].data;

		if (io) {
			come_back(q, io, (long)q->events[i].res);
			done[count++] = io;
		} else {
			q->watched = -1;
			*ret_readable = true;
		}
	}
	q->under_way -= count;
	return count;
}

unsigned device_queue_under_way(const struct device_queue *q)
{
	return q->under_way;
}
