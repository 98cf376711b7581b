/*
 * Contract 7: a device that is gone is not a bad sector.
 *
 * An error that may mean bad media is believed only when main does elsewhere
 * what it refused here: a read elsewhere for a failed read, a write elsewhere
 * for a failed write (a disk may turn read-only). Asked first is where that
 * worked a moment ago, then places spread over main. A write asks by putting a
 * sector's own content back, owning it meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/volume_impl.h"

/* ---- telling ---------------------------------------------------------------------- */

void tell(struct volume *v, const struct event *event)
{
	struct change change = {0};

	change_event(&change, event);
	commit_record(&v->committer, &change);
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

static size_t eighth(const struct volume *v, sector_t sector)
{
	return (size_t)(sector / (v->sectors / EVIDENCE + 1));
}

/* Called in the middle of I/O: does not wait for the record. */
static void works(struct volume *v, struct evidence *e)
{
	struct event event = {.kind = EVENT_DEVICE_WORKS};
	struct change change = {0};

	if (!atomic_exchange(&e->failed, false))
		return;
	snprintf(event.detail, sizeof(event.detail), "main takes %s again", e->what);
	log_notice("%s", event.detail);
	change_event(&change, &event);
	commit_later(&v->committer, &change);
}

static void note(struct volume *v, struct evidence *e, sector_t sector)
{
	atomic_store_explicit(&e->worked[eighth(v, sector)], sector, memory_order_relaxed);
	if (atomic_load_explicit(&e->failed, memory_order_relaxed))
		works(v, e);
}

void note_read(struct volume *v, sector_t sector)
{
	note(v, &v->reading, sector);
}

void note_written(struct volume *v, sector_t sector)
{
	note(v, &v->writing, sector);
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

	if (!range_try_own(&v->locks, &ticket, sector, 1, &r->ticket))
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
	unsigned asked;
};

static bool answers(struct probe *p, ask_fn ask, sector_t sector)
{
	struct volume *v = p->volume;
	int rc;

	if (sector >= v->sectors || (sector >= p->start && sector < p->end) ||
	    map_get(v->map, sector, 1).state != SECTOR_GOOD || now_ms() >= p->deadline)
		return false;
	rc = ask(v, p->request, p->buf, sector);
	p->asked += rc != NO_ANSWER;
	return rc == 0;
}

static bool somewhere(struct probe *p, ask_fn ask, struct evidence *e)
{
	struct volume *v = p->volume;

	for (size_t i = 1; i <= EVIDENCE; i++)
		if (answers(p, ask, atomic_load(&e->worked[(eighth(v, p->start) + i) % EVIDENCE])))
			return true;
	for (size_t i = 0; i <= EVIDENCE; i++)
		if (answers(p, ask, (v->sectors - 1) / EVIDENCE * i))
			return true;
	return false;
}

/* Whether main does elsewhere what it refused at [start, end). */
static bool alive(struct probe *p, ask_fn ask, struct evidence *e)
{
	CLEANUP_FREE void *buf = NULL;

	if (posix_memalign(&buf, VOLUME_ALIGNMENT, p->volume->sector_size) != 0)
		return false;
	p->buf = buf;
	if (somewhere(p, ask, e))
		return true;
	/* Every place was in use: a read needs nobody's leave. */
	if (p->asked == 0 && ask == ask_write && somewhere(p, ask_read, e))
		return true;
	/* A main so small that there is no other place to ask. */
	return p->asked == 0 && now_ms() < p->deadline;
}

/* ---- judging --------------------------------------------------------------------------- */

static int main_failed(struct volume *v, struct evidence *e, int error, sector_t start,
		       uint64_t count)
{
	struct event event = {.kind = EVENT_DEVICE_FAILED, .sector = start, .sectors = count,
			      .error = error};

	if (atomic_exchange(&e->failed, true))
		return -EIO;
	snprintf(event.detail, sizeof(event.detail), "main takes no %s; nothing is moved", e->what);
	log_error("main takes no %s (%s): check the disk and its cables; nothing is moved to the "
		  "spares meanwhile", e->what, errno_name(error));
	tell(v, &event);
	return -EIO;
}

static int judge(struct volume *v, const struct request *r, int error, sector_t start,
		 uint64_t count, ask_fn ask, struct evidence *e)
{
	struct probe p = {.volume = v, .request = r, .start = start, .end = start + count,
			  .deadline = r->deadline};

	/* As on a bare disk: the error is the caller's. */
	if (v->options.no_remap)
		return 0;
	if (error == ENOMEM || error == EAGAIN)
		return -ENOMEM;
	/* The file system that main is a file on is full, not main. */
	if (error == ENOSPC || error == EDQUOT)
		return -ENOSPC;
	/* A slow main has used up the time of the request; this needs a little. */
	if (p.deadline < now_ms() + PROBE_MS)
		p.deadline = now_ms() + PROBE_MS;
	if (!errno_is_media(error) || !alive(&p, ask, e))
		return main_failed(v, e, error, start, count);
	works(v, e);
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

void spare_gone(struct volume *v, struct spare *spare, int error)
{
	struct event event = {.kind = EVENT_DEVICE_FAILED, .spare = spare_id(spare), .error = error,
			      .detail = "the spare does not do what is asked; its free slots are "
					"not used any more"};

	if (!spare_fail(spare))
		return;
	log_error("spare %u does not do what is asked (%s): check the disk and its cables, and "
		  "mount anew", spare_id(spare), errno_name(error));
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
