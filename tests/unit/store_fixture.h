/* A small database in the scratch directory, and SQL as a person would type it. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "fixture.h"

#include <sqlite3.h>

#include "remapfs/store.h"

#define SECTORS 400 /* of main */
#define SLOTS 1000  /* of each of the two spares */
#define MAIN_PATH "/main.img"

int store_fixture_create(const char *path, struct error *err);

/* at("vol"), which is made first by open_new. */
struct store *open_new(void);
struct store *open_mode(enum store_mode mode);

/* Runs SQL on it past the store; returns what SQLite said. */
int sql(const char *text);

/* The first column of the first row, as text; valid until the next call. */
const char *sql_text(const char *query);

/* store_set_extent as one transaction, with error EIO and sequence 7. */
int set_extent(struct store *s, struct extent e);

#endif
