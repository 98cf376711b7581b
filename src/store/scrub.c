/*
 * How far the scrub is, as the one row that says it.
 */
#include <stdio.h>

#include "store/row.h"

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

static uint64_t read_count(struct row_reader *r, int column)
{
	return (uint64_t)row_integer(r, column, 0, INT64_MAX);
}

static int read_row(struct store *s, sqlite3_stmt *row, struct store_scrub *ret)
{
	struct row_reader r = row_begin(s, row, "scrub");

	ret->state = (enum scrub_state)row_name(&r, 0, states, SCRUB_RUNNING, SCRUB_DONE);
	ret->rate = read_count(&r, 1);
	ret->sector = (sector_t)row_integer(&r, 2, 0, (int64_t)s->volume.main_sectors);
	ret->found.lost = read_count(&r, 3);
	ret->found.weak = read_count(&r, 4);
	ret->found.moved = read_count(&r, 5);
	ret->found.cured = read_count(&r, 6);
	ret->found.unsteady = read_count(&r, 7);
	ret->found.skipped = read_count(&r, 8);
	snprintf(ret->at, sizeof(ret->at), "%s", row_text(&r, 9));
	return row_end(&r);
}

int store_read_scrub(struct store *s, struct store_scrub *ret)
{
	sqlite3_stmt *row = store_statement(s, SQL_SCRUB_READ);
	int rc = store_step(s, row);

	*ret = (struct store_scrub){.state = SCRUB_NONE};
	if (rc <= 0)
		return rc;
	rc = read_row(s, row, ret);
	store_done(row);
	return rc;
}

int store_write_scrub(struct store *s, const struct store_scrub *w)
{
	return store_run(s, store_bind(s, SQL_SCRUB_WRITE, "tiiiiiiii", states[w->state],
				       (int64_t)w->rate, (int64_t)w->sector, (int64_t)w->found.lost,
				       (int64_t)w->found.weak, (int64_t)w->found.moved,
				       (int64_t)w->found.cured, (int64_t)w->found.unsteady,
				       (int64_t)w->found.skipped));
}
