/*
 * What a volume does when its database is moved, deleted or replaced under it,
 * or when its log cannot shrink (src/store/place.c, src/volume/watch.c).
 */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The committer looks each second. */
#define NOTICED_MS 10000

static void rename_to(const char *from, const char *to)
{
	assert_int_equal(rename(at(from), at(to)), 0);
}

static void copy_to(const char *from, const char *to)
{
	char command[1000];

	snprintf(command, sizeof(command), "cp '%s' '%s'", at(from), at(to));
	assert_int_equal(system(command), 0);
}

static bool comes_true(bool (*what)(void))
{
	const struct timespec pause = {.tv_nsec = 50 * 1000000};

	for (int waited = 0; waited < NOTICED_MS && !what(); waited += 50)
		nanosleep(&pause, NULL);
	return what();
}

static bool does_not_commit(void)
{
	return status_now().commit_failed;
}

static bool commits(void)
{
	return !does_not_commit();
}

/* A number from a database that is not where the volume has it. */
static uint64_t ask_other(const char *name, const char *query)
{
	sqlite3_stmt *row;
	sqlite3 *db;
	uint64_t number;

	assert_int_equal(sqlite3_open(at(name), &db), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, query, -1, &row, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(row), SQLITE_ROW);
	number = (uint64_t)sqlite3_column_int64(row, 0);
	sqlite3_finalize(row);
	sqlite3_close(db);
	return number;
}

static const char *database = "volume"; /* the name that it has */

/* What was acknowledged is in the database, also for who finds it without its log. */
static bool found_without_the_log(void)
{
	uint64_t found;

	copy_to(database, "alone");
	found = ask_other("alone", "SELECT coalesce(sum(sectors), 0) FROM remap");
	unlink(at("alone"));
	unlink(at("alone-wal"));
	unlink(at("alone-shm"));
	return found == 4;
}

/* Sectors 10 to 13 live on the spare and hold 1, 20 to 59 are bad and hold 1 on main. */
static void prepare(void)
{
	assert_written(0, 64, 1);
	bad_sectors(10, 4, FAULT_ON_WRITE);
	bad_sectors(20, 40, FAULT_ON_WRITE);
	assert_written(10, 4, 1);
}

/* Contract 4: the move fails, and nothing else does. */
static void assert_nothing_moves(const char *reason)
{
	uint64_t slots = status_now().free_slots;

	assert_int_equal(write_sectors_of(20, 2, 2), -EIO);
	assert_true(status_now().commit_failed);
	assert_int_equal(status_now().commit_error, ESTALE);
	if (!strstr(trouble_now(), reason))
		fail_msg("trouble is '%s'", trouble_now());
	assert_int_equal(status_now().free_slots, slots);
	assert_int_equal(status_now().remapped_sectors, 4);
	assert_read(20, 2, 1);
	assert_written(10, 4, 3);
	assert_read(10, 4, 3);
	assert_written(0, 8, 4);
	assert_int_equal(volume_flush(volume), 0);
}

static bool works_is_recorded(void)
{
	return events("commit_works") == 1;
}

static void assert_all_is_well(void)
{
	assert_true(comes_true(commits));
	assert_string_equal(trouble_now(), "");
	assert_written(20, 2, 5);
	assert_read(20, 2, 5);
	assert_counts(6, 0);
	assert_true(events("commit_failed") > 0);
	assert_true(comes_true(works_is_recorded));
	reopen_volume();
	assert_read(20, 2, 5);
	assert_read(10, 4, 3);
	assert_counts(6, 0);
}

/* ---- the database ------------------------------------------------------------------ */

static void a_database_that_is_moved_and_comes_back(void **state)
{
	(void)state;
	prepare();
	rename_to("volume", "elsewhere");
	assert_nothing_moves("move it back");
	rename_to("elsewhere", "volume");
	assert_all_is_well();
}

/* With its log, as mv volume* does. */
static void a_database_that_is_moved_with_its_log(void **state)
{
	(void)state;
	prepare();
	rename_to("volume", "elsewhere");
	rename_to("volume-wal", "elsewhere-wal");
	rename_to("volume-shm", "elsewhere-shm");
	assert_nothing_moves("move it back");
	rename_to("elsewhere-wal", "volume-wal");
	rename_to("elsewhere-shm", "volume-shm");
	rename_to("elsewhere", "volume");
	assert_all_is_well();
}

static void it_is_noticed_while_nobody_writes(void **state)
{
	(void)state;
	prepare();
	rename_to("volume", "elsewhere");
	assert_true(comes_true(does_not_commit));
	assert_written(10, 4, 3);
	/* So that it is recorded as well: status knows at once. */
	sleep(3);
	rename_to("elsewhere", "volume");
	assert_all_is_well();
}

static void a_database_that_is_replaced_by_its_copy(void **state)
{
	(void)state;
	prepare();
	copy_to("volume", "copy");
	rename_to("volume", "elsewhere");
	rename_to("copy", "volume");
	assert_nothing_moves("replaced");
	rename_to("elsewhere", "volume");
	assert_all_is_well();
}

static void reopen_after_trouble(void)
{
	struct volume *v = volume;

	volume = NULL;
	volume_close(v);
	open_volume();
	assert_read(10, 4, 3);
	assert_written(20, 2, 5);
	assert_read(20, 2, 5);
	assert_counts(6, 0);
}

/* SQLite takes our log for that of the other one, and deletes it in the end. */
static void a_replacement_that_somebody_opens(void **state)
{
	(void)state;
	prepare();
	copy_to("volume", "copy");
	rename_to("volume", "elsewhere");
	rename_to("copy", "volume");
	assert_nothing_moves("replaced");
	database = "elsewhere";
	assert_true(comes_true(found_without_the_log));
	database = "volume";
	ask_other("volume", "SELECT count(*) FROM remap");
	rename_to("elsewhere", "volume");
	reopen_after_trouble();
}

/* It cannot come back: what is on the spare stays served, and a rebuild finds it. */
static void a_database_that_is_deleted(void **state)
{
	struct volume *v;

	(void)state;
	prepare();
	assert_int_equal(unlink(at("volume")), 0);
	assert_nothing_moves("remapctl rebuild");
	v = volume;
	volume = NULL;
	assert_true(volume_close(v) < 0);
	assert_false(path_exists(at("volume")));
}

/* ---- its log ------------------------------------------------------------------------- */

static void a_log_that_is_moved_and_comes_back(void **state)
{
	(void)state;
	prepare();
	assert_false(found_without_the_log());
	rename_to("volume-wal", "elsewhere");
	assert_nothing_moves("-wal");
	assert_true(comes_true(found_without_the_log));
	rename_to("elsewhere", "volume-wal");
	assert_all_is_well();
}

static void lose(const char *file)
{
	prepare();
	assert_int_equal(unlink(at(file)), 0);
	assert_nothing_moves("-wal");
	assert_true(comes_true(found_without_the_log));
	reopen_after_trouble();
}

static void a_log_that_is_deleted(void **state)
{
	(void)state;
	lose("volume-wal");
}

static void an_index_that_is_deleted(void **state)
{
	(void)state;
	lose("volume-shm");
}

/* ---- a log that cannot shrink ----------------------------------------------------------- */

static bool log_is_stuck(void)
{
	return status_now().log_stuck;
}

static bool stuck_is_recorded(void)
{
	return events("log_stuck") == 1;
}

static bool shrunk_is_recorded(void)
{
	return events("log_shrunk") == 1;
}

/* As the file is, not as it was when it was last looked at. */
static bool log_is_short(void)
{
	struct stat st;

	return !status_now().log_stuck && stat(at("volume-wal"), &st) == 0 &&
	       st.st_size < (off_t)MiB;
}

/* Rows that nobody needs, by another connection, until the log is longer than that. */
static void lengthen_the_log(sqlite3 *db, uint64_t bytes)
{
	assert_int_equal(sqlite3_exec(db, "CREATE TABLE padding (x)", NULL, NULL, NULL), SQLITE_OK);
	for (uint64_t done = 0; done < bytes; done += MiB)
		assert_int_equal(sqlite3_exec(db, "INSERT INTO padding VALUES (zeroblob(1048576))",
					      NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "DROP TABLE padding", NULL, NULL, NULL), SQLITE_OK);
}

static void a_reader_that_never_ends_is_told(void **state)
{
	sqlite3 *reader, *writer;

	(void)state;
	prepare();
	assert_int_equal(sqlite3_open(at("volume"), &reader), SQLITE_OK);
	assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM history", NULL, NULL,
				      NULL), SQLITE_OK);
	assert_int_equal(sqlite3_open(at("volume"), &writer), SQLITE_OK);
	lengthen_the_log(writer, 17 * MiB);
	sqlite3_close(writer);
	assert_true(comes_true(log_is_stuck));
	print_message("log of %llu bytes, %s\n", (unsigned long long)status_now().log_bytes,
		      trouble_now());
	assert_non_null(strstr(trouble_now(), "cannot shrink"));
	/* It is a nuisance, not a failure. */
	assert_written(20, 2, 5);
	assert_false(status_now().commit_failed);
	assert_true(comes_true(stuck_is_recorded));
	sqlite3_close(reader);
	assert_true(comes_true(log_is_short));
	assert_true(comes_true(shrunk_is_recorded));
	assert_string_equal(trouble_now(), "");
}

/* A long log alone is no trouble: it is cut, and nobody need know. */
static void a_long_log_is_cut(void **state)
{
	sqlite3 *writer;

	(void)state;
	assert_int_equal(sqlite3_open(at("volume"), &writer), SQLITE_OK);
	sqlite3_wal_autocheckpoint(writer, 0);
	lengthen_the_log(writer, 17 * MiB);
	sqlite3_close(writer);
	assert_true(comes_true(log_is_short));
	assert_int_equal(events("log_stuck"), 0);
	assert_int_equal(events("log_shrunk"), 0);
}

/* ---- while the committer has its hands full ------------------------------------------------ */

#define WRITERS 24
#define SECTORS_EACH 1300
/* Half a second after the last look, and a machine that is busy with other things. */
#define PROMPT_MS 3000

static atomic_bool writing;
static atomic_uint acknowledged;

/* Each write moves a sector of its own; ends with the slots at the latest. */
static void *move_sectors(void *context)
{
	sector_t first = *(sector_t *)context;
	void *data = aligned_buffer(512);

	for (sector_t s = first; atomic_load(&writing) && s < first + SECTORS_EACH; s++)
		if (volume_write(volume, data, 512, s * 512) == 0)
			atomic_fetch_add(&acknowledged, 1);
	free(data);
	return NULL;
}

struct load {
	pthread_t threads[WRITERS];
	sector_t first[WRITERS];
};

static void begin_load(struct load *l)
{
	bad_sectors(0, WRITERS * SECTORS_EACH, FAULT_ON_WRITE);
	atomic_store(&acknowledged, 0);
	atomic_store(&writing, true);
	for (unsigned i = 0; i < WRITERS; i++) {
		l->first[i] = i * SECTORS_EACH;
		assert_int_equal(pthread_create(&l->threads[i], NULL, move_sectors, &l->first[i]), 0);
	}
}

static void end_load(struct load *l)
{
	atomic_store(&writing, false);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(l->threads[i], NULL);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t found_alone(void)
{
	uint64_t found;

	copy_to("volume", "alone");
	found = ask_other("alone", "SELECT coalesce(sum(sectors), 0) FROM remap");
	unlink(at("alone"));
	unlink(at("alone-wal"));
	unlink(at("alone-shm"));
	return found;
}

static void a_log_that_is_deleted_under_load(void **state)
{
	const struct timespec pause = {.tv_nsec = 20 * 1000000};
	struct volume *v = volume;
	struct load load;
	uint64_t found;
	int64_t begin;

	(void)state;
	begin_load(&load);
	while (atomic_load(&acknowledged) < 200)
		nanosleep(&pause, NULL);
	assert_int_equal(unlink(at("volume-wal")), 0);
	begin = now();
	do {
		nanosleep(&pause, NULL);
		found = found_alone();
	} while (found < atomic_load(&acknowledged) && now() - begin < NOTICED_MS);
	begin = now() - begin;
	end_load(&load);
	print_message("%llu of %u moves were in the database after %lld ms\n",
		      (unsigned long long)found, atomic_load(&acknowledged), (long long)begin);
	assert_true(begin < PROMPT_MS);
	assert_true(found >= atomic_load(&acknowledged));
	volume = NULL;
	volume_close(v);
	open_volume();
	/* And maybe some that were answered with an error when it was found out. */
	assert_true(ask_number("SELECT sum(sectors) FROM remap") >= atomic_load(&acknowledged));
}

/* Nothing is to be waited for where a commit found out. */
static void what_a_commit_finds_out_is_acted_on_at_once(void **state)
{
	(void)state;
	prepare();
	assert_false(found_without_the_log());
	assert_int_equal(unlink(at("volume-wal")), 0);
	assert_int_equal(write_sectors_of(20, 2, 2), -EIO);
	assert_true(found_without_the_log());
	assert_written(10, 4, 3);
	reopen_after_trouble();
}

static void a_log_that_cannot_be_cut_is_told_under_load(void **state)
{
	sqlite3 *reader, *writer;
	struct load load;
	uint64_t bytes;

	(void)state;
	assert_int_equal(sqlite3_open(at("volume"), &reader), SQLITE_OK);
	assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM history", NULL, NULL,
				      NULL), SQLITE_OK);
	begin_load(&load);
	assert_int_equal(sqlite3_open(at("volume"), &writer), SQLITE_OK);
	sqlite3_busy_timeout(writer, 20000);
	lengthen_the_log(writer, 17 * MiB);
	sqlite3_close(writer);
	for (int64_t begin = now(); !log_is_stuck() && now() - begin < NOTICED_MS;)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	bytes = status_now().log_bytes;
	end_load(&load);
	sqlite3_close(reader);
	print_message("told of at %llu MiB, %u sectors had moved\n",
		      (unsigned long long)(bytes >> 20), atomic_load(&acknowledged));
	assert_true(bytes > 16 * MiB && bytes < 100 * MiB);
	assert_true(comes_true(log_is_short));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TEST_LARGE(f)                                                                     \
	cmocka_unit_test_setup_teardown(f, volume_setup_large_spare, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_database_that_is_moved_and_comes_back),
		TEST(a_database_that_is_moved_with_its_log),
		TEST(it_is_noticed_while_nobody_writes),
		TEST(a_database_that_is_replaced_by_its_copy),
		TEST(a_replacement_that_somebody_opens),
		TEST(a_database_that_is_deleted),
		TEST(a_log_that_is_moved_and_comes_back),
		TEST(a_log_that_is_deleted),
		TEST(an_index_that_is_deleted),
		TEST(a_reader_that_never_ends_is_told),
		TEST(a_long_log_is_cut),
		TEST_LARGE(a_log_that_is_deleted_under_load),
		TEST(what_a_commit_finds_out_is_acted_on_at_once),
		TEST_LARGE(a_log_that_cannot_be_cut_is_told_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
