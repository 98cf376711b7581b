/* include/remapfs/store.h: faults, events and the tables for people. */
#include "store_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults --------------------------------------------------------------------- */

static void add_fault(struct store *s, struct fault f)
{
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_add_fault(s, &f), 0);
	assert_int_equal(store_commit(s), 0);
}

static void assert_fault(const struct fault *got, struct fault expected)
{
	assert_true(got->id > 0);
	assert_int_equal(got->spare, expected.spare);
	assert_int_equal(got->start, expected.start);
	assert_int_equal(got->count, expected.count);
	assert_int_equal(got->on, expected.on);
	assert_int_equal(got->error, expected.error);
	assert_int_equal(got->life, expected.life);
	assert_int_equal(got->times, expected.times);
	assert_int_equal(got->delay_ms, expected.delay_ms);
}

static void faults_are_kept(void **state)
{
	const struct fault faults[] = {
		{0, ON_MAIN, 5, 10, FAULT_ON_BOTH, EIO, FAULT_PERMANENT, 0, 0},
		{0, 2, 7, 1, FAULT_ON_READ, ENODATA, FAULT_TIMES, 3, 20},
		{0, ON_MAIN, 9, 1, FAULT_ON_READ, EILSEQ, FAULT_UNTIL_REWRITTEN, 0, 0},
		{0, 1, 8, 6, FAULT_ON_WRITE, 0, FAULT_PERMANENT, 0, 700},
	};
	struct store *s = open_new();
	struct store_totals totals;
	struct fault *loaded;
	size_t count;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		add_fault(s, faults[i]);
	assert_int_equal(store_load_faults(s, &loaded, &count), 0);
	assert_int_equal(count, ARRAY_SIZE(faults));
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		assert_fault(&loaded[i], faults[i]);
	assert_int_equal(store_totals(s, &totals), 0);
	assert_int_equal(totals.faults, 18);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_clear_fault(s, loaded[0].id), 0);
	assert_int_equal(store_commit(s), 0);
	free(loaded);
	assert_int_equal(store_load_faults(s, &loaded, &count), 0);
	assert_int_equal(count, 3);
	free(loaded);
	store_close(s);
}

/* What does not last ends sector by sector, however the fault was put in. */
static void faults_that_end_do_so_for_each_sector(void **state)
{
	struct fault *loaded, f = {0, ON_MAIN, 20, 4, FAULT_ON_READ, EIO, FAULT_UNTIL_REWRITTEN, 0,
				   0};
	struct store *s = open_new();
	bool seen[4] = {false};
	size_t count;

	(void)state;
	add_fault(s, f);
	assert_int_equal(store_load_faults(s, &loaded, &count), 0);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(loaded[i].count, 1);
		seen[loaded[i].start - 20] = true;
	}
	for (size_t i = 0; i < 4; i++)
		assert_true(seen[i]);
	free(loaded);
	store_close(s);
}

static uint64_t clear_in(struct store *s, spare_id_t spare, sector_t start, uint64_t count)
{
	uint64_t cleared;

	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_clear_faults_in(s, spare, start, count, &cleared), 0);
	assert_int_equal(store_commit(s), 0);
	return cleared;
}

static void faults_are_cleared_by_place(void **state)
{
	struct store *s = open_new();
	uint64_t cleared;

	(void)state;
	for (spare_id_t spare = 0; spare <= 2; spare++)
		for (sector_t start = 0; start < 100; start += 10)
			add_fault(s, (struct fault){0, spare, start, 5, FAULT_ON_BOTH, EIO,
						    FAULT_PERMANENT, 0, 0});
	assert_int_equal(clear_in(s, ON_MAIN, 5, 5), 0);
	assert_int_equal(clear_in(s, ON_MAIN, 14, 7), 2);
	assert_int_equal(clear_in(s, ON_MAIN, 0, 400), 8);
	assert_int_equal(clear_in(s, 2, 4, 1), 1);
	assert_int_equal(clear_in(s, 2, 5, 1), 0);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_clear_all_faults(s, &cleared), 0);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(cleared, 19);
	store_close(s);
}

/* ---- events and tables ---------------------------------------------------------- */

static void add_event(struct store *s, struct event e)
{
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_add_event(s, &e), 0);
	assert_int_equal(store_commit(s), 0);
}

static void an_open_without_an_end_is_unclean(void **state)
{
	struct store *s = open_new();
	bool unclean = true;

	(void)state;
	assert_int_equal(store_was_unclean(s, &unclean), 0);
	assert_false(unclean);
	add_event(s, (struct event){.kind = EVENT_OPENED});
	add_event(s, (struct event){.kind = EVENT_REMAPPED, .sector = 1, .sectors = 1});
	assert_int_equal(store_was_unclean(s, &unclean), 0);
	assert_true(unclean);
	add_event(s, (struct event){.kind = EVENT_CLOSED});
	assert_int_equal(store_was_unclean(s, &unclean), 0);
	assert_false(unclean);
	store_close(s);
}

static void what_an_event_does_not_say_is_null(void **state)
{
	struct store *s = open_new();

	(void)state;
	add_event(s, (struct event){.kind = EVENT_OPENED});
	assert_string_equal(sql_text("SELECT count(*) FROM history WHERE event = 'opened' AND "
				     "main_sector IS NULL AND sectors IS NULL AND spare_id IS NULL "
				     "AND slot IS NULL AND error IS NULL AND detail IS NULL"), "1");
	add_event(s, (struct event){.kind = EVENT_REMAPPED, .sectors = 2, .spare = 1,
				    .error = EILSEQ, .detail = "it's \"quoted\""});
	assert_string_equal(sql_text("SELECT main_sector || ',' || sectors || ',' || spare_id || "
				     "',' || slot || ',' || error || ',' || detail FROM history "
				     "WHERE event = 'remapped'"),
			    "0,2,1,0,EILSEQ,it's \"quoted\"");
	store_close(s);
}

static void every_kind_of_event_has_a_name(void **state)
{
	struct store *s = open_new();

	(void)state;
	for (int kind = EVENT_CREATED; kind <= EVENT_SPARE_LOST; kind++)
		add_event(s, (struct event){.kind = (enum event_kind)kind});
	store_close(s);
	assert_string_equal(sql_text("SELECT count(DISTINCT event) FROM history"), "27");
	assert_string_equal(sql_text("SELECT count(*) FROM history WHERE at NOT LIKE "
				     "'____-__-__T__:__:__.___Z'"), "0");
}

struct rows {
	unsigned count;
	char first[64], last[64]; /* of one column */
	int column;
};

static int note_row(void *context, const char *const *values)
{
	struct rows *r = context;
	const char *text = values[r->column] ? values[r->column] : "NULL";

	if (r->count++ == 0)
		snprintf(r->first, sizeof(r->first), "%s", text);
	snprintf(r->last, sizeof(r->last), "%s", text);
	return 0;
}

static int column_of(enum store_table table, const char *name)
{
	const struct store_column *columns = store_columns(table);

	for (int i = 0; columns[i].name; i++)
		if (strcmp(columns[i].name, name) == 0)
			return i;
	fail_msg("no column %s", name);
	return -1;
}

static struct rows query(struct store *s, enum store_table table, const char *column,
			 const char *since, uint64_t limit)
{
	struct store_filter filter = {since, limit};
	struct rows rows = {.column = column_of(table, column)};
	struct error err = {""};

	if (store_query(s, table, &filter, note_row, &rows, &err) != 0)
		fail_msg("%s", err.text);
	return rows;
}

static void tables_are_in_order_and_limited(void **state)
{
	struct store *s = open_new();
	struct rows rows;

	(void)state;
	for (sector_t i = 0; i < 9; i++) {
		add_event(s, (struct event){.kind = EVENT_PENDING, .sector = i, .sectors = 1});
		assert_int_equal(set_extent(s, (struct extent){90 - 10 * i, 1, SECTOR_PENDING, 0,
							       0}), 0);
		assert_int_equal(set_extent(s, (struct extent){95 - 10 * i, 1, SECTOR_REMAPPED, 1,
							       i}), 0);
	}
	rows = query(s, STORE_HISTORY, "main_sector", NULL, 3);
	assert_int_equal(rows.count, 3);
	assert_string_equal(rows.first, "6");
	assert_string_equal(rows.last, "8");
	rows = query(s, STORE_HISTORY, "event", NULL, 0);
	assert_int_equal(rows.count, 10);
	assert_string_equal(rows.first, "created");
	rows = query(s, STORE_PENDING, "sector", NULL, 2);
	assert_string_equal(rows.first, "10");
	assert_string_equal(rows.last, "20");
	rows = query(s, STORE_PENDING, "spare_id", NULL, 0);
	assert_int_equal(rows.count, 9);
	assert_string_equal(rows.first, "NULL");
	rows = query(s, STORE_REMAPS, "main_sector", NULL, 0);
	assert_string_equal(rows.first, "15");
	assert_string_equal(rows.last, "95");
	assert_int_equal(query(s, STORE_FAULTS, "id", NULL, 0).count, 0);
	store_close(s);
}

static void history_since(void **state)
{
	struct store *s = open_new();

	(void)state;
	assert_int_equal(sql("INSERT INTO history (at, event) VALUES ('2998-01-01T00:00:00.000Z', "
			     "'early'), ('2999-06-01T12:00:00.000Z', 'late')"), SQLITE_OK);
	assert_int_equal(query(s, STORE_HISTORY, "event", "2000-01-01", 0).count, 3);
	assert_int_equal(query(s, STORE_HISTORY, "event", "2998-01-01", 0).count, 2);
	assert_int_equal(query(s, STORE_HISTORY, "event", "2998-01-01 00:00:01", 0).count, 1);
	assert_int_equal(query(s, STORE_HISTORY, "event", "2999-06-01T12:00:00Z", 0).count, 1);
	assert_int_equal(query(s, STORE_HISTORY, "event", "2999-06-02", 0).count, 0);
	assert_string_equal(query(s, STORE_HISTORY, "event", "2998-01-01", 1).first, "late");
	store_close(s);
}

static void a_time_that_is_none(void **state)
{
	static const char *const wrong[] = {"yesterday", "", "2026-13-01", "'; DROP TABLE history"};
	struct store *s = open_new();
	struct rows rows = {0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct store_filter filter = {wrong[i], 0};
		struct error err = {""};

		assert_int_equal(store_query(s, STORE_HISTORY, &filter, note_row, &rows, &err),
				 -EINVAL);
		assert_true(err.text[0] != 0);
	}
	assert_int_equal(rows.count, 0);
	store_close(s);
}

static int stop_now(void *context, const char *const *values)
{
	(void)context, (void)values;
	return 9;
}

static void a_query_stops_when_told(void **state)
{
	struct store_filter all = {0};
	struct store *s = open_new();

	(void)state;
	assert_int_equal(store_query(s, STORE_HISTORY, &all, stop_now, NULL, NULL), 9);
	store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(faults_are_kept),
		TEST(faults_that_end_do_so_for_each_sector),
		TEST(faults_are_cleared_by_place),
		TEST(an_open_without_an_end_is_unclean),
		TEST(what_an_event_does_not_say_is_null),
		TEST(every_kind_of_event_has_a_name),
		TEST(tables_are_in_order_and_limited),
		TEST(history_since),
		TEST(a_time_that_is_none),
		TEST(a_query_stops_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
