/*
 * The rows that are the map: remap, pending and bad_slot.
 */
#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "store/row.h"

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

/* The columns from the first: start, count, spare, slot, sequence. -EUCLEAN: impossible. */
static int read_row(struct store *s, sqlite3_stmt *at, enum sector_state state, struct row *ret)
{
	struct row_reader r = row_begin(s, at, state == SECTOR_REMAPPED ? "remap" : "pending");
	bool on_spare = state == SECTOR_REMAPPED || sqlite3_column_type(at, 2) != SQLITE_NULL;

	*ret = (struct row){
		.extent = {
			.start = (sector_t)row_integer(&r, 0, 0, SECTOR_MAX - 1),
			.count = (uint64_t)row_integer(&r, 1, 1, SECTOR_MAX),
			.state = state,
			.spare = (spare_id_t)row_optional(&r, 2, on_spare, SPARE_ID_MAX),
			.slot = (slot_t)row_optional(&r, 3, 0, SLOT_MAX - 1),
		},
		.sequence = row_bits(&r, 4),
	};
	if (on_spare != (sqlite3_column_type(at, 3) != SQLITE_NULL) ||
	    (on_spare && ret->extent.spare == ON_MAIN))
		row_refuse(&r, "names half a place on a spare");
	return row_end(&r);
}

/* 1: *ret is the first row that overlaps [start, end), 0: none. */
static int overlapping(struct store *s, enum sector_state state, sector_t start, sector_t end,
		       struct row *ret)
{
	sqlite3_stmt *row = store_bind(s, state == SECTOR_REMAPPED ? SQL_REMAP_OVERLAP
								   : SQL_PENDING_OVERLAP,
				       "ii", (int64_t)start, (int64_t)end);
	int rc = store_step(s, row);

	rc = rc <= 0 ? rc : read_row(s, row, state, ret);
	if (rc < 0 || !sqlite3_stmt_busy(row))
		return rc;
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

static int read_sum(struct store *s, uint64_t *ret)
{
	sqlite3_stmt *row = store_bind(s, SQL_MAP_SUM_READ, "");
	struct row_reader r = row_begin(s, row, "volume");
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc < 0 ? rc : -EUCLEAN;
	*ret = row_bits(&r, 0);
	rc = row_end(&r);
	store_done(row);
	return rc;
}

/* In its place: on main, on a spare that there is, and after the one before it. */
static int check_place(struct store *s, sqlite3_stmt *at, const struct extent *e, sector_t after)
{
	struct row_reader r = row_begin(s, at, e->state == SECTOR_REMAPPED ? "remap" : "pending");
	const struct store_spare *spare = store_spare_of(s, e->spare);

	if (extent_end(e) > s->volume.main_sectors)
		row_refuse(&r, "lies outside main");
	if (e->start < after)
		row_refuse(&r, "overlaps another one");
	if (e->spare != ON_MAIN && (!spare || e->slot + e->count > spare->slots))
		row_refuse(&r, "lies on no spare");
	if (e->state == SECTOR_REMAPPED && spare && spare->state >= SPARE_RETIRED)
		row_refuse(&r, "lies on a spare that has left");
	return row_end(&r);
}

/* The next one of the map. 1, 0 or as store_step. */
static int next_extent(struct store *s, sqlite3_stmt *at, sector_t after, struct row *ret)
{
	int rc = store_step(s, at);

	if (rc <= 0)
		return rc;
	rc = read_row(s, at, sqlite3_column_int(at, 5) == 1 ? SECTOR_REMAPPED : SECTOR_PENDING, ret);
	rc = rc < 0 ? rc : check_place(s, at, &ret->extent, after);
	return rc < 0 ? rc : 1;
}

int store_walk_extents(struct store *s, int (*fn)(void *context, const struct extent *),
		       void *context, uint64_t *sum)
{
	struct row row = {.extent = {.start = 0}};
	sqlite3_stmt *at = store_statement(s, SQL_EXTENTS);
	int rc;

	while ((rc = next_extent(s, at, extent_end(&row.extent), &row)) > 0) {
		*sum ^= sum_of(&row.extent, row.sequence);
		rc = fn(context, &row.extent);
		if (rc != 0) {
			store_done(at);
			return rc;
		}
	}
	return rc;
}

int store_each_extent(struct store *s, int (*fn)(void *context, const struct extent *),
		      void *context)
{
	uint64_t sum;
	int rc = read_sum(s, &sum);

	rc = rc < 0 ? rc : store_walk_extents(s, fn, context, &sum);
	return rc ? rc : sum ? -EUCLEAN : 0;
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

/* 1, 0 or as store_step. */
static int next_placed(struct store *s, sqlite3_stmt *at, struct placed *ret)
{
	struct row_reader r = row_begin(s, at, "remap");
	int rc = store_step(s, at);

	if (rc <= 0)
		return rc;
	*ret = (struct placed){
		.sector = (sector_t)row_integer(&r, 0, 0, SECTOR_MAX - 1),
		.count = (uint64_t)row_integer(&r, 1, 1, SECTOR_MAX),
		.slot = (slot_t)row_integer(&r, 2, 0, SLOT_MAX - 1),
		.sequence = row_bits(&r, 3),
	};
	if (ret->sector + ret->count > SECTOR_MAX || ret->slot + ret->count > SLOT_MAX)
		row_refuse(&r, "lies on no spare");
	rc = row_end(&r);
	return rc < 0 ? rc : 1;
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
	return next_placed(s, s->statements[SQL_PLACED], ret);
}

void store_placed_end(struct store *s)
{
	store_done(s->statements[SQL_PLACED]);
}

int store_each_placed(struct store *s, spare_id_t spare,
		      int (*fn)(void *context, const struct placed *), void *context)
{
	sqlite3_stmt *row = store_bind(s, SQL_PLACED_ALL, "i", (int64_t)spare);
	struct placed placed;
	int rc;

	while ((rc = next_placed(s, row, &placed)) > 0) {
		rc = fn(context, &placed);
		if (rc != 0) {
			store_done(row);
			return rc;
		}
	}
	return rc;
}

/* ---- bad slots --------------------------------------------------------------------- */

struct bad_run {
	spare_id_t spare;
	slot_t first;
	uint64_t count;
};

/* The columns from the first: spare, first slot, how many. 1, 0 or as store_step. */
static int next_bad(struct store *s, sqlite3_stmt *at, struct bad_run *ret)
{
	struct row_reader r = row_begin(s, at, "bad_slot");
	int rc = store_step(s, at);

	if (rc <= 0)
		return rc;
	*ret = (struct bad_run){
		.spare = (spare_id_t)row_integer(&r, 0, 1, SPARE_ID_MAX),
		.first = (slot_t)row_integer(&r, 1, 0, SLOT_MAX - 1),
		.count = (uint64_t)row_integer(&r, 2, 1, SLOT_MAX),
	};
	if (ret->first + ret->count > SLOT_MAX)
		row_refuse(&r, "lies outside its spare");
	rc = row_end(&r);
	return rc < 0 ? rc : 1;
}

/* The first run of bad slots that ends after slot; UINT64_MAX: none. */
static int bad_from(struct store *s, spare_id_t spare, slot_t slot, slot_t *ret_first,
		    slot_t *ret_end)
{
	sqlite3_stmt *row = store_bind(s, SQL_BAD_SLOT_NEXT, "ii", (int64_t)spare, (int64_t)slot);
	struct bad_run run;
	int rc = next_bad(s, row, &run);

	*ret_first = *ret_end = UINT64_MAX;
	if (rc <= 0)
		return rc;
	*ret_first = run.first;
	*ret_end = run.first + run.count;
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

/* In its place: on its spare, and after the one before it. */
static int check_bad(struct store *s, sqlite3_stmt *at, const struct bad_run *before,
		     const struct bad_run *run, uint64_t slots)
{
	struct row_reader r = row_begin(s, at, "bad_slot");

	if (run->first + run->count > slots)
		row_refuse(&r, "lies outside its spare");
	if (run->spare < before->spare ||
	    (run->spare == before->spare && run->first < before->first + before->count))
		row_refuse(&r, "overlaps another one");
	return row_end(&r);
}

int store_each_bad_slots(struct store *s,
			 int (*fn)(void *context, spare_id_t, slot_t first, uint64_t count),
			 void *context)
{
	sqlite3_stmt *row = store_statement(s, SQL_BAD_SLOTS);
	struct bad_run run = {0}, before;
	int rc;

	while (before = run, (rc = next_bad(s, row, &run)) > 0) {
		const struct store_spare *spare = store_spare_of(s, run.spare);

		rc = check_bad(s, row, &before, &run, spare ? spare->slots : 0);
		rc = rc < 0 ? rc : fn(context, run.spare, run.first, run.count);
		if (rc != 0) {
			store_done(row);
			return rc;
		}
	}
	return rc;
}

/* ---- how full a spare is ------------------------------------------------------------- */

static int count_used(struct store *s, spare_id_t spare, uint64_t *ret)
{
	sqlite3_stmt *row = store_bind(s, SQL_SPARE_USED, "i", (int64_t)spare);
	struct placed placed;
	slot_t end = 0;
	int rc;

	while ((rc = next_placed(s, row, &placed)) > 0) {
		struct row_reader r = row_begin(s, row, "remap");

		if (placed.slot < end)
			row_refuse(&r, "overlaps another one");
		rc = row_end(&r);
		if (rc < 0)
			return rc;
		end = placed.slot + placed.count;
		*ret += placed.count;
	}
	return rc;
}

static int count_bad(struct store *s, spare_id_t spare, uint64_t *ret)
{
	sqlite3_stmt *row = store_bind(s, SQL_SPARE_BAD, "i", (int64_t)spare);
	struct bad_run run = {0}, before;
	int rc;

	while (before = run, (rc = next_bad(s, row, &run)) > 0) {
		rc = check_bad(s, row, &before, &run, SLOT_MAX);
		if (rc < 0)
			return rc;
		*ret += run.count;
	}
	return rc;
}

int store_spare_usage(struct store *s, spare_id_t spare, uint64_t *ret_used, uint64_t *ret_bad)
{
	int rc;

	*ret_used = *ret_bad = 0;
	rc = count_used(s, spare, ret_used);
	return rc < 0 ? rc : count_bad(s, spare, ret_bad);
}
