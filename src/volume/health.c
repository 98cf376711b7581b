/*
 * Contract 7: a device that is gone is not a bad sector.
 *
 * An error that may mean bad media is believed only when main does elsewhere
 * what it refused here: a read elsewhere for a failed read, a write elsewhere
 * for a failed write (a disk may turn read-only). Asked first is where that
 * worked a moment ago, then places spread over main. A write asks by putting a
 * sector's own content back, owning it meanwhile. What works for other requests
 * in that time answers as well; so where many fail at once, one asks, and the others
 * wait a little for that.
 *
 * Errors of main are numbered as they are judged, and all I/O remembers how many
 * there were when it began. A success says that main was alive after those, and
 * nothing of later ones: main may have died while that I/O was under way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/volume_impl.h"

/* ---- telling ---------------------------------------------------------------------- */

void record_change(struct volume *v, struct change *change)
{
	if (atomic_load(&v->committer.error))
		commit_later(&v->committer, change);
	else
		commit_record(&v->committer, change);
}

void tell(struct volume *v, const struct event *event)
{
	struct change change = {0};

	change_event(&change, event);
	record_change(v, &change);
	change_clear(&change);
}

void complain(struct volume *v, const struct event *event)
{
	int64_t second = now_ms() / 1000, last = atomic_load(&v->last_complaint);
	struct event counted = *event;
	uint64_t others;

	if (last == second || !atomic_compare_exchange_strong(&v->last_complaint, &last, second)) {
		atomic_fetch_add(&v->complaints_left_out, 1);
		return;
	}
	others = atomic_exchange(&v->complaints_left_out, 0);
	if (others)
		snprintf(counted.detail, sizeof(counted.detail), "%.100s; %llu more before it",
			 event->detail, (unsigned long long)others);
	tell(v, &counted);
}

/* ---- evidence --------------------------------------------------------------------- */

void evidence_init(struct evidence *e, const char *what)
{
	e->what = what;
	for (size_t i = 0; i < EVIDENCE; i++)
		atomic_store(&e->worked[i], UINT64_MAX);
	pthread_mutex_init(&e->lock, NULL);
	monotonic_cond_init(&e->answered);
}

void evidence_destroy(struct evidence *e)
{
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->answered);
}

static size_t eighth(const struct volume *v, sector_t sector)
{
	return (size_t)(sector / (v->sectors / EVIDENCE + 1));
}

/* Returns what it was. */
static uint64_t raise_to(_Atomic(uint64_t) *at, uint64_t to)
{
	uint64_t was = atomic_load(at);

	while (was < to && !atomic_compare_exchange_weak(at, &was, to))
		;
	return was;
}

/* Whether main failed before that, and has not since. */
static bool ends_failure(struct evidence *e, uint64_t known)
{
	uint64_t failed = atomic_load(&e->failed);

	while (failed && failed <= known)
		if (atomic_compare_exchange_weak(&e->failed, &failed, 0))
			return true;
	return false;
}

/* Called in the middle of I/O: does not wait for the record. */
static void works(struct volume *v, struct evidence *e, uint64_t known)
{
	struct event event = {.kind = EVENT_DEVICE_WORKS};
	struct change change = {0};

	if (!ends_failure(e, known))
		return;
	snprintf(event.detail, sizeof(event.detail), "main takes %s again", e->what);
	log_notice("%s", event.detail);
	change_event(&change, &event);
	commit_later(&v->committer, &change);
}

static void note(struct volume *v, struct evidence *e, sector_t sector, uint64_t known)
{
	atomic_store_explicit(&e->worked[eighth(v, sector)], sector, memory_order_relaxed);
	raise_to(&e->works_after, known);
	if (atomic_load_explicit(&e->failed, memory_order_relaxed))
		works(v, e, known);
}

void note_read(struct volume *v, sector_t sector, uint64_t known)
{
	note(v, &v->reading, sector, known);
}

void note_written(struct volume *v, sector_t sector, uint64_t known)
{
	note(v, &v->writing, sector, known);
}

/* ---- probes -------------------------------------------------------------------------- */

/* A sector that nothing can be said of: somebody uses it, or main is not asked. */
#define NO_ANSWER (-EBUSY)

typedef int (*ask_fn)(struct volume *, const struct request *, void *buf, sector_t);

static int ask_read(struct volume *v, const struct request *r, void *buf, sector_t sector)
{
	(void)r;
	return device_read(v->main, buf, v->sector_size, bytes_of(v, sector));
}

static int ask_write(struct volume *v, const struct request *r, void *buf, sector_t sector)
{
	struct range_ticket ticket;
	int rc;

	if (!range_try_own(&v->locks, &ticket, sector, 1, r ? &r->ticket : NULL))
		return NO_ANSWER;
	rc = ask_read(v, r, buf, sector);
	if (rc == 0)
		rc = device_write(v->main, buf, v->sector_size, bytes_of(v, sector));
	range_unlock(&v->locks, &ticket);
	/* A hole in main on a full file system. */
	return rc == -ENOSPC || rc == -EDQUOT ? NO_ANSWER : rc;
}

struct probe {
	struct volume *volume;
	const struct request *request;
	sector_t start, end; /* what failed: not asked again */
	int64_t deadline;
	void *buf;
	uint64_t error; /* the number of what failed */
	unsigned asked, busy;
};

/* Others go on using main: what they began since, and worked, is as good as an answer. */
static bool works_for_others(const struct probe *p, const struct evidence *e)
{
	return atomic_load(&e->works_after) >= p->error;
}

static bool answers(struct probe *p, ask_fn ask, struct evidence *e, sector_t sector)
{
	struct volume *v = p->volume;
	uint64_t known = errors_known(v);
	int rc;

	if (works_for_others(p, e))
		return true;
	if (sector >= v->sectors || (sector >= p->start && sector < p->end) ||
	    map_get(v->map, sector, 1).state != SECTOR_GOOD || now_ms() >= p->deadline)
		return false;
	rc = ask(v, p->request, p->buf, sector);
	p->asked += rc != NO_ANSWER;
	p->busy += rc == NO_ANSWER;
	if (rc == 0)
		raise_to(&e->works_after, known);
	return rc == 0;
}

static bool somewhere(struct probe *p, ask_fn ask, struct evidence *e)
{
	struct volume *v = p->volume;

	for (size_t i = 1; i <= EVIDENCE; i++)
		if (answers(p, ask, e, atomic_load(&e->worked[(eighth(v, p->start) + i) % EVIDENCE])))
			return true;
	for (size_t i = 0; i <= EVIDENCE; i++)
		if (answers(p, ask, e, (v->sectors - 1) / EVIDENCE * i))
			return true;
	/* Those are the same for all who ask; these are not. */
	for (size_t i = 1; i <= EVIDENCE; i++)
		if (answers(p, ask, e, (p->end + v->sectors / (EVIDENCE + 1) * i) % v->sectors))
			return true;
	return false;
}

/* Where other requests hold all places, it waits half of its time for one that works. */
static bool somewhere_in_time(struct probe *p, ask_fn ask, struct evidence *e)
{
	const struct timespec pause = {.tv_nsec = 2 * 1000000};
	int64_t end = now_ms() + PROBE_MS / 2;

	for (;;) {
		p->asked = p->busy = 0;
		if (somewhere(p, ask, e))
			return true;
		if (!p->busy || now_ms() >= end)
			return works_for_others(p, e);
		nanosleep(&pause, NULL);
	}
}

/* Whether main does elsewhere what it refused at [start, end). */
static bool find_alive(struct probe *p, ask_fn ask, struct evidence *e)
{
	struct evidence *reading = &p->volume->reading;

	p->deadline = now_ms() + PROBE_MS;
	if (somewhere_in_time(p, ask, e))
		return true;
	/* Every place was in use: a read needs nobody's leave. */
	if (p->asked == 0 && ask == ask_write && somewhere(p, ask_read, reading))
		return true;
	/* A main so small that there is no other place to ask. */
	return p->asked == 0 && now_ms() < p->deadline;
}

#define PATIENCE_MS (PROBE_MS / 2)
#define LOOK_MS 20 /* for what works meanwhile, of which nobody tells */

/*
 * Whether it asks in the name of others. Not for long does it leave that to who does
 * already: he may have met a place that hangs, or all of his may be in use.
 */
static bool take_turn(struct probe *p, struct evidence *e)
{
	HOLD_LOCK(&e->lock);
	int64_t end = now_ms() + PATIENCE_MS;
	bool free;

	while (e->asked && !works_for_others(p, e) && now_ms() < end) {
		struct timespec soon = in_ms(LOOK_MS);

		pthread_cond_timedwait(&e->answered, &e->lock, &soon);
	}
	free = !e->asked;
	e->asked = true;
	return free;
}

static void end_turn(struct evidence *e)
{
	HOLD_LOCK(&e->lock);

	e->asked = false;
	pthread_cond_broadcast(&e->answered);
}

static bool alive(struct probe *p, ask_fn ask, struct evidence *e)
{
	bool asks = take_turn(p, e), found = find_alive(p, ask, e);

	if (asks)
		end_turn(e);
	return found;
}

/* ---- judging --------------------------------------------------------------------------- */

static int main_failed(const struct probe *p, struct evidence *e, int error)
{
	struct event event = {.kind = EVENT_DEVICE_FAILED, .sector = p->start,
			      .sectors = p->end - p->start, .error = error};

	if (raise_to(&e->failed, p->error))
		return -EIO;
	snprintf(event.detail, sizeof(event.detail), "main takes no %s; nothing is moved", e->what);
	log_error("main takes no %s (%s): check the disk and its cables; nothing is moved to the "
		  "spares meanwhile", e->what, errno_name(error));
	tell(p->volume, &event);
	return -EIO;
}

/* Where there was no room before; NOT_FULL. */
static sector_t note_full(struct volume *v, sector_t start, uint64_t count)
{
	HOLD_LOCK(&v->writing.lock);

	v->full_count = count;
	return atomic_exchange(&v->full_at, start);
}

static int main_full(struct volume *v, int error, sector_t start, uint64_t count)
{
	struct event event = {.kind = EVENT_DEVICE_FAILED, .sector = start, .sectors = count,
			      .error = error, .detail = "the file system that holds main is full"};

	if (note_full(v, start, count) != NOT_FULL)
		return -ENOSPC;
	log_error("the file system that holds main is full: writes fail; free space on it");
	tell(v, &event);
	return -ENOSPC;
}

/*
 * Puts back what is there, in each block of where a write found no room. What fails
 * otherwise does not fail for want of room: that is for requests to find out.
 */
static bool takes_writes(struct volume *v, sector_t start, uint64_t count)
{
	uint64_t block = VOLUME_ALIGNMENT / v->sector_size;
	CLEANUP_FREE void *buf = NULL;

	if (posix_memalign(&buf, VOLUME_ALIGNMENT, v->sector_size) != 0)
		return false;
	for (sector_t s = start; s < start + count; s = (s / block + 1) * block)
		if (map_get(v->map, s, 1).state == SECTOR_GOOD &&
		    ask_write(v, NULL, buf, s) == NO_ANSWER)
			return false;
	return true;
}

/* The last place without room. False: there is none. */
static bool full_place(struct volume *v, sector_t *ret_start, uint64_t *ret_count)
{
	HOLD_LOCK(&v->writing.lock);

	*ret_start = atomic_load(&v->full_at);
	*ret_count = v->full_count;
	return *ret_start != NOT_FULL;
}

void try_full_main(struct volume *v)
{
	struct event event = {.kind = EVENT_DEVICE_WORKS,
			      .detail = "the file system that holds main has room again"};
	uint64_t count;
	sector_t at;

	if (!full_place(v, &at, &count) || !takes_writes(v, at, count) ||
	    !atomic_compare_exchange_strong(&v->full_at, &at, NOT_FULL))
		return;
	log_notice("%s", event.detail);
	tell(v, &event);
}

static int judge(struct volume *v, const struct request *r, int error, sector_t start,
		 uint64_t count, ask_fn ask, struct evidence *e)
{
	CLEANUP_FREE void *buf = NULL;
	struct probe p = {.volume = v, .request = r, .start = start, .end = start + count,
			  .error = atomic_fetch_add(&v->main_errors, 1) + 1};

	/* The file system that main is a file on is full, not main. */
	if (error == ENOSPC || error == EDQUOT)
		return main_full(v, error, start, count);
	if (error == ENOMEM || error == EAGAIN)
		return -ENOMEM;
	if (!errno_is_media(error))
		return main_failed(&p, e, error);
	if (posix_memalign(&buf, VOLUME_ALIGNMENT, v->sector_size) != 0)
		return -ENOMEM;
	p.buf = buf;
	if (!alive(&p, ask, e))
		return main_failed(&p, e, error);
	works(v, e, p.error);
	return 0;
}

int judge_main_read(struct volume *v, const struct request *r, int error, sector_t start,
		    uint64_t count)
{
	return judge(v, r, error, start, count, ask_read, &v->reading);
}

int judge_main_write(struct volume *v, const struct request *r, int error, sector_t start,
		     uint64_t count)
{
	return judge(v, r, error, start, count, ask_write, &v->writing);
}

static enum spare_health health_of(int error)
{
	if (error == ENOSPC || error == EDQUOT)
		return SPARE_NO_ROOM;
	return error == ENODEV || error == ENOTCONN ? SPARE_GONE : SPARE_AWAY;
}

void spare_gone(struct volume *v, struct spare *spare, int error)
{
	spare_is(v, spare, health_of(error), error);
}

void spare_is(struct volume *v, struct spare *spare, enum spare_health health, int error)
{
	struct event event = {.kind = EVENT_DEVICE_FAILED, .spare = spare_id(spare), .error = error};

	if (!spare_fail(spare, health, error))
		return;
	snprintf(event.detail, sizeof(event.detail), "the spare %s; its free slots are not used",
		 health == SPARE_NO_ROOM ? "is on a file system that is full"
		 : health == SPARE_FAILING ? "does not take what it is given" : "does not answer");
	log_error("spare %u '%.200s': %s (%s); see 'remapctl status'", spare_id(spare),
		  spare_path(spare), event.detail, errno_name(error));
	tell(v, &event);
}

void spare_works(struct volume *v, struct spare *spare)
{
	struct event event = {.kind = EVENT_DEVICE_WORKS, .spare = spare_id(spare),
			      .detail = "the spare is as it was, and does what is asked again"};

	atomic_store(&v->slots_needed, 0);
	log_notice("spare %u '%.200s' does what is asked again", spare_id(spare), spare_path(spare));
	tell(v, &event);
}

int judge_spare(struct volume *v, struct spare *spare, int error, bool writing)
{
	if (error == ENOMEM || error == EAGAIN)
		return -ENOMEM;
	if (errno_is_media(error) && spare_alive(spare, writing) == 0)
		return 0;
	spare_gone(v, spare, error);
	return -EIO;
}
