/*
 * What happened, and the sums that people ask for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/row.h"

static const char *const names[] = {
	[EVENT_CREATED] = "created",
	[EVENT_OPENED] = "opened",
	[EVENT_CLOSED] = "closed",
	[EVENT_REMAPPED] = "remapped",
	[EVENT_MOVED] = "moved",
	[EVENT_PENDING] = "pending",
	[EVENT_CURED] = "cured",
	[EVENT_SLOT_BAD] = "slot_bad",
	[EVENT_WRITE_FAILED] = "write_failed",
	[EVENT_SPARES_FULL] = "spares_full",
	[EVENT_DEVICE_FAILED] = "device_failed",
	[EVENT_DEVICE_WORKS] = "device_works",
	[EVENT_FLUSH_FAILED] = "flush_failed",
	[EVENT_COMMIT_FAILED] = "commit_failed",
	[EVENT_COMMIT_WORKS] = "commit_works",
	[EVENT_LOG_STUCK] = "log_stuck",
	[EVENT_LOG_SHRUNK] = "log_shrunk",
	[EVENT_FAULTS_ADDED] = "faults_added",
	[EVENT_FAULTS_CLEARED] = "faults_cleared",
	[EVENT_GAVE_UP] = "gave_up",
	[EVENT_FAULT_SPENT] = "fault_spent",
	[EVENT_REPAIRED] = "repaired",
	[EVENT_REBUILT] = "rebuilt",
	[EVENT_SPARE_ADDED] = "spare_added",
	[EVENT_SPARE_RETIRING] = "spare_retiring",
	[EVENT_SPARE_RETIRED] = "spare_retired",
	[EVENT_SPARE_LOST] = "spare_lost",
	[EVENT_PATH_CHANGED] = "path_changed",
	[EVENT_UNMAPPED] = "unmapped",
	[EVENT_SCRUB_STARTED] = "scrub_started",
	[EVENT_SCRUB_PAUSED] = "scrub_paused",
	[EVENT_SCRUB_RESUMED] = "scrub_resumed",
	[EVENT_SCRUB_DONE] = "scrub_done",
	[EVENT_MAIN_CHANGED] = "main_changed",
	[EVENT_CLOCK_BACK] = "clock_back",
};

/* A row of its own where the clock has gone back, so that what follows has its time. */
static int tell_clock(struct store *s)
{
	return store_run(s, store_bind(s, SQL_HISTORY_CLOCK_BACK, "t", names[EVENT_CLOCK_BACK]));
}

int store_add_event(struct store *s, const struct event *e)
{
	/* Columns that say nothing stay NULL, not 0. */
	sqlite3_stmt *insert = store_statement(s, SQL_HISTORY_INSERT);
	int rc = insert ? tell_clock(s) : store_errno(s);

	if (rc < 0)
		return rc;
	sqlite3_bind_text(insert, 1, names[e->kind], -1, SQLITE_STATIC);
	if (e->sectors > 0) {
		sqlite3_bind_int64(insert, 2, (sqlite3_int64)e->sector);
		sqlite3_bind_int64(insert, 3, (sqlite3_int64)e->sectors);
	}
	if (e->spare != ON_MAIN) {
		sqlite3_bind_int64(insert, 4, e->spare);
		sqlite3_bind_int64(insert, 5, (sqlite3_int64)e->slot);
	}
	if (e->error)
		sqlite3_bind_text(insert, 6, errno_name(e->error), -1, SQLITE_TRANSIENT);
	if (e->detail[0])
		sqlite3_bind_text(insert, 7, e->detail, -1, SQLITE_STATIC);
	return store_run(s, insert);
}

int store_last_life(struct store *s, enum store_life *ret)
{
	sqlite3_stmt *row = store_statement(s, SQL_HISTORY_LIFE);
	char event[16] = "";
	int rc = store_step(s, row);

	if (rc < 0)
		return rc;
	if (rc > 0)
		store_text(row, 0, event, sizeof(event));
	store_done(row);
	*ret = !event[0] ? STORE_NEW : strcmp(event, "closed") == 0 ? STORE_CLOSED : STORE_UNCLEAN;
	return 0;
}

int store_last_close(struct store *s, char at[32])
{
	sqlite3_stmt *row = store_statement(s, SQL_HISTORY_CLOSE);
	struct row_reader r = row_begin(s, row, "history");
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc < 0 ? rc : -EUCLEAN;
	snprintf(at, 32, "%s", row_text(&r, 0));
	rc = row_end(&r);
	store_done(row);
	return rc;
}

int store_was_unclean(struct store *s, bool *ret)
{
	enum store_life life;
	int rc = store_last_life(s, &life);

	if (rc == 0)
		*ret = life == STORE_UNCLEAN;
	return rc;
}

static int count_extent(void *context, const struct extent *e)
{
	struct store_totals *t = context;

	t->remaps += e->state == SECTOR_REMAPPED;
	*(e->state == SECTOR_REMAPPED ? &t->remapped_sectors : &t->pending_sectors) += e->count;
	return 0;
}

static int count_bad_slots(void *context, spare_id_t spare, slot_t first, uint64_t count)
{
	struct store_totals *t = context;

	(void)spare, (void)first;
	t->bad_slots += count;
	return 0;
}

/* They may lie over each other, any number of them. */
static int count_fault(void *context, const struct fault *f)
{
	struct store_totals *t = context;

	t->faults = f->count < INT64_MAX - t->faults ? t->faults + f->count : INT64_MAX;
	return 0;
}

static int count_events(struct store *s, uint64_t *ret)
{
	sqlite3_stmt *row = store_statement(s, SQL_EVENTS);
	struct row_reader r = row_begin(s, row, "history");
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc;
	*ret = (uint64_t)row_integer(&r, 0, 0, INT64_MAX);
	rc = row_end(&r);
	store_done(row);
	return rc;
}

int store_totals(struct store *s, struct store_totals *ret)
{
	uint64_t sum = 0;
	int rc;

	*ret = (struct store_totals){0};
	rc = store_walk_extents(s, count_extent, ret, &sum);
	rc = rc < 0 ? rc : store_each_bad_slots(s, count_bad_slots, ret);
	rc = rc < 0 ? rc : store_each_fault(s, count_fault, ret);
	return rc < 0 ? rc : count_events(s, &ret->events);
}
