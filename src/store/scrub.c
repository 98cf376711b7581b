/*
 * How far the scrub is, as the one row that says it.
 */
#include <string.h>

#include "store/statement.h"

static const char *const states[] = {
	[SCRUB_NONE] = "none",
	[SCRUB_RUNNING] = "running",
	[SCRUB_PAUSED] = "paused",
	[SCRUB_DONE] = "done",
};

const char *scrub_state_name(enum scrub_state state)
{
	return states[state];
}

static enum scrub_state read_state(sqlite3_stmt *row, int column)
{
	enum scrub_state state = SCRUB_DONE;
	char name[16];

	store_text(row, column, name, sizeof(name));
	while (state > SCRUB_NONE && strcmp(states[state], name) != 0)
		state--;
	return state;
}

int store_read_scrub(struct store *s, struct store_scrub *ret)
{
	sqlite3_stmt *row = store_statement(s, SQL_SCRUB_READ);
	int rc = store_step(s, row);

	*ret = (struct store_scrub){.state = SCRUB_NONE};
	if (rc <= 0)
		return rc;
	ret->state = read_state(row, 0);
	ret->rate = (uint64_t)sqlite3_column_int64(row, 1);
	ret->sector = (sector_t)sqlite3_column_int64(row, 2);
	ret->found.lost = (uint64_t)sqlite3_column_int64(row, 3);
	ret->found.weak = (uint64_t)sqlite3_column_int64(row, 4);
	ret->found.moved = (uint64_t)sqlite3_column_int64(row, 5);
	ret->found.cured = (uint64_t)sqlite3_column_int64(row, 6);
	ret->found.unsteady = (uint64_t)sqlite3_column_int64(row, 7);
	ret->found.skipped = (uint64_t)sqlite3_column_int64(row, 8);
	store_text(row, 9, ret->at, sizeof(ret->at));
	store_done(row);
	return 0;
}

int store_write_scrub(struct store *s, const struct store_scrub *w)
{
	return store_run(s, store_bind(s, SQL_SCRUB_WRITE, "tiiiiiiii", states[w->state],
				       (int64_t)w->rate, (int64_t)w->sector, (int64_t)w->found.lost,
				       (int64_t)w->found.weak, (int64_t)w->found.moved,
				       (int64_t)w->found.cured, (int64_t)w->found.unsteady,
				       (int64_t)w->found.skipped));
}
