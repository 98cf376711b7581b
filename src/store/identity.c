/*
 * What is kept of main, so that another disk in its place is noticed. What it
 * means is for volume/identity.c to say.
 */
#include <errno.h>
#include <stdlib.h>

#include "store/statement.h"

static int read_places(struct store *s, struct store_identity *main)
{
	sqlite3_stmt *row = store_bind(s, SQL_PLACES_READ, "i", (int64_t)MAIN_PLACES_MAX);
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		struct main_place *place = &main->places[main->place_count++];

		place->offset = (uint64_t)sqlite3_column_int64(row, 0);
		place->digest = (uint64_t)sqlite3_column_int64(row, 1);
	}
	return rc;
}

int store_read_identity(struct store *s)
{
	struct store_identity *main = &s->volume.main;
	sqlite3_stmt *row = store_statement(s, SQL_IDENTITY_READ);
	int rc = store_step(s, row);

	if (rc > 0) {
		main->known = true;
		store_text(row, 0, main->hardware, sizeof(main->hardware));
		store_text(row, 1, main->file, sizeof(main->file));
		main->written_at = sqlite3_column_int64(row, 2);
		main->opens = (uint64_t)sqlite3_column_int64(row, 3);
		store_text(row, 4, main->changed_since, sizeof(main->changed_since));
	}
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
