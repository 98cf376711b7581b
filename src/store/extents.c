/*
 * The rows that are the map: remap, pending and bad_slot.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "store/statement.h"

/* A row of remap or pending, whole. */
struct row {
	struct extent extent;
	uint64_t sequence;
	char error[16], at[32];
};

static const char *text_or_null(const char *text)
{
	return text[0] ? text : NULL;
}

/*
 * SQLite has no checksums: a flipped bit in a row is another row to it, and
 * would send a sector somewhere else. So the volume keeps a sum of all of them.
 */
static uint64_t sum_of(const struct extent *e, uint64_t sequence)
{
	const uint64_t words[] = {e->state, e->start, e->count, e->spare, e->slot,
				  e->state == SECTOR_REMAPPED ? sequence : 0};

	return XXH3_64bits(words, sizeof(words));
}

static int insert(struct store *s, const struct row *r)
{
	const struct extent *e = &r->extent;
	bool on_spare = e->spare != ON_MAIN;

	s->map_sum ^= sum_of(e, r->sequence);

	if (e->state == SECTOR_REMAPPED)
		return store_run(s, store_bind(s, SQL_REMAP_INSERT, "iiiiitt", (int64_t)e->start,
					       (int64_t)e->count, (int64_t)e->spare,
					       (int64_t)e->slot, (int64_t)r->sequence,
					       text_or_null(r->error), text_or_null(r->at)));
	if (on_spare)
		return store_run(s, store_bind(s, SQL_PENDING_INSERT, "iiiitt", (int64_t)e->start,
					       (int64_t)e->count, (int64_t)e->spare,
					       (int64_t)e->slot, text_or_null(r->error),
					       text_or_null(r->at)));
	return store_run(s, store_bind(s, SQL_PENDING_INSERT, "iinntt", (int64_t)e->start,
				       (int64_t)e->count, text_or_null(r->error),
				       text_or_null(r->at)));
}

/* 1: *ret is the first row that overlaps [start, end), 0: none. */
static int overlapping(struct store *s, enum sector_state state, sector_t start, sector_t end,
		       struct row *ret)
{
	sqlite3_stmt *row = store_bind(s, state == SECTOR_REMAPPED ? SQL_REMAP_OVERLAP
								   : SQL_PENDING_OVERLAP,
				       "ii", (int64_t)start, (int64_t)end);
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc;
	*ret = (struct row){
		.extent = {
			.start = (sector_t)sqlite3_column_int64(row, 0),
			.count = (uint64_t)sqlite3_column_int64(row, 1),
			.state = state,
			.spare = (spare_id_t)sqlite3_column_int64(row, 2),
			.slot = (slot_t)sqlite3_column_int64(row, 3),
		},
		.sequence = (uint64_t)sqlite3_column_int64(row, 4),
	};
	store_text(row, 5, ret->error, sizeof(ret->error));
	store_text(row, 6, ret->at, sizeof(ret->at));
	store_done(row);
	return 1;
}

/* Cuts [start, end) out of the rows of one table. */
static int cut(struct store *s, enum sector_state state, sector_t start, sector_t end)
{
	enum statement delete = state == SECTOR_REMAPPED ? SQL_REMAP_DELETE : SQL_PENDING_DELETE;
	struct row old;
	int rc;

	while ((rc = overlapping(s, state, start, end, &old)) > 0) {
		struct extent e = old.extent;

		rc = store_run(s, store_bind(s, delete, "i", (int64_t)e.start));
		s->map_sum ^= sum_of(&e, old.sequence);
		if (rc == 0 && e.start < start) {
			old.extent = extent_part(e, e.start, start - e.start);
			rc = insert(s, &old);
		}
		if (rc == 0 && extent_end(&e) > end) {
			old.extent = extent_part(e, end, extent_end(&e) - end);
			rc = insert(s, &old);
		}
		if (rc < 0)
			return rc;
	}
	return rc;
}

int store_set_extent(struct store *s, const struct extent *e, int error, uint64_t sequence)
{
	struct row r = {.extent = *e, .sequence = sequence};
	int rc = cut(s, SECTOR_REMAPPED, e->start, extent_end(e));

	rc = rc < 0 ? rc : cut(s, SECTOR_PENDING, e->start, extent_end(e));
	if (rc < 0 || e->state == SECTOR_GOOD)
		return rc;
	if (error)
		strncpy(r.error, errno_name(error), sizeof(r.error) - 1);
	return insert(s, &r);
}

int store_each_extent(struct store *s, int (*fn)(void *context, const struct extent *),
		      void *context)
{
	sqlite3_stmt *row = store_bind(s, SQL_MAP_SUM_READ, "");
	uint64_t sum;
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc < 0 ? rc : -EUCLEAN;
	sum = (uint64_t)sqlite3_column_int64(row, 0);
	store_done(row);
	row = store_statement(s, SQL_EXTENTS);
	while ((rc = store_step(s, row)) > 0) {
		struct extent e = {
			.start = (sector_t)sqlite3_column_int64(row, 0),
			.count = (uint64_t)sqlite3_column_int64(row, 1),
			.state = sqlite3_column_int(row, 2) == 1 ? SECTOR_REMAPPED : SECTOR_PENDING,
			.spare = (spare_id_t)sqlite3_column_int64(row, 3),
			.slot = (slot_t)sqlite3_column_int64(row, 4),
		};

		sum ^= sum_of(&e, (uint64_t)sqlite3_column_int64(row, 5));
		rc = fn(context, &e);
		if (rc != 0) {
			store_done(row);
			return rc;
		}
	}
	return rc < 0 ? rc : sum ? -EUCLEAN : 0;
}

int store_sequence_of(struct store *s, sector_t sector, uint64_t *ret)
{
	struct row row;
	int rc = overlapping(s, SECTOR_REMAPPED, sector, sector + 1, &row);

	if (rc > 0)
		*ret = row.sequence;
	return rc > 0 ? 0 : rc < 0 ? rc : -ENOENT;
}

/* ---- by slot ------------------------------------------------------------------------ */

static struct placed placed_of(sqlite3_stmt *row)
{
	return (struct placed){
		.sector = (sector_t)sqlite3_column_int64(row, 0),
		.count = (uint64_t)sqlite3_column_int64(row, 1),
		.slot = (slot_t)sqlite3_column_int64(row, 2),
		.sequence = (uint64_t)sqlite3_column_int64(row, 3),
	};
}

int store_placed_from(struct store *s, spare_id_t spare, slot_t first)
{
	return store_bind(s, SQL_PLACED, "ii", (int64_t)spare, (int64_t)first) ? 0
									       : store_errno(s);
}

int store_placed_begin(struct store *s, spare_id_t spare)
{
	return store_placed_from(s, spare, 0);
}

int store_placed_next(struct store *s, struct placed *ret)
{
	sqlite3_stmt *row = s->statements[SQL_PLACED];
	int rc = store_step(s, row);

	if (rc > 0)
		*ret = placed_of(row);
	return rc;
}

void store_placed_end(struct store *s)
{
	store_done(s->statements[SQL_PLACED]);
}

int store_each_placed(struct store *s, spare_id_t spare,
		      int (*fn)(void *context, const struct placed *), void *context)
{
	sqlite3_stmt *row = store_bind(s, SQL_PLACED_ALL, "i", (int64_t)spare);
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		struct placed placed = placed_of(row);

		rc = fn(context, &placed);
		if (rc != 0) {
			store_done(row);
			return rc;
		}
	}
	return rc;
}

/* ---- bad slots --------------------------------------------------------------------- */

/* The first run of bad slots that ends after slot; UINT64_MAX: none. */
static int bad_from(struct store *s, spare_id_t spare, slot_t slot, slot_t *ret_first,
		    slot_t *ret_end)
{
	sqlite3_stmt *row = store_bind(s, SQL_BAD_SLOT_NEXT, "ii", (int64_t)spare, (int64_t)slot);
	int rc = store_step(s, row);

	*ret_first = *ret_end = UINT64_MAX;
	if (rc <= 0)
		return rc;
	*ret_first = (slot_t)sqlite3_column_int64(row, 0);
	*ret_end = *ret_first + (slot_t)sqlite3_column_int64(row, 1);
	store_done(row);
	return 0;
}

int store_add_bad_slots(struct store *s, spare_id_t spare, slot_t first, uint64_t count, int error)
{
	slot_t end = first + count;

	while (first < end) {
		slot_t bad, bad_end, stop;
		int rc = bad_from(s, spare, first, &bad, &bad_end);

		if (rc < 0)
			return rc;
		if (bad <= first) {
			first = bad_end;
			continue;
		}
		stop = bad < end ? bad : end;
		rc = store_run(s, store_bind(s, SQL_BAD_SLOT_INSERT, "iiit", (int64_t)spare,
					     (int64_t)first, (int64_t)(stop - first),
					     error ? errno_name(error) : NULL));
		if (rc < 0)
			return rc;
		first = stop;
	}
	return 0;
}

int store_each_bad_slots(struct store *s,
			 int (*fn)(void *context, spare_id_t, slot_t first, uint64_t count),
			 void *context)
{
	sqlite3_stmt *row = store_statement(s, SQL_BAD_SLOTS);
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		rc = fn(context, (spare_id_t)sqlite3_column_int64(row, 0),
			(slot_t)sqlite3_column_int64(row, 1),
			(uint64_t)sqlite3_column_int64(row, 2));
		if (rc != 0) {
			store_done(row);
			return rc;
		}
	}
	return rc;
}
