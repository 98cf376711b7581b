#include "store_fixture.h"

#include <errno.h>
#include <stdio.h>

static char *const spare_path_1 = (char[]){"/spares/one"};
static char *const spare_path_2 = (char[]){"/spares/two"};
static char *const main_path = (char[]){MAIN_PATH};

int store_fixture_create(const char *path, struct error *err)
{
	const struct store_volume volume = {
		.uuid = "6c1e3a1e-0d6f-4a53-9d2c-2f6f0a8b7c11",
		.main_path = main_path,
		.main_sectors = SECTORS,
		.sector_size = 512,
	};
	const struct store_spare spares[] = {
		{.id = 1, .uuid = "7c1e3a1e-0d6f-4a53-9d2c-2f6f0a8b7c11", .path = spare_path_1,
		 .length = 8 * MiB, .slots = SLOTS},
		{.id = 2, .uuid = "8c1e3a1e-0d6f-4a53-9d2c-2f6f0a8b7c11", .path = spare_path_2,
		 .offset = 4096, .length = 9 * MiB, .slots = SLOTS},
	};

	return store_create(path, &volume, spares, ARRAY_SIZE(spares), err);
}

struct store *open_mode(enum store_mode mode)
{
	struct error err = {""};
	struct store *s = NULL;

	if (store_open(at("vol"), mode, &s, &err) < 0)
		fail_msg("%s", err.text);
	return s;
}

struct store *open_new(void)
{
	struct error err = {""};

	if (store_fixture_create(at("vol"), &err) < 0)
		fail_msg("%s", err.text);
	return open_mode(STORE_WRITE);
}

/* Runs SQL as a person would, past the store; returns what SQLite said. */
int sql(const char *text)
{
	sqlite3 *db;
	int rc;

	assert_int_equal(sqlite3_open(at("vol"), &db), SQLITE_OK);
	sqlite3_exec(db, "PRAGMA foreign_keys = ON", NULL, NULL, NULL);
	rc = sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_close(db);
	return rc;
}

/* The first column of the first row, as text. */
const char *sql_text(const char *query)
{
	static char text[256];
	sqlite3_stmt *row;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("vol"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &row, NULL), SQLITE_OK);
	text[0] = 0;
	if (sqlite3_step(row) == SQLITE_ROW && sqlite3_column_text(row, 0))
		snprintf(text, sizeof(text), "%s", (const char *)sqlite3_column_text(row, 0));
	sqlite3_finalize(row);
	sqlite3_close(db);
	return text;
}

int set_extent(struct store *s, struct extent e)
{
	int rc = store_begin(s);

	rc = rc ? rc : store_set_extent(s, &e, EIO, 7);
	if (rc < 0) {
		store_rollback(s);
		return rc;
	}
	return store_commit(s);
}
