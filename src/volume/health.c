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

#define NONE UINT64_MAX

/* ---- evidence --------------------------------------------------------------------- */

static size_t eighth(const struct volume *v, sector_t sector)
{
	return (size_t)(sector / (v->sectors / EVIDENCE + 1));
}

static void works(struct volume *v)
{
	struct change change = {0};
	struct event event = {.kind = EVENT_DEVICE_WORKS, .detail = "main answers again"};

	if (!atomic_exchange(&v->health.failed, false))
		return;
	log_notice("main answers again");
	change_event(&change, &event);
	commit_later(&v->committer, &change);
}

static void note(struct volume *v, _Atomic(sector_t) *evidence, sector_t sector)
{
	atomic_store_explicit(&evidence[eighth(v, sector)], sector, memory_order_relaxed);
	if (atomic_load_explicit(&v->health.failed, memory_order_relaxed))
		works(v);
}

void note_read(struct volume *v, sector_t sector)
{
	note(v, v->health.read, sector);
}

void note_written(struct volume *v, sector_t sector)
{
	note(v, v->health.written, sector);
}

/* ---- probes -------------------------------------------------------------------------- */

struct probe {
	struct volume *volume;
	sector_t start, end; /* what failed: not asked again */
	int (*ask)(struct volume *, void *buf, sector_t);
	unsigned asked;
};

static int ask_read(struct volume *v, void *buf, sector_t sector)
{
	return device_read(v->main, buf, v->sector_size, bytes_of(v, sector));
}

/* -EBUSY: somebody uses the sector; nothing is known. */
static int ask_write(struct volume *v, void *buf, sector_t sector)
{
	struct range_ticket ticket;
	int rc;

	if (!range_try_own(&v->locks, &ticket, sector, 1))
		return -EBUSY;
	rc = ask_read(v, buf, sector);
	if (rc == 0)
		rc = device_write(v->main, buf, v->sector_size, bytes_of(v, sector));
	range_unlock(&v->locks, &ticket);
	return rc;
}

static bool answers(struct probe *p, void *buf, sector_t sector)
{
	struct volume *v = p->volume;
	int rc;

	if (sector >= v->sectors || (sector >= p->start && sector < p->end) ||
	    map_get(v->map, sector, 1).state != SECTOR_GOOD)
		return false;
	rc = p->ask(v, buf, sector);
	p->asked += rc != -EBUSY;
	return rc == 0;
}

/* Whether main does elsewhere what it refused at [start, end). */
static bool alive(struct probe *p, _Atomic(sector_t) *evidence)
{
	struct volume *v = p->volume;
	int64_t deadline = isolation_deadline(v);
	CLEANUP_FREE void *buf = NULL;

	if (posix_memalign(&buf, VOLUME_ALIGNMENT, v->sector_size) != 0)
		return false;
	for (size_t i = 1; i <= EVIDENCE && now_ms() < deadline; i++)
		if (answers(p, buf, atomic_load(&evidence[(eighth(v, p->start) + i) % EVIDENCE])))
			return true;
	for (size_t i = 0; i <= EVIDENCE && now_ms() < deadline; i++)
		if (answers(p, buf, (v->sectors - 1) / EVIDENCE * i))
			return true;
	/* A main so small, or so busy, that there was nobody to ask. */
	return p->asked == 0;
}

/* ---- judging --------------------------------------------------------------------------- */

static int main_failed(struct volume *v, int error, sector_t start, uint64_t count)
{
	struct change change = {0};
	struct event event = {.kind = EVENT_DEVICE_FAILED, .sector = start, .sectors = count,
			      .error = error, .detail = "main does not answer; nothing is moved"};

	if (!atomic_exchange(&v->health.failed, true)) {
		log_error("main does not answer (%s): check the disk and its cables; nothing is "
			  "moved to the spares meanwhile", errno_name(error));
		change_event(&change, &event);
		commit_record(&v->committer, &change);
	}
	return -EIO;
}

static int judge(struct volume *v, int error, sector_t start, uint64_t count,
		 int (*ask)(struct volume *, void *, sector_t), _Atomic(sector_t) *evidence)
{
	struct probe p = {v, start, start + count, ask, 0};

	if (error == ENOMEM || error == EAGAIN)
		return -ENOMEM;
	/* The file system that main is a file on is full, not main. */
	if (error == ENOSPC || error == EDQUOT)
		return -ENOSPC;
	if (!errno_is_media(error) || !alive(&p, evidence))
		return main_failed(v, error, start, count);
	if (atomic_load(&v->health.failed))
		works(v);
	return 0;
}

int judge_read_error(struct volume *v, int error, sector_t start, uint64_t count)
{
	/* As on a bare disk: the error is the caller's. */
	if (v->options.no_remap)
		return 0;
	return judge(v, error, start, count, ask_read, v->health.read);
}

int judge_write_error(struct volume *v, int error, sector_t start, uint64_t count)
{
	if (v->options.no_remap)
		return 0;
	return judge(v, error, start, count, ask_write, v->health.written);
}

void spare_gone(struct volume *v, struct spare *spare, int error)
{
	if (spare_failed(spare))
		return;
	spare_fail(spare);
	log_error("spare %u does not answer (%s): its sectors fail until it is back; check the "
		  "disk and its cables", spare_id(spare), errno_name(error));
	tell(v, EVENT_DEVICE_FAILED, spare_id(spare), error,
	     "the spare does not answer; its free slots are not used any more");
}

/* ---- telling ------------------------------------------------------------------------------ */

void tell(struct volume *v, enum event_kind kind, spare_id_t spare, int error, const char *detail)
{
	struct event event = {.kind = kind, .spare = spare, .error = error};
	struct change change = {0};

	snprintf(event.detail, sizeof(event.detail), "%s", detail);
	change_event(&change, &event);
	commit_record(&v->committer, &change);
	change_clear(&change);
}

void complain(struct volume *v, enum event_kind kind, sector_t start, uint64_t count, int error,
	      const char *detail)
{
	struct event event = {.kind = kind, .sector = start, .sectors = count, .error = error};
	int64_t second = now_ms() / 1000, last = atomic_load(&v->last_complaint);
	struct change change = {0};

	/* A writer that goes on trying must not fill the disk with history. */
	if (kind == EVENT_WRITE_FAILED &&
	    (last == second || !atomic_compare_exchange_strong(&v->last_complaint, &last, second)))
		return;
	snprintf(event.detail, sizeof(event.detail), "%s", detail);
	change_event(&change, &event);
	commit_record(&v->committer, &change);
	change_clear(&change);
}
