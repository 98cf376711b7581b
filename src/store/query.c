/*
 * The tables that people read, column by column. The names are those of the
 * schema, so that what a table shows can be asked of sqlite3 as well.
 */
#include <errno.h>
#include <string.h>

#include "store/statement.h"

#define COLUMNS_MAX 16

static const struct store_column remap_columns[] = {
	{"main_sector", "first sector of main that moved", true, false},
	{"sectors", "how many follow each other", true, false},
	{"spare_id", "the spare they are on", true, false},
	{"slot", "the first slot that holds them", true, false},
	{"error", "what the device answered", false, false},
	{"at", "when they moved, UTC", false, false},
	{"sequence", "the number of the write that moved them", true, true},
	{0},
};

static const struct store_column pending_columns[] = {
	{"sector", "first sector that cannot be read", true, false},
	{"sectors", "how many follow each other", true, false},
	{"spare_id", "the spare that lost them; empty: main", true, false},
	{"slot", "the first slot that held them", true, false},
	{"error", "what the device answered", false, false},
	{"at", "since when, UTC", false, false},
	{0},
};

static const struct store_column history_columns[] = {
	{"id", "number of the event", true, true},
	{"at", "when, UTC", false, false},
	{"event", "what happened", false, false},
	{"main_sector", "first sector of main", true, false},
	{"sectors", "how many", true, false},
	{"spare_id", "the spare", true, false},
	{"slot", "the first slot", true, false},
	{"error", "what the device answered", false, false},
	{"detail", "more in words", false, false},
	{0},
};

static const struct store_column fault_columns[] = {
	{"id", "number of the fault", true, false},
	{"spare_id", "the spare it is on; empty: main", true, false},
	{"sector", "first sector", true, false},
	{"sectors", "how many", true, false},
	{"on", "what fails: read, write or both", false, false},
	{"error", "what is answered; empty: only slow", false, false},
	{"life", "permanent, times, until rewritten", false, false},
	{"times", "how often it strikes", true, false},
	{"delay_ms", "how long a request waits", true, false},
	{"at", "when it was added, UTC", false, false},
	{0},
};

static const struct {
	const struct store_column *columns;
	enum statement statement;
} tables[] = {
	[STORE_REMAPS] = {remap_columns, SQL_LIST_REMAPS},
	[STORE_PENDING] = {pending_columns, SQL_LIST_PENDING},
	[STORE_HISTORY] = {history_columns, SQL_LIST_HISTORY},
	[STORE_FAULTS] = {fault_columns, SQL_LIST_FAULTS},
};

const struct store_column *store_columns(enum store_table table)
{
	return tables[table].columns;
}

/* Brings a time as people write it into the form of the at columns. */
static int read_time(struct store *s, const char *text, char *at, size_t size, struct error *err)
{
	sqlite3_stmt *row = store_bind(s, SQL_TIME, "t", text);
	int rc = store_step(s, row);

	if (rc > 0)
		store_text(row, 0, at, size);
	store_done(row);
	if (rc < 0)
		return error_set(err, -rc, "cannot read the database: %s; check the disk it is on",
				 sqlite3_errmsg(s->db));
	if (!at[0])
		return error_set(err, EINVAL, "'%s' is no time; write it in UTC as "
				 "'2026-01-31 12:00' or 2026-01-31T12:00:00Z", text);
	return 0;
}

int store_query(struct store *s, enum store_table table, const struct store_filter *filter,
		int (*row)(void *context, const char *const *values), void *context,
		struct error *err)
{
	int64_t limit = filter->limit ? (int64_t)filter->limit : -1;
	char since[32] = "";
	sqlite3_stmt *result;
	int rc = 0;

	if (filter->since)
		rc = read_time(s, filter->since, since, sizeof(since), err);
	if (rc < 0)
		return rc;
	result = store_bind(s, tables[table].statement, "ti", since[0] ? since : NULL, limit);
	while ((rc = store_step(s, result)) > 0) {
		const char *values[COLUMNS_MAX];

		for (int i = 0; i < sqlite3_column_count(result); i++)
			values[i] = (const char *)sqlite3_column_text(result, i);
		rc = row(context, values);
		if (rc != 0) {
			store_done(result);
			return rc;
		}
	}
	if (rc < 0)
		error_set(err, -rc, "cannot read the database: %s; check the disk it is on",
			  sqlite3_errmsg(s->db));
	return rc;
}
