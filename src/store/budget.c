/*
 * A bound for what one statement may cost.
 *
 * SQLite reads what a page says that the next one is. In a damaged or hostile file pages
 * may lead to each other in circles, or a page be the child of hundreds of others, to
 * twenty levels: a few kilobytes hold more rows than anybody can read. What is honest
 * takes some hundred steps of SQLite's machine for each row, and a row takes some dozen
 * bytes of the file.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/statement.h"

#define STEPS_AT_ONCE 1000
#define STEPS_PER_BYTE 32
#define STEPS_LEAST 20000000

/* Bytes that are there: a hole costs its maker nothing. */
static uint64_t bytes_of(const char *database, const char *ending)
{
	char path[4096];
	struct stat st;
	int n = snprintf(path, sizeof(path), "%s%s", database, ending);

	if (n < 0 || (size_t)n >= sizeof(path) || stat(path, &st) < 0)
		return 0;
	return st.st_size < st.st_blocks * 512 ? (uint64_t)st.st_size
					       : (uint64_t)st.st_blocks * 512;
}

uint64_t store_bytes(const struct store *s)
{
	const char *path = sqlite3_db_filename(s->db, "main");

	return path && path[0] ? bytes_of(path, "") + bytes_of(path, "-wal") : s->copied;
}

static int take_from_budget(void *context)
{
	struct store *s = context;

	if (++s->steps < s->budget)
		return 0;
	/* The file grows while it is open. */
	s->budget = (STEPS_LEAST + store_bytes(s) * STEPS_PER_BYTE) / STEPS_AT_ONCE;
	if (s->steps < s->budget)
		return 0;
	strcpy(s->damage, "its pages lead in circles");
	return 1;
}

void store_watch_budget(struct store *s)
{
	sqlite3_progress_handler(s->db, STEPS_AT_ONCE, take_from_budget, s);
}

void store_begin_budget(struct store *s)
{
	s->steps = 0;
	s->damage[0] = 0;
}
