/*
 * The tables that people read, column by column. The names are those of the
 * schema, so that what a table shows can be asked of sqlite3 as well.
 */
#include <errno.h>
#include <string.h>

#include "store/row.h"

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

/* What a value has to be: text, or an integer in a range; optional: or NULL. */
struct rule {
	bool text, optional;
	int64_t least, most;
};

#define TEXT {.text = true}
#define TEXT_OR_NULL {.text = true, .optional = true}
#define NUMBER(from, to) {.least = (from), .most = (int64_t)(to)}
#define NUMBER_OR_NULL(from, to) {.optional = true, .least = (from), .most = (int64_t)(to)}
#define ANY_NUMBER NUMBER(INT64_MIN, INT64_MAX)

static const struct rule remap_rules[COLUMNS_MAX] = {
	NUMBER(0, SECTOR_MAX), NUMBER(1, SECTOR_MAX), NUMBER(1, SPARE_ID_MAX), NUMBER(0, SLOT_MAX),
	TEXT_OR_NULL, TEXT, ANY_NUMBER,
};

static const struct rule pending_rules[COLUMNS_MAX] = {
	NUMBER(0, SECTOR_MAX), NUMBER(1, SECTOR_MAX), NUMBER_OR_NULL(1, SPARE_ID_MAX),
	NUMBER_OR_NULL(0, SLOT_MAX), TEXT_OR_NULL, TEXT,
};

static const struct rule history_rules[COLUMNS_MAX] = {
	NUMBER(1, INT64_MAX), TEXT, TEXT, NUMBER_OR_NULL(0, SECTOR_MAX),
	NUMBER_OR_NULL(0, SLOT_MAX), NUMBER_OR_NULL(0, SPARE_ID_MAX), NUMBER_OR_NULL(0, SLOT_MAX),
	TEXT_OR_NULL, TEXT_OR_NULL,
};

static const struct rule fault_rules[COLUMNS_MAX] = {
	NUMBER(1, INT64_MAX), NUMBER_OR_NULL(1, SPARE_ID_MAX), NUMBER(0, SLOT_MAX),
	NUMBER(1, SLOT_MAX), TEXT, TEXT_OR_NULL, TEXT, NUMBER_OR_NULL(1, INT64_MAX),
	NUMBER(0, FAULT_DELAY_MS_MAX), TEXT,
};

static const struct {
	const char *name;
	const struct store_column *columns;
	const struct rule *rules;
	enum statement statement;
} tables[] = {
	[STORE_REMAPS] = {"remap", remap_columns, remap_rules, SQL_LIST_REMAPS},
	[STORE_PENDING] = {"pending", pending_columns, pending_rules, SQL_LIST_PENDING},
	[STORE_HISTORY] = {"history", history_columns, history_rules, SQL_LIST_HISTORY},
	[STORE_FAULTS] = {"fault", fault_columns, fault_rules, SQL_LIST_FAULTS},
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

static int pass_extent(void *context, const struct extent *e)
{
	(void)context, (void)e;
	return 0;
}

static int pass_fault(void *context, const struct fault *f)
{
	(void)context, (void)f;
	return 0;
}

/* The rules between rows, and between them and the volume, are those of an opening. */
static int check_table(struct store *s, enum store_table table)
{
	uint64_t sum = 0;

	if (table == STORE_HISTORY)
		return 0;
	return table == STORE_FAULTS ? store_each_fault(s, pass_fault, NULL)
				     : store_walk_extents(s, pass_extent, NULL, &sum);
}

static const char *read_value(struct row_reader *r, int column, const struct rule *rule)
{
	if (rule->text)
		return rule->optional ? row_optional_text(r, column) : row_text(r, column);
	if (rule->optional)
		row_optional(r, column, rule->least, rule->most);
	else
		row_integer(r, column, rule->least, rule->most);
	return (const char *)sqlite3_column_text(r->at, column);
}

/* Rows of the history come in the order of their ids; of pages in circles they do not. */
static int read_values(struct store *s, sqlite3_stmt *row, enum store_table table, int64_t *last,
		       const char **values)
{
	struct row_reader r = row_begin(s, row, tables[table].name);

	for (int i = 0; i < sqlite3_column_count(row); i++)
		values[i] = read_value(&r, i, &tables[table].rules[i]);
	if (table == STORE_HISTORY && sqlite3_column_int64(row, 0) <= *last)
		row_refuse(&r, "is not in its order");
	*last = sqlite3_column_int64(row, 0);
	return row_end(&r);
}

static int cannot_read(struct store *s, int rc, struct error *err)
{
	if (rc == -EUCLEAN)
		return error_set(err, EUCLEAN, "the database is damaged (%s); see 'remapctl check'",
				 s->damage[0] ? s->damage : "its rows are not those that remapfs wrote");
	return error_set(err, -rc, "cannot read the database: %s; check the disk it is on",
			 sqlite3_errmsg(s->db));
}

int store_query(struct store *s, enum store_table table, const struct store_filter *filter,
		int (*row)(void *context, const char *const *values), void *context,
		struct error *err)
{
	int64_t limit = filter->limit ? (int64_t)filter->limit : -1, last = 0;
	char since[32] = "";
	sqlite3_stmt *result;
	int rc = 0;

	if (filter->since)
		rc = read_time(s, filter->since, since, sizeof(since), err);
	if (rc < 0)
		return rc;
	rc = check_table(s, table);
	if (rc < 0)
		return cannot_read(s, rc, err);
	result = store_bind(s, tables[table].statement, "ti", since[0] ? since : NULL, limit);
	while ((rc = store_step(s, result)) > 0) {
		const char *values[COLUMNS_MAX];

		rc = read_values(s, result, table, &last, values);
		if (rc < 0)
			break;
		rc = row(context, values);
		if (rc != 0) {
			store_done(result);
			return rc;
		}
	}
	return rc < 0 ? cannot_read(s, rc, err) : 0;
}
