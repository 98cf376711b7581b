/*
 * What happened, and the sums that people ask for.
 */
#include <errno.h>
#include <string.h>

#include "store/statement.h"

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
	int rc = store_step(s, row);

	if (rc > 0)
		store_text(row, 0, at, 32);
	store_done(row);
	return rc > 0 ? 0 : rc < 0 ? rc : -EUCLEAN;
}

int store_was_unclean(struct store *s, bool *ret)
{
	enum store_life life;
	int rc = store_last_life(s, &life);

	if (rc == 0)
		*ret = life == STORE_UNCLEAN;
	return rc;
}

int store_totals(struct store *s, struct store_totals *ret)
{
	sqlite3_stmt *row = store_statement(s, SQL_TOTALS);
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc;
	ret->remapped_sectors = (uint64_t)sqlite3_column_int64(row, 0);
	ret->pending_sectors = (uint64_t)sqlite3_column_int64(row, 1);
	ret->remaps = (uint64_t)sqlite3_column_int64(row, 2);
	ret->bad_slots = (uint64_t)sqlite3_column_int64(row, 3);
	ret->faults = (uint64_t)sqlite3_column_int64(row, 4);
	ret->events = (uint64_t)sqlite3_column_int64(row, 5);
	store_done(row);
	return 0;
}

int store_spare_usage(struct store *s, spare_id_t spare, uint64_t *ret_used, uint64_t *ret_bad)
{
	sqlite3_stmt *row = store_bind(s, SQL_SPARE_USAGE, "i", (int64_t)spare);
	int rc = store_step(s, row);

	if (rc > 0) {
		*ret_used = (uint64_t)sqlite3_column_int64(row, 0);
		*ret_bad = (uint64_t)sqlite3_column_int64(row, 1);
	}
	store_done(row);
	return rc < 0 ? rc : 0;
}
