/*
 * Values as a hostile file holds them: each is looked at for its type and its range
 * before it is converted, since SQLite converts anything into anything.
 */
#include "store/row.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct row_reader row_begin(struct store *s, sqlite3_stmt *at, const char *table)
{
	return (struct row_reader){.store = s, .at = at, .table = table};
}

void row_refuse(struct row_reader *r, const char *what)
{
	if (!r->damaged)
		snprintf(r->store->damage, sizeof(r->store->damage), "a row of %s %s", r->table, what);
	r->damaged = true;
}

static void refuse_column(struct row_reader *r, int column, const char *what)
{
	char text[64];

	snprintf(text, sizeof(text), "has %s in %s", what, sqlite3_column_name(r->at, column));
	row_refuse(r, text);
}

int64_t row_integer(struct row_reader *r, int column, int64_t least, int64_t most)
{
	int64_t value = sqlite3_column_int64(r->at, column);

	if (sqlite3_column_type(r->at, column) == SQLITE_INTEGER && value >= least && value <= most)
		return value;
	refuse_column(r, column, "an impossible value");
	return 0;
}

static bool is_null(const struct row_reader *r, int column)
{
	return sqlite3_column_type(r->at, column) == SQLITE_NULL;
}

int64_t row_optional(struct row_reader *r, int column, int64_t least, int64_t most)
{
	return is_null(r, column) ? 0 : row_integer(r, column, least, most);
}

uint64_t row_bits(struct row_reader *r, int column)
{
	return (uint64_t)row_integer(r, column, INT64_MIN, INT64_MAX);
}

const char *row_text(struct row_reader *r, int column)
{
	bool text = sqlite3_column_type(r->at, column) == SQLITE_TEXT;
	const char *value = text ? (const char *)sqlite3_column_text(r->at, column) : NULL;

	if (value && strlen(value) == (size_t)sqlite3_column_bytes(r->at, column))
		return value;
	refuse_column(r, column, "no text");
	return "";
}

const char *row_optional_text(struct row_reader *r, int column)
{
	return is_null(r, column) ? NULL : row_text(r, column);
}

int row_name(struct row_reader *r, int column, const char *const *names, int first, int last)
{
	const char *text = row_text(r, column);

	for (int i = first; i <= last; i++)
		if (strcmp(names[i], text) == 0)
			return i;
	refuse_column(r, column, "an unknown word");
	return first;
}

char *row_path(struct row_reader *r, int column)
{
	const char *path = row_text(r, column);

	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		refuse_column(r, column, "no absolute path");
	return strdup(path);
}

void row_uuid(struct row_reader *r, int column, char to[STORE_UUID_TEXT])
{
	const char *text = row_text(r, column);
	size_t length = strlen(text);

	if (length != STORE_UUID_TEXT - 1 || strspn(text, "0123456789abcdefABCDEF-") != length)
		refuse_column(r, column, "no UUID");
	snprintf(to, STORE_UUID_TEXT, "%s", text);
}

int row_end(const struct row_reader *r)
{
	if (!r->damaged)
		return 0;
	store_done(r->at);
	return -EUCLEAN;
}
