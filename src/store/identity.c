/*
 * What is kept of main, so that another disk in its place is noticed. What it
 * means is for volume/identity.c to say.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/row.h"

static int read_places(struct store *s, struct store_identity *main)
{
	sqlite3_stmt *row = store_bind(s, SQL_PLACES_READ, "i", (int64_t)MAIN_PLACES_MAX);
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		struct row_reader r = row_begin(s, row, "main_place");

		main->places[main->place_count++] = (struct main_place){
			.offset = (uint64_t)row_integer(&r, 0, 0, INT64_MAX),
			.digest = row_bits(&r, 1),
		};
		rc = row_end(&r);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static void copy_optional(struct row_reader *r, int column, char *to, size_t size)
{
	const char *text = row_optional_text(r, column);

	snprintf(to, size, "%s", text ? text : "");
}

static int read_row(struct store *s, sqlite3_stmt *row, struct store_identity *main)
{
	struct row_reader r = row_begin(s, row, "main_identity");

	main->known = true;
	copy_optional(&r, 0, main->hardware, sizeof(main->hardware));
	copy_optional(&r, 1, main->file, sizeof(main->file));
	main->written_at = row_integer(&r, 2, INT64_MIN, INT64_MAX);
	main->opens = (uint64_t)row_integer(&r, 3, 0, INT64_MAX);
	copy_optional(&r, 4, main->changed_since, sizeof(main->changed_since));
	return row_end(&r);
}

int store_read_identity(struct store *s)
{
	struct store_identity *main = &s->volume.main;
	sqlite3_stmt *row = store_statement(s, SQL_IDENTITY_READ);
	int rc = store_step(s, row);

	if (rc > 0 && (rc = read_row(s, row, main)) == 0)
		rc = 1;
	store_done(row);
	if (rc <= 0)
		return rc;
	main->places = calloc(MAIN_PLACES_MAX, sizeof(*main->places));
	return main->places ? read_places(s, main) : -ENOMEM;
}

static int write_places(struct store *s, const struct store_identity *main)
{
	int rc = store_run(s, store_statement(s, SQL_PLACES_DELETE));

	for (size_t i = 0; rc == 0 && i < main->place_count; i++)
		rc = store_run(s, store_bind(s, SQL_PLACE_INSERT, "ii", (int64_t)main->places[i].offset,
					     (int64_t)main->places[i].digest));
	return rc;
}

int store_set_identity(struct store *s, const struct store_identity *main)
{
	int rc = store_run(s, store_bind(s, SQL_IDENTITY_WRITE, "ttiit", main->hardware, main->file,
					 main->written_at, (int64_t)main->opens,
					 main->changed_since));

	return rc < 0 || !main->places ? rc : write_places(s, main);
}
