#include "fuse/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "remapfs/queue.h"

/* What stands before the payload of a write. */
#define HEADER (sizeof(struct fuse_in_header) + sizeof(struct fuse_write_in))
#define SLOT_BYTES ((size_t)VOLUME_ALIGNMENT + IMAGE_MAX_IO)
#define STACK_BYTES (512 * 1024)
/* Requests with queued I/O at a time; what goes beyond is done by threads. */
#define QUEUE_DEPTH 32

/* A request to read ends before the payload of a write would begin. */
_Static_assert(sizeof(struct fuse_in_header) + sizeof(struct fuse_read_in) <= HEADER, "one buffer");

/* A request, from when it is read until it is answered. */
struct slot {
	struct exchange exchange;
	struct volume_io *io; /* the exchange's, when it may have it */
	struct queued_io queued;
	bool present;          /* its memory is, see make_present */
	struct thread *thread; /* which has it now */
	struct slot *next;     /* free, or unfinished */
};

struct thread {
	struct service *service;
	pthread_t id;
	bool leads;          /* known to itself only */
	atomic_bool waiting; /* for the kernel: a signal may wake it */
};

struct service {
	struct fuse_session *fuse;
	int ended;          /* eventfd: a thread has seen the end of the mount */
	atomic_bool gone;   /* there is nothing to be read any more */
	atomic_bool broken; /* since that failed */

	pthread_mutex_t leading; /* held by the thread that leads; guards: */
	struct device_queue *queue; /* NULL: the threads do all I/O */
	bool readable;              /* a request may be there to be read */
	unsigned received;          /* requests so far; after each QUEUE_DEPTH what is back has its turn */
	struct slot *unfinished;    /* those whose I/O failed */
	struct queued_io *back[QUEUE_DEPTH];

	/* How many threads do something that takes long; one that leads adds to it. */
	atomic_uint away;

	/*
	 * As many slots as threads and queued I/O: as long as the one that leads has none
	 * in its hands, one is free.
	 */
	pthread_mutex_t freeing; /* guards: */
	struct slot *free;

	void *memory; /* of all slots */
	struct slot *slots;
	unsigned slot_count;
	struct thread *threads;
	unsigned thread_count;
};

static struct slot *slot_of(struct queued_io *io)
{
	return (struct slot *)((char *)io - offsetof(struct slot, queued));
}

/* ---- slots ---------------------------------------------------------------------------- */

/* The one used last first: its memory is warm, and that of others is perhaps never needed. */
static struct slot *take_slot(struct service *s)
{
	HOLD_LOCK(&s->freeing);
	struct slot *slot = s->free;

	s->free = slot->next;
	return slot;
}

static void give_back(struct service *s, struct slot *slot)
{
	HOLD_LOCK(&s->freeing);

	slot->next = s->free;
	s->free = slot;
}

/* ---- leading -------------------------------------------------------------------------- */

static void lead(struct thread *t)
{
	if (t->leads)
		return;
	atomic_fetch_sub(&t->service->away, 1);
	pthread_mutex_lock(&t->service->leading);
	t->leads = true;
}

/* Whoever leads next need not know of what was queued until now. */
static void let_lead(struct thread *t)
{
	struct service *s = t->service;

	if (!t->leads)
		return;
	if (s->queue)
		device_queue_submit(s->queue);
	atomic_fetch_add(&s->away, 1);
	t->leads = false;
	pthread_mutex_unlock(&s->leading);
}

/* Whether none is left to lead when this one no longer does. */
static bool is_last(const struct thread *t)
{
	return atomic_load(&t->service->away) + 1 == t->service->thread_count;
}

static bool ending(struct service *s)
{
	return atomic_load(&s->gone) || fuse_session_exited(s->fuse);
}

static unsigned under_way(const struct service *s)
{
	return s->queue ? device_queue_under_way(s->queue) : 0;
}

/* ---- I/O that is back ------------------------------------------------------------------- */

static void leave_unfinished(struct service *s, struct slot *slot, int result)
{
	slot->queued.result = result;
	slot->next = s->unfinished;
	s->unfinished = slot;
}

/* requests: waits for those as well. */
static void collect(struct thread *t, bool requests)
{
	struct service *s = t->service;
	unsigned count;

	atomic_store(&t->waiting, true);
	count = device_queue_wait(s->queue, requests ? &s->readable : NULL, s->back);
	atomic_store(&t->waiting, false);
	for (unsigned i = 0; i < count; i++) {
		struct slot *slot = slot_of(s->back[i]);

		if (s->back[i]->result < 0) {
			leave_unfinished(s, slot, s->back[i]->result);
			continue;
		}
		image_finish(&slot->exchange, 0);
		give_back(s, slot);
	}
}

/*
 * It has what it needs: nobody who finishes waits for the ranges of others. Who has
 * another slot in its hands goes on leading, so that there are slots for who does.
 */
static void finish_one(struct thread *t, bool leading)
{
	struct service *s = t->service;
	struct slot *slot = s->unfinished;

	s->unfinished = slot->next;
	if (!leading)
		let_lead(t);
	image_finish(&slot->exchange, slot->queued.result);
	give_back(s, slot);
}

/*
 * I/O that is under way holds its range without a thread, and others may wait for
 * that. So the last thread that could see to its end does, before it may wait as well.
 */
static void takes_long(struct exchange *x)
{
	struct thread *t = ((struct slot *)x)->thread;
	struct service *s = t->service;

	while (t->leads && is_last(t) && (s->unfinished || under_way(s))) {
		if (s->unfinished)
			finish_one(t, true);
		else
			collect(t, false);
	}
	let_lead(t);
}

/* ---- requests ------------------------------------------------------------------------- */

static void end_of_requests(struct service *s, int error)
{
	if (error != ENODEV) {
		log_error("reading /dev/fuse: %s; another worker shall try", strerror(error));
		atomic_store(&s->broken, true);
	}
	atomic_store(&s->gone, true);
}

static char *request_of(const struct slot *slot)
{
	return slot->exchange.payload - HEADER;
}

/*
 * Every page of it is there before a request is read: a process that is killed
 * while the kernel copies a request into its memory, and has to fault a page in for
 * that, makes the request fail with EIO instead of leaving it to the next worker
 * (fuse_dev_do_read). Not for all slots at the start: 64 MiB of faults may take a
 * quarter of a second, in which nobody is served.
 */
static void make_present(struct slot *slot)
{
	if (!slot->present)
		memset(request_of(slot), 0, IMAGE_MAX_IO + HEADER);
	slot->present = true;
}

/* One request; 0: there is none for now. */
static size_t receive(struct thread *t, struct slot *slot)
{
	struct service *s = t->service;
	ssize_t n = 0;

	atomic_store(&t->waiting, true);
	if (!fuse_session_exited(s->fuse))
		n = read(fuse_session_fd(s->fuse), request_of(slot), IMAGE_MAX_IO + HEADER);
	atomic_store(&t->waiting, false);
	if (n > 0) {
		/* Others who ask and ask must not keep what is back from its answer. */
		s->readable = ++s->received % QUEUE_DEPTH != 0;
		return (size_t)n;
	}
	s->readable = n < 0 && errno != EAGAIN;
	/* ENOENT: the request was withdrawn before it was read. */
	if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
		end_of_requests(s, errno);
	return 0;
}

static void queue(struct service *s, struct slot *slot)
{
	const struct volume_io *io = slot->io;

	/* Whoever asks for one thing at a time has asked; if not, the next wait is short. */
	s->readable = s->readable && under_way(s) > 0;
	if (!device_queue_add(s->queue, &slot->queued, io->device, io->write, io->buf, io->length,
			      io->offset))
		leave_unfinished(s, slot, -EAGAIN);
}

static void serve_one(struct thread *t)
{
	struct service *s = t->service;
	struct slot *slot = take_slot(s);
	size_t n;

	make_present(slot);
	n = receive(t, slot);
	if (n > 0) {
		struct fuse_buf request = {.mem = request_of(slot), .size = n};

		slot->thread = t;
		slot->exchange.io = s->queue && under_way(s) < QUEUE_DEPTH ? slot->io : NULL;
		image_serve_with(&slot->exchange);
		/* What was read is answered, also when it is time to go. */
		fuse_session_process_buf(s->fuse, &request);
	}
	if (n > 0 && slot->exchange.started)
		queue(s, slot);
	else
		give_back(s, slot);
}

/* ---- the threads -------------------------------------------------------------------------- */

static void *serve(void *context)
{
	struct thread *t = context;
	struct service *s = t->service;
	uint64_t one = 1;

	pthread_mutex_lock(&s->leading);
	t->leads = true;
	for (;; lead(t)) {
		bool over = ending(s);

		if (s->unfinished)
			finish_one(t, false);
		else if (!over && (s->readable || !s->queue))
			serve_one(t);
		else if (!over || under_way(s))
			collect(t, !over);
		else
			break;
	}
	pthread_mutex_unlock(&s->leading);
	if (write(s->ended, &one, sizeof(one)) != sizeof(one))
		log_error("cannot tell that the mount ended: %s; if remapfs does not end, end it "
			  "with kill", strerror(errno));
	return NULL;
}

/* ---- the beginning ------------------------------------------------------------------------ */

static int make_slots(struct service *s, unsigned count)
{
	s->slots = calloc(count, sizeof(*s->slots));
	if (!s->slots || posix_memalign(&s->memory, VOLUME_ALIGNMENT, count * SLOT_BYTES) != 0)
		return -ENOMEM;
	for (; s->slot_count < count; s->slot_count++) {
		struct slot *slot = &s->slots[s->slot_count];

		slot->exchange.payload =
			(char *)s->memory + s->slot_count * SLOT_BYTES + VOLUME_ALIGNMENT;
		slot->exchange.takes_long = takes_long;
		slot->io = volume_io_new();
		if (!slot->io)
			return -ENOMEM;
		give_back(s, slot);
	}
	return 0;
}

/*
 * The descriptor is shared with the supervisor and with other workers, and so is
 * whether reading it waits.
 */
static void make_queue(struct service *s)
{
	int fd = fuse_session_fd(s->fuse), flags = fcntl(fd, F_GETFL);
	int rc = device_queue_new(QUEUE_DEPTH, fd, &s->queue);

	if (rc < 0)
		log_notice("no I/O can be queued (%s), threads do it, which is slower; a greater "
			   "fs.aio-max-nr may help (sysctl)", errno_name(-rc));
	fcntl(fd, F_SETFL, s->queue ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

static void ignore(int signal)
{
	(void)signal;
}

static int start_threads(struct service *s, unsigned count, struct error *err)
{
	struct sigaction wake = {.sa_handler = ignore};
	pthread_attr_t attr;
	int rc = 0;

	/* SIGUSR1 takes a thread out of its wait; see service_stop. */
	sigaction(SIGUSR1, &wake, NULL);
	/* Until it is known how many they are. */
	pthread_mutex_lock(&s->leading);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (rc == 0 && s->thread_count < count) {
		struct thread *t = &s->threads[s->thread_count];

		t->service = s;
		rc = pthread_create(&t->id, &attr, serve, t);
		s->thread_count += rc == 0;
	}
	pthread_attr_destroy(&attr);
	pthread_mutex_unlock(&s->leading);
	if (rc && s->thread_count == 0)
		return error_set(err, rc, "cannot start threads: %s; end other programs",
				 strerror(rc));
	if (rc)
		log_warning("only %u of %u threads could be started: %s; end other programs",
			    s->thread_count, count, strerror(rc));
	return 0;
}

int service_start(struct fuse_session *fuse, unsigned threads, struct service **ret,
		  struct error *err)
{
	struct service *s = calloc(1, sizeof(*s));
	int rc = -ENOMEM;

	if (!s)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	s->fuse = fuse;
	pthread_mutex_init(&s->leading, NULL);
	pthread_mutex_init(&s->freeing, NULL);
	s->ended = eventfd(0, EFD_CLOEXEC);
	s->threads = calloc(threads, sizeof(*s->threads));
	if (s->ended >= 0 && s->threads)
		rc = make_slots(s, threads + QUEUE_DEPTH);
	if (rc < 0) {
		error_set(err, ENOMEM, "no memory for %u threads; use fewer (-o threads=), or end "
			  "other programs", threads);
	} else {
		make_queue(s);
		rc = start_threads(s, threads, err);
	}
	if (rc < 0)
		service_stop(s);
	else
		*ret = s;
	return rc;
}

int service_end_fd(const struct service *s)
{
	return s->ended;
}

bool service_broken(const struct service *s)
{
	return atomic_load(&s->broken);
}

/* ---- the end -------------------------------------------------------------------------------- */

/*
 * The one that leads, and then those that come to lead after it. One that was just
 * short of its wait misses the signal, so it is sent again and again.
 */
static void wake_who_waits(struct service *s)
{
	for (unsigned i = 0; i < s->thread_count; i++)
		if (atomic_load(&s->threads[i].waiting))
			pthread_kill(s->threads[i].id, SIGUSR1);
}

/* One that serves a request is let finish. */
static void end_threads(struct service *s)
{
	const struct timespec pause = {.tv_nsec = 5 * 1000000};

	fuse_session_exit(s->fuse);
	while (s->thread_count) {
		if (pthread_tryjoin_np(s->threads[s->thread_count - 1].id, NULL) != EBUSY) {
			s->thread_count--;
			continue;
		}
		wake_who_waits(s);
		nanosleep(&pause, NULL);
	}
}

void service_stop(struct service *s)
{
	if (!s)
		return;
	if (s->threads)
		end_threads(s);
	device_queue_free(s->queue);
	for (unsigned i = 0; i < s->slot_count; i++)
		volume_io_free(s->slots[i].io);
	cleanup_close(&s->ended);
	free(s->memory);
	free(s->slots);
	free(s->threads);
	free(s);
}
