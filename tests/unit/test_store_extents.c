/* include/remapfs/store.h: the rows that are the map, and the promises of schema/1.sql. */
#include "store_fixture.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- extents -------------------------------------------------------------------- */

struct place {
	enum sector_state state;
	spare_id_t spare;
	slot_t slot;
};

struct reader {
	struct place places[SECTORS];
	sector_t next; /* extents come in order */
};

static int read_extent(void *context, const struct extent *e)
{
	struct reader *r = context;

	assert_true(e->start >= r->next && e->count > 0 && extent_end(e) <= SECTORS);
	r->next = extent_end(e);
	for (sector_t s = e->start; s < extent_end(e); s++) {
		struct extent one = extent_part(*e, s, 1);

		r->places[s] = (struct place){one.state, one.spare, one.slot};
	}
	return 0;
}

static void assert_extents(struct store *s, const struct place *naive)
{
	struct reader r = {0};
	struct store_totals totals;
	uint64_t remapped = 0, pending = 0;

	assert_int_equal(store_each_extent(s, read_extent, &r), 0);
	for (sector_t i = 0; i < SECTORS; i++) {
		assert_int_equal(r.places[i].state, naive[i].state);
		assert_int_equal(r.places[i].spare, naive[i].spare);
		assert_int_equal(r.places[i].slot, naive[i].slot);
		remapped += naive[i].state == SECTOR_REMAPPED;
		pending += naive[i].state == SECTOR_PENDING;
	}
	assert_int_equal(store_totals(s, &totals), 0);
	assert_int_equal(totals.remapped_sectors, remapped);
	assert_int_equal(totals.pending_sectors, pending);
}

static void naive_set(struct place *naive, const struct extent *e)
{
	for (sector_t s = e->start; s < extent_end(e); s++) {
		struct extent one = extent_part(*e, s, 1);

		naive[s] = (struct place){one.state, one.spare, one.slot};
	}
}

/* Every sector has slots of its own on both spares, so no two can collide. */
static struct extent random_extent(uint64_t *seed)
{
	struct extent e = {.start = random_below(seed, SECTORS)};

	e.count = 1 + random_below(seed, random_below(seed, 4) ? 8 : 100);
	if (e.count > SECTORS - e.start)
		e.count = SECTORS - e.start;
	e.state = (enum sector_state)random_below(seed, 3);
	if (e.state == SECTOR_REMAPPED || (e.state == SECTOR_PENDING && random_below(seed, 2))) {
		e.spare = 1 + (spare_id_t)random_below(seed, 2);
		e.slot = e.start + SECTORS * random_below(seed, 2);
	}
	return e;
}

static void random_extents_as_the_naive_model(void **state)
{
	struct store *s = open_new();
	uint64_t seed = test_seed();
	struct place naive[SECTORS] = {0};

	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		assert_int_equal(store_begin(s), 0);
		for (unsigned i = 0; i < 50; i++) {
			struct extent e = random_extent(&seed);

			assert_int_equal(store_set_extent(s, &e, EIO, i + 1), 0);
			naive_set(naive, &e);
		}
		assert_int_equal(store_commit(s), 0);
		assert_extents(s, naive);
	}
	store_close(s);
	s = open_mode(STORE_READ);
	assert_extents(s, naive);
	store_close(s);
}

/* A new extent of 10 from 100, over one old one in each way that two can lie. */
static void every_overlap(void **state)
{
	static const struct {
		sector_t start;
		uint64_t count;
	} old[] = {{90, 10}, {95, 10}, {100, 5},  {103, 4}, {105, 5}, {105, 10},
		   {110, 9}, {95, 20}, {100, 10}, {100, 20}, {95, 15}};
	struct store *s = open_new();

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(old); i++) {
		for (unsigned states = 0; states < 9; states++) {
			struct extent first = {old[i].start, old[i].count,
					       (enum sector_state)(states % 3), 0, 0};
			struct extent second = {100, 10, (enum sector_state)(states / 3), 0, 0};
			struct place naive[SECTORS] = {0};

			assert_int_equal(set_extent(s, (struct extent){.count = SECTORS}), 0);
			if (first.state == SECTOR_REMAPPED) {
				first.spare = 1;
				first.slot = first.start;
			}
			if (second.state == SECTOR_REMAPPED) {
				second.spare = 2;
				second.slot = 500;
			}
			assert_int_equal(set_extent(s, first), 0);
			naive_set(naive, &first);
			assert_int_equal(set_extent(s, second), 0);
			naive_set(naive, &second);
			assert_extents(s, naive);
		}
	}
	store_close(s);
}

static void what_is_split_keeps_its_story(void **state)
{
	struct store *s = open_new();
	struct extent e = {10, 10, SECTOR_REMAPPED, 1, 50}, hole = {.start = 14, .count = 2};

	(void)state;
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_set_extent(s, &e, ENODATA, 1234), 0);
	assert_int_equal(store_commit(s), 0);
	/* So that a new time would differ. */
	assert_int_equal(usleep(5000), 0);
	assert_int_equal(set_extent(s, hole), 0);
	store_close(s);
	assert_string_equal(sql_text("SELECT group_concat(main_sector || ':' || sectors || ':' || "
				     "slot || ':' || sequence || ':' || error, ' ') FROM remap"),
			    "10:4:50:1234:ENODATA 16:4:56:1234:ENODATA");
	assert_string_equal(sql_text("SELECT count(DISTINCT at) FROM remap"), "1");
}

static void a_rollback_leaves_nothing(void **state)
{
	struct store *s = open_new();
	struct extent e = {10, 10, SECTOR_REMAPPED, 1, 50};
	struct place naive[SECTORS] = {0};

	(void)state;
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_set_extent(s, &e, EIO, 1), 0);
	store_rollback(s);
	assert_extents(s, naive);
	store_rollback(s);
	/* Closing rolls back as well. */
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_set_extent(s, &e, EIO, 1), 0);
	store_close(s);
	s = open_mode(STORE_WRITE);
	assert_extents(s, naive);
	store_close(s);
}

static int stop_at_second(void *context, const struct extent *e)
{
	(void)e;
	return ++*(unsigned *)context == 2 ? 42 : 0;
}

static void reading_stops_when_told(void **state)
{
	struct store *s = open_new();
	unsigned n = 0;

	(void)state;
	for (sector_t i = 0; i < 3; i++)
		assert_int_equal(set_extent(s, (struct extent){9 * i, 1, SECTOR_PENDING, 0, 0}), 0);
	assert_int_equal(store_each_extent(s, stop_at_second, &n), 42);
	assert_int_equal(n, 2);
	/* The statement is over: writing is possible. */
	assert_int_equal(set_extent(s, (struct extent){.count = 100}), 0);
	store_close(s);
}

/* store_spares() does not have it, but rows that lie on it are in order. */
static void rows_on_a_spare_that_joined(void **state)
{
	const struct extent on_new = {.start = 5, .count = 1, .state = SECTOR_REMAPPED, .spare = 3, .slot = 9};
	struct store *s = open_new(), *reader = open_mode(STORE_READ);
	char path[] = "/third.img";
	struct place naive[SECTORS] = {0};
	size_t count;
	const struct store_spare joined = {
		.id = 3, .path = path, .length = 1 << 20, .slots = 10, .state = SPARE_ACTIVE,
		.uuid = "c0ffee00-0000-4000-8000-000000000003",
	};

	(void)state;
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_add_spare(s, &joined), 0);
	assert_int_equal(store_commit(s), 0);
	store_spares(s, &count);
	assert_int_equal(count, 2);
	assert_int_equal(set_extent(s, on_new), 0);
	naive_set(naive, &on_new);
	assert_extents(s, naive);
	assert_extents(reader, naive);
	store_close(reader);
	store_close(s);
}

/* A row that breaks a constraint fails, and the transaction with it. */
static void constraints_reach_the_caller(void **state)
{
	static const struct extent wrong[] = {
		{SECTORS - 1, 2, SECTOR_REMAPPED, 1, 0},	/* outside main */
		{SECTORS, 1, SECTOR_PENDING, ON_MAIN, 0},
		{10, 2, SECTOR_REMAPPED, 1, SLOTS - 1},		/* outside the spare */
		{10, 2, SECTOR_PENDING, 1, SLOTS - 1},
		{10, 1, SECTOR_REMAPPED, 3, 0},			/* no such spare */
		{10, 1, SECTOR_REMAPPED, 1, 101},		/* a slot in use */
		{10, 5, SECTOR_REMAPPED, 1, 98},
		{10, 1, SECTOR_REMAPPED, 1, 200},		/* a bad slot */
		{10, 5, SECTOR_REMAPPED, 1, 198},
	};
	struct store *s = open_new();
	struct place naive[SECTORS] = {0};
	struct extent used = {50, 3, SECTOR_REMAPPED, 1, 100};

	(void)state;
	assert_int_equal(set_extent(s, used), 0);
	naive_set(naive, &used);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_add_bad_slots(s, 1, 200, 2, EIO), 0);
	assert_int_equal(store_commit(s), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(set_extent(s, wrong[i]), -EEXIST);
		assert_extents(s, naive);
	}
	store_close(s);
}

/* ---- bad slots ------------------------------------------------------------------ */

static int mark_slots(void *context, spare_id_t spare, slot_t first, uint64_t count)
{
	bool(*bad)[SLOTS] = context;

	for (slot_t slot = first; slot < first + count; slot++) {
		assert_false(bad[spare][slot]);
		bad[spare][slot] = true;
	}
	return 0;
}

static void bad_slots_may_be_told_twice(void **state)
{
	struct store *s = open_new();
	uint64_t seed = test_seed(), used, bad_count, expected[3] = {0};
	static bool naive[3][SLOTS], bad[3][SLOTS];
	struct store_totals totals;

	(void)state;
	assert_int_equal(store_begin(s), 0);
	for (unsigned i = 0; i < 200; i++) {
		spare_id_t spare = 1 + (spare_id_t)random_below(&seed, 2);
		slot_t first = random_below(&seed, SLOTS);
		uint64_t count = 1 + random_below(&seed, 12);

		count = count < SLOTS - first ? count : SLOTS - first;
		assert_int_equal(store_add_bad_slots(s, spare, first, count, i % 2 ? EIO : 0), 0);
		memset(naive[spare] + first, true, count);
	}
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_each_bad_slots(s, mark_slots, bad), 0);
	assert_memory_equal(bad, naive, sizeof(bad));
	for (spare_id_t spare = 1; spare <= 2; spare++) {
		for (slot_t slot = 0; slot < SLOTS; slot++)
			expected[spare] += naive[spare][slot];
		assert_int_equal(store_spare_usage(s, spare, &used, &bad_count), 0);
		assert_int_equal(used, 0);
		assert_int_equal(bad_count, expected[spare]);
	}
	assert_int_equal(store_totals(s, &totals), 0);
	assert_int_equal(totals.bad_slots, expected[1] + expected[2]);
	store_close(s);
}

static void usage_counts_slots(void **state)
{
	struct store *s = open_new();
	uint64_t used, bad;

	(void)state;
	assert_int_equal(set_extent(s, (struct extent){10, 5, SECTOR_REMAPPED, 2, 0}), 0);
	assert_int_equal(set_extent(s, (struct extent){20, 2, SECTOR_REMAPPED, 1, 0}), 0);
	assert_int_equal(store_spare_usage(s, 2, &used, &bad), 0);
	assert_int_equal(used, 5);
	assert_int_equal(bad, 0);
	assert_int_equal(store_spare_usage(s, 1, &used, &bad), 0);
	assert_int_equal(used, 2);
	store_close(s);
	assert_string_equal(sql_text("SELECT group_concat(used || '/' || free) FROM spare_usage"),
			    "2/998,5/995");
}

/* ---- what no statement can do --------------------------------------------------- */

static void assert_sql_fails(const char *text)
{
	int rc = sql(text) & 0xff;

	if (rc != SQLITE_CONSTRAINT)
		fail_msg("answered %d: %s", rc, text);
}

#define REMAP(start, count, spare, slot)                                                      \
	"INSERT INTO remap VALUES (" #start ", " #count ", " #spare ", " #slot                \
	", 1, 'EIO', '2026-01-01')"
#define PENDING(start, count) \
	"INSERT INTO pending VALUES (" #start ", " #count ", NULL, NULL, 'EIO', '2026-01-01')"
#define BAD_SLOT(spare, slot, count) \
	"INSERT INTO bad_slot VALUES (" #spare ", " #slot ", " #count ", 'EIO', '2026-01-01')"

static void bad_rows_are_impossible(void **state)
{
	static const char *const wrong[] = {
		REMAP(102, 1, 1, 0),	   REMAP(99, 2, 1, 0),	  REMAP(100, 1, 1, 0),
		REMAP(90, 100, 1, 0),	   REMAP(0, 1, 1, 502),	  REMAP(0, 4, 1, 497),
		REMAP(0, 20, 1, 495),	   REMAP(0, 1, 1, 701),	  REMAP(0, 9, 1, 695),
		REMAP(200, 1, 1, 0),	   REMAP(195, 9, 1, 0),	  REMAP(399, 2, 1, 0),
		REMAP(0, 2, 1, 999),	   REMAP(0, 1, 9, 0),	  REMAP(0, 0, 1, 0),
		REMAP(-1, 1, 1, 0),	   REMAP(0, 1, 1, -1),	  REMAP(0, 1, NULL, 0),
		PENDING(104, 1),	   PENDING(95, 6),	  PENDING(202, 5),
		PENDING(201, 1),	   PENDING(399, 2),	  PENDING(0, 0),
		PENDING(-1, 1),		   BAD_SLOT(1, 500, 1),	  BAD_SLOT(1, 490, 20),
		BAD_SLOT(1, 700, 1),	   BAD_SLOT(1, 699, 3),	  BAD_SLOT(1, 999, 2),
		BAD_SLOT(9, 0, 1),	   BAD_SLOT(1, 0, 0),
		"INSERT INTO pending VALUES (0, 1, 1, NULL, NULL, 'x')",
		"INSERT INTO pending VALUES (0, 2, 1, 999, NULL, 'x')",
		"UPDATE remap SET slot = 3",
		"UPDATE remap SET main_sector = 3",
		"UPDATE pending SET sector = 3",
		"UPDATE bad_slot SET slot = 3",
		"INSERT INTO volume VALUES (2, (SELECT uuid FROM volume), 'x', '/x', 1, 512, 0, 0)",
		"UPDATE volume SET main_sectors = 5",
		"UPDATE volume SET sector_size = 4096",
		"UPDATE volume SET uuid = '6c1e3a1e-0d6f-4a53-9d2c-2f6f0a8b7c12'",
		"DELETE FROM volume",
		"UPDATE spare SET slots = 5",
		"DELETE FROM spare WHERE id = 1",
		"INSERT INTO fault (sector, sectors, \"on\", life, at) VALUES (0, 1, 'both', "
		"'permanent', 'x')",
		"INSERT INTO fault (sector, sectors, \"on\", error, life, at) VALUES (0, 1, 'both', "
		"'EIO', 'until rewritten', 'x')",
		"INSERT INTO fault (sector, sectors, \"on\", error, life, at) VALUES (0, 1, 'read', "
		"'EIO', 'times', 'x')",
		"INSERT INTO fault (sector, sectors, \"on\", error, life, at) VALUES (0, 1, 'never', "
		"'EIO', 'permanent', 'x')",
	};

	(void)state;
	store_close(open_new());
	assert_int_equal(sql(REMAP(100, 5, 1, 500)), SQLITE_OK);
	assert_int_equal(sql(PENDING(200, 3)), SQLITE_OK);
	assert_int_equal(sql(BAD_SLOT(1, 700, 2)), SQLITE_OK);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_sql_fails(wrong[i]);
	/* Right beside them there is room. */
	assert_int_equal(sql(REMAP(105, 95, 1, 505)), SQLITE_OK);
	assert_int_equal(sql(REMAP(98, 2, 1, 498)), SQLITE_OK);
	assert_int_equal(sql(PENDING(203, 197)), SQLITE_OK);
	assert_int_equal(sql(REMAP(0, 1, 2, 502)), SQLITE_OK);
	assert_int_equal(sql("DELETE FROM spare WHERE id = 2"), SQLITE_CONSTRAINT);
}

static void history_only_grows(void **state)
{
	static const char *const wrong[] = {
		"UPDATE history SET detail = 'forged'",
		"UPDATE history SET id = id + 1",
		"DELETE FROM history",
		"DELETE FROM history WHERE id = 1",
		"INSERT OR REPLACE INTO history (id, at, event) VALUES (1, "
		"'2999-01-01T00:00:00.000Z', 'forged')",
		"REPLACE INTO history (id, at, event) VALUES (1, '2999-01-01T00:00:00.000Z', 'x')",
		"INSERT INTO history (id, at, event) VALUES (1, '2999-01-01T00:00:00.000Z', 'x') "
		"ON CONFLICT DO UPDATE SET event = 'forged'",
		"INSERT INTO history (id, at, event) VALUES (99, '2999-01-01T00:00:00.000Z', 'x')",
		"INSERT INTO history (id, at, event) VALUES (-1, '2999-01-01T00:00:00.000Z', 'x')",
		"INSERT INTO history (id, at, event) VALUES (0, '2999-01-01T00:00:00.000Z', 'x')",
		"INSERT INTO history (at, event) VALUES ('2001-01-01T00:00:00.000Z', 'backdated')",
		"INSERT INTO history (at, event) VALUES ('2999-01-01', 'not a time')",
		"INSERT INTO history (at, event) VALUES ('zzz', 'not a time')",
		"INSERT INTO history (at, event) VALUES (NULL, 'no time')",
	};

	(void)state;
	store_close(open_new());
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_sql_fails(wrong[i]);
	assert_string_equal(sql_text("SELECT group_concat(id || event) FROM history"), "1created");
}

#define NOW_IS(modifier) "strftime('%Y-%m-%dT%H:%M:%fZ', 'now'" modifier ")"
#define LAST_AT "(SELECT at FROM history ORDER BY id DESC LIMIT 1)"

static void add_events(unsigned count)
{
	struct event e = {.kind = EVENT_OPENED};
	struct store *s = open_mode(STORE_WRITE);

	assert_int_equal(store_begin(s), 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(store_add_event(s, &e), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
}

/* A clock that was adjusted. */
static void events_stay_in_order(void **state)
{
	(void)state;
	store_close(open_new());
	assert_int_equal(sql("INSERT INTO history (at, event) VALUES (" NOW_IS(", '+40 seconds'") ", "
			     "'from the future')"), SQLITE_OK);
	add_events(3);
	assert_string_equal(sql_text("SELECT group_concat(event) FROM history"),
			    "created,from the future,opened,opened,opened");
	assert_string_equal(sql_text("SELECT count(DISTINCT at) FROM history"), "2");
}

/* One that was years ahead while something was recorded: no row after that is like it. */
static void a_clock_that_went_back_is_told_once(void **state)
{
	(void)state;
	store_close(open_new());
	assert_int_equal(sql("INSERT INTO history (at, event) VALUES ('2999-01-01T00:00:00.000Z', "
			     "'from the future')"), SQLITE_OK);
	add_events(2);
	add_events(1);
	assert_string_equal(sql_text("SELECT group_concat(event) FROM history"),
			    "created,from the future,clock_back,opened,opened,opened");
	assert_string_equal(sql_text("SELECT " LAST_AT " BETWEEN " NOW_IS(", '-1 hour'") " AND "
				     NOW_IS("")), "1");
	assert_string_equal(sql_text("SELECT count(*) FROM history WHERE event = 'clock_back' AND "
				     "detail LIKE '%2999-01-01T00:00:00.000Z%'"), "1");
	/* Others still cannot put a row before those that are there. */
	assert_sql_fails("INSERT INTO history (at, event) VALUES ('2001-01-01T00:00:00.000Z', 'x')");
	assert_string_equal(sql_text("SELECT count(*) FROM (SELECT at, event, lag(at) OVER (ORDER BY id) "
				     "AS before FROM history) WHERE at < before AND event <> 'clock_back'"),
			    "0");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(random_extents_as_the_naive_model),
		TEST(every_overlap),
		TEST(what_is_split_keeps_its_story),
		TEST(a_rollback_leaves_nothing),
		TEST(reading_stops_when_told),
		TEST(rows_on_a_spare_that_joined),
		TEST(constraints_reach_the_caller),
		TEST(bad_slots_may_be_told_twice),
		TEST(usage_counts_slots),
		TEST(bad_rows_are_impossible),
		TEST(history_only_grows),
		TEST(events_stay_in_order),
		TEST(a_clock_that_went_back_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
