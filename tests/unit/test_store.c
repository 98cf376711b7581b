/* include/remapfs/store.h: making, opening and refusing; damage; other connections. */
#include "store_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "store/schema.h"

/* ---- life ----------------------------------------------------------------------- */

static void what_is_created_is_read_back(void **state)
{
	struct store *s = open_new();
	const struct store_volume *v = store_volume(s);
	const struct store_spare *spares;
	size_t count;

	(void)state;
	assert_string_equal(v->uuid, "6c1e3a1e-0d6f-4a53-9d2c-2f6f0a8b7c11");
	assert_string_equal(v->main_path, MAIN_PATH);
	assert_int_equal(v->main_sectors, SECTORS);
	assert_int_equal(v->sector_size, 512);
	assert_int_equal(v->opens, 0);
	spares = store_spares(s, &count);
	assert_int_equal(count, 2);
	assert_int_equal(spares[1].id, 2);
	assert_string_equal(spares[1].path, "/spares/two");
	assert_int_equal(spares[1].offset, 4096);
	assert_int_equal(spares[1].length, 9 * MiB);
	assert_int_equal(spares[1].slots, SLOTS);
	store_close(s);
	store_close(NULL);
	assert_string_equal(sql_text("PRAGMA user_version"), "4");
	assert_string_equal(sql_text("PRAGMA application_id"), "1380795987");
	assert_string_equal(sql_text("SELECT event FROM history"), "created");
}

static void commits_are_synced(void **state)
{
	struct store *s = open_new();

	(void)state;
	store_close(s);
	assert_string_equal(sql_text("PRAGMA journal_mode"), "wal");
}

static void creating_replaces_nothing(void **state)
{
	struct error err = {""};

	(void)state;
	make_file(at("vol"), 5);
	assert_int_equal(store_fixture_create(at("vol"), &err), -EEXIST);
	assert_non_null(strstr(err.text, at("vol")));
	assert_int_equal(unlink(at("vol")), 0);
	assert_true(scratch_is_empty());
	assert_int_equal(store_fixture_create(at("missing/vol"), &err), -ENOENT);
	assert_true(err.text[0] != 0);
	assert_false(path_exists(at("missing")));
}

static void opens_are_counted(void **state)
{
	struct store *s = open_new();

	(void)state;
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_count_open(s), 0);
	assert_int_equal(store_volume(s)->opens, 1);
	assert_int_equal(store_commit(s), 0);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_count_open(s), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	s = open_mode(STORE_WRITE);
	assert_int_equal(store_volume(s)->opens, 2);
	store_close(s);
}

static void assert_refused(const char *path, enum store_mode mode, int code)
{
	struct store *untouched = (struct store *)&path, *s = untouched;
	struct error err = {""};
	int rc = store_open(path, mode, &s, &err);

	assert_ptr_equal(s, untouched);
	assert_int_equal(rc, -code);
	assert_non_null(strstr(err.text, path));
	assert_null(strchr(err.text, '\n'));
}

/* 77 at the fourth. */
static int count_path(void *context, const char *path)
{
	assert_true(path[0] == '/');
	return strlen(strcat(context, "x")) == 4 ? 77 : 0;
}

static void refused_in_both_modes(int code)
{
	assert_refused(at("vol"), STORE_READ, code);
	assert_refused(at("vol"), STORE_WRITE, code);
}

static void missing_is_refused(void **state)
{
	(void)state;
	refused_in_both_modes(ENOENT);
	assert_false(path_exists(at("vol")));
}

static void other_files_are_refused(void **state)
{
	uint8_t junk[8192];
	uint64_t seed = 1;

	(void)state;
	mkdir(at("dir"), 0700);
	assert_refused(at("dir"), STORE_READ, EUCLEAN);
	assert_refused(at("dir"), STORE_WRITE, EUCLEAN);
	make_file(at("vol"), 0);
	refused_in_both_modes(EUCLEAN);
	make_file(at("vol"), sizeof(junk));
	refused_in_both_modes(EUCLEAN);
	random_fill(&seed, junk, sizeof(junk));
	put_bytes(at("vol"), 0, junk, sizeof(junk));
	refused_in_both_modes(EUCLEAN);
	/* A refusal changes nothing. */
	for (unsigned i = 0; i < 2; i++) {
		uint8_t now[sizeof(junk)];

		get_bytes(at("vol"), 0, now, sizeof(now));
		assert_memory_equal(now, junk, sizeof(junk));
	}
}

static void other_databases_are_refused(void **state)
{
	(void)state;
	assert_int_equal(sql("CREATE TABLE volume (id)"), SQLITE_OK);
	refused_in_both_modes(EUCLEAN);
	assert_int_equal(sql("PRAGMA application_id = 77"), SQLITE_OK);
	refused_in_both_modes(EUCLEAN);
}

static void newer_versions_are_refused(void **state)
{
	(void)state;
	store_close(open_new());
	assert_int_equal(sql("PRAGMA user_version = 99"), SQLITE_OK);
	refused_in_both_modes(EUCLEAN);
	assert_string_equal(sql_text("PRAGMA user_version"), "99");
	assert_int_equal(sql("PRAGMA user_version = 0"), SQLITE_OK);
	refused_in_both_modes(EUCLEAN);
}

/* Who only reads does not bring it up to date; its paths can be had all the same. */
static void older_versions(void **state)
{
	char many[8] = "";
	struct error err = {""};
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(at("vol"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, store_schema[0], NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA user_version = 1", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_refused(at("vol"), STORE_READ, EUCLEAN);
	assert_string_equal(sql_text("PRAGMA user_version"), "1");
	assert_int_equal(store_each_path(at("vol"), count_path, many, &err), 0);
	assert_string_equal(many, "");
}

static void its_paths(void **state)
{
	char some[8] = "";
	struct error err = {""};

	(void)state;
	assert_int_equal(store_each_path(at("vol"), count_path, some, &err), -ENOENT);
	assert_true(err.text[0]);
	store_close(open_new());
	assert_int_equal(store_each_path(at("vol"), count_path, some, &err), 0);
	assert_string_equal(some, "xxx");
	/* Until one is enough. */
	assert_int_equal(store_each_path(at("vol"), count_path, some, &err), 77);
	assert_string_equal(some, "xxxx");
	make_file(at("other"), 5000);
	assert_int_equal(store_each_path(at("other"), count_path, some, &err), -EUCLEAN);
}

static void a_log_that_was_left_is_in_the_way(void **state)
{
	struct error err = {""};

	(void)state;
	make_file(at("vol-wal"), 100);
	assert_int_equal(store_fixture_create(at("vol"), &err), -EEXIST);
	assert_non_null(strstr(err.text, "vol-wal"));
	assert_false(path_exists(at("vol")));
	assert_true(path_exists(at("vol-wal")));
}

static void a_volume_without_rows_is_refused(void **state)
{
	(void)state;
	store_close(open_new());
	assert_int_equal(sql("DROP TRIGGER volume_no_delete; DELETE FROM volume"), SQLITE_OK);
	refused_in_both_modes(EUCLEAN);
}

static void a_damaged_header_is_refused(void **state)
{
	(void)state;
	store_close(open_new());
	put_bytes(at("vol"), 3, "\377\377\377", 3);
	refused_in_both_modes(EUCLEAN);
}

static int open_read_only(void *path)
{
	struct error err = {""};
	struct store *s;
	int rc;

	if (setgid(65534) < 0 || setuid(65534) < 0)
		return 77;
	rc = store_open(path, STORE_WRITE, &s, &err);
	if (rc == 0)
		store_close(s);
	return rc == 0 ? 0 : err.text[0] ? -rc : 78;
}

static void a_file_that_may_not_be_written(void **state)
{
	char path[4096];

	(void)state;
	if (getuid() != 0)
		skip();
	store_close(open_new());
	snprintf(path, sizeof(path), "%s", at("vol"));
	assert_int_equal(chmod(at("."), 0755), 0);
	assert_int_equal(chmod(path, 0444), 0);
	assert_int_equal(in_child(open_read_only, path), EROFS);
}

static void the_read_mode_changes_nothing(void **state)
{
	struct store *s;

	(void)state;
	store_close(open_new());
	s = open_mode(STORE_READ);
	assert_true(store_begin(s) < 0 || store_count_open(s) < 0);
	store_close(s);
	assert_string_equal(sql_text("SELECT opens FROM volume"), "0");
}

#define EXTENTS 100

/* ---- damage: an error or an answer, never a crash ------------------------------- */

static int count_extent(void *context, const struct extent *e)
{
	(void)e;
	++*(unsigned *)context;
	return 0;
}

static int ignore_slots(void *context, spare_id_t spare, slot_t first, uint64_t count)
{
	(void)context, (void)spare, (void)first, (void)count;
	return 0;
}

static int ignore_row(void *context, const char *const *values)
{
	(void)context, (void)values;
	return 0;
}

/* Reads all there is: the number of extents, or the first error. */
static int read_everything(void)
{
	const struct store_filter all = {0};
	struct store_totals totals;
	struct fault *faults = NULL;
	struct error err = {""};
	unsigned extents = 0;
	struct store *s;
	size_t count;
	bool unclean;
	int rc = store_open(at("vol"), STORE_WRITE, &s, &err);

	if (rc < 0)
		return rc;
	rc = store_each_extent(s, count_extent, &extents);
	rc = rc ? rc : store_each_bad_slots(s, ignore_slots, NULL);
	rc = rc ? rc : store_load_faults(s, &faults, &count);
	rc = rc ? rc : store_totals(s, &totals);
	rc = rc ? rc : store_was_unclean(s, &unclean);
	rc = rc ? rc : store_query(s, STORE_HISTORY, &all, ignore_row, NULL, &err);
	rc = rc ? rc : store_query(s, STORE_REMAPS, &all, ignore_row, NULL, &err);
	free(faults);
	store_close(s);
	return rc ? rc : (int)extents;
}

static uint64_t fill_and_copy(uint8_t **ret)
{
	struct store *s = open_new();
	struct stat st;

	for (uint64_t i = 0; i < EXTENTS; i++)
		assert_int_equal(set_extent(s, (struct extent){3 * i, 2, SECTOR_REMAPPED, 1, 5 * i}),
				 0);
	store_close(s);
	assert_int_equal(stat(at("vol"), &st), 0);
	*ret = malloc((size_t)st.st_size);
	assert_non_null(*ret);
	get_bytes(at("vol"), 0, *ret, (size_t)st.st_size);
	assert_int_equal(read_everything(), EXTENTS);
	return (uint64_t)st.st_size;
}

static void restore(const uint8_t *good, uint64_t size)
{
	unlink(at("vol-wal"));
	unlink(at("vol-shm"));
	make_file(at("vol"), size);
	put_bytes(at("vol"), 0, good, size);
}

static void truncated_anywhere(void **state)
{
	uint64_t size;
	uint8_t *good;
	int rc;

	(void)state;
	size = fill_and_copy(&good);
	for (uint64_t cut = 0; cut < size; cut += 512) {
		restore(good, cut);
		/* SQLite reads what is missing of the last page as zeros, and
		 * only complains if it needs it. */
		rc = read_everything();
		assert_true(rc < 0 || rc == EXTENTS);
	}
	restore(good, size);
	assert_int_equal(read_everything(), EXTENTS);
	free(good);
}

static void flipped_bits_anywhere(void **state)
{
	uint64_t seed = test_seed(), size;
	uint8_t *good;

	(void)state;
	size = fill_and_copy(&good);
	for (unsigned i = 0; i < 400; i++) {
		uint64_t bit = random_below(&seed, 8 * size);
		int rc;

		good[bit / 8] ^= (uint8_t)(1u << bit % 8);
		restore(good, size);
		rc = read_everything();
		assert_true(rc > -4096);
		good[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	free(good);
}

/* ---- other connections ---------------------------------------------------------- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_held_write_lock_is_busy_within_the_bound(void **state)
{
	struct store *s = open_new();
	double start = now_s();
	sqlite3 *other;

	(void)state;
	assert_int_equal(sqlite3_open(at("vol"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_begin(s), -EBUSY);
	assert_true(now_s() - start >= STORE_BUSY_MS / 1000.0 * 0.8);
	assert_true(now_s() - start < STORE_BUSY_MS / 1000.0 * 2 + 5);
	sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL);
	assert_int_equal(set_extent(s, (struct extent){1, 1, SECTOR_PENDING, 0, 0}), 0);
	sqlite3_close(other);
	store_close(s);
}

/* As VACUUM, or a shell with PRAGMA locking_mode = EXCLUSIVE. */
static void who_has_all_of_it_is_named(void **state)
{
	struct error err = {""};
	struct store *s;
	sqlite3 *other;

	(void)state;
	store_close(open_new());
	assert_int_equal(sqlite3_open(at("vol"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE",
				      NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(store_open(at("vol"), STORE_READ, &s, &err), -EBUSY);
	assert_non_null(strstr(err.text, "locked by another program"));
	sqlite3_close(other);
	store_close(open_mode(STORE_WRITE));
}

static void *let_go_later(void *other)
{
	usleep(300000);
	sqlite3_exec(other, "COMMIT", NULL, NULL, NULL);
	return NULL;
}

static void a_lock_held_shortly_is_waited_for(void **state)
{
	struct store *s = open_new();
	pthread_t thread;
	sqlite3 *other;

	(void)state;
	assert_int_equal(sqlite3_open(at("vol"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(pthread_create(&thread, NULL, let_go_later, other), 0);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_commit(s), 0);
	pthread_join(thread, NULL);
	sqlite3_close(other);
	store_close(s);
}

static void readers_do_not_stop_a_writer(void **state)
{
	struct store *s = open_new();
	sqlite3_stmt *row;
	sqlite3 *other;

	(void)state;
	assert_int_equal(sqlite3_open(at("vol"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(other, "SELECT * FROM history", -1, &row, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(row), SQLITE_ROW);
	for (sector_t i = 0; i < 50; i++)
		assert_int_equal(set_extent(s, (struct extent){i, 1, SECTOR_PENDING, 0, 0}), 0);
	sqlite3_finalize(row);
	sqlite3_close(other);
	store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_created_is_read_back),
		TEST(commits_are_synced),
		TEST(creating_replaces_nothing),
		TEST(opens_are_counted),
		TEST(missing_is_refused),
		TEST(other_files_are_refused),
		TEST(other_databases_are_refused),
		TEST(newer_versions_are_refused),
		TEST(older_versions),
		TEST(its_paths),
		TEST(a_log_that_was_left_is_in_the_way),
		TEST(a_volume_without_rows_is_refused),
		TEST(a_damaged_header_is_refused),
		TEST(a_file_that_may_not_be_written),
		TEST(the_read_mode_changes_nothing),
		TEST(truncated_anywhere),
		TEST(flipped_bits_anywhere),
		TEST(a_held_write_lock_is_busy_within_the_bound),
		TEST(who_has_all_of_it_is_named),
		TEST(a_lock_held_shortly_is_waited_for),
		TEST(readers_do_not_stop_a_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
