/*
 * docs/guarantees.md, "How long a request may take": main, spares and database
 * that take their time to fail. Every bound is measured, and printed.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "remapfs/spare.h"

/* The time to isolate in, and what one failing attempt takes. */
#define ISOLATION_MS 1600
#define ATTEMPT_MS 200
/* For a machine that is busy with other things. */
#define SLACK_MS 700
#define AT_ONCE 4

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void open_impatient(unsigned isolation_ms)
{
	const struct volume_options options = {.isolation_ms = isolation_ms};

	close_volume();
	open_volume_with(&options);
}

static void slow_sectors(sector_t start, uint64_t count, enum fault_on on, uint32_t ms)
{
	add_fault((struct fault){.start = start, .count = count, .on = on, .error = EIO,
				 .delay_ms = ms});
}

/* Since `begin`, with the time to isolate and so many attempts beside it. */
static void assert_within(const char *what, int64_t begin, int64_t isolation, unsigned attempts)
{
	int64_t took = now() - begin, bound = isolation + attempts * ATTEMPT_MS;

	print_message("%s: %lld ms, bound %lld ms\n", what, (long long)took, (long long)bound);
	if (took > bound + SLACK_MS)
		fail_msg("%s took %lld ms, not %lld", what, (long long)took, (long long)bound);
}

/* ---- main ---------------------------------------------------------------------------- */

static void a_write_over_slow_sectors(void **state)
{
	int64_t begin;

	(void)state;
	open_impatient(ISOLATION_MS);
	slow_sectors(4096, 1024, FAULT_ON_WRITE, ATTEMPT_MS);
	begin = now();
	assert_written(4096, 1024, 7);
	assert_within("write of 1024 slow bad sectors", begin, ISOLATION_MS, 1);
	assert_read(4096, 1024, 7);
	begin = now();
	assert_written(4096, 1024, 8);
	assert_within("the same, once they moved", begin, 0, 0);
}

static void a_read_over_slow_sectors(void **state)
{
	int64_t begin;

	(void)state;
	assert_written(4096, 2048, 7);
	open_impatient(ISOLATION_MS);
	slow_sectors(4096, 2048, FAULT_ON_READ, ATTEMPT_MS);
	begin = now();
	assert_int_equal(read_sectors_of(4096, 2048, 7), -EIO);
	assert_within("read of 2048 slow bad sectors", begin, ISOLATION_MS, 1);
	/* Who was not tried alone is not lost. */
	clear_faults();
	assert_counts(0, 0);
	assert_read(4096, 2048, 7);
}

/* The last half is one sector, and there is no time left to try it. */
static void a_read_that_has_no_time_for_the_last_sector(void **state)
{
	(void)state;
	assert_written(4096, 2, 7);
	open_impatient(3 * ATTEMPT_MS / 2);
	slow_sectors(4096, 1, FAULT_ON_READ, ATTEMPT_MS);
	assert_int_equal(read_sectors_of(4096, 2, 7), -EIO);
	clear_faults();
	assert_read(4097, 1, 7);
	assert_counts(0, 1);
}

/* Pending and good sectors in turn: every one is an extent. */
static void a_write_over_slow_cures(void **state)
{
	int64_t begin;

	(void)state;
	for (sector_t s = 4096; s < 4096 + 128; s += 2)
		bad_sectors(s, 1, FAULT_ON_READ);
	for (sector_t s = 4096; s < 4096 + 128; s += 2)
		assert_lost(s, 1);
	clear_faults();
	open_impatient(ISOLATION_MS);
	slow_sectors(4096, 128, FAULT_ON_WRITE, ATTEMPT_MS);
	begin = now();
	assert_written(4096, 128, 7);
	assert_within("write over 64 pending extents", begin, ISOLATION_MS, 1);
	assert_read(4096, 128, 7);
}

/* What cannot be done in time is an error, and not the end of the spare. */
static void zeroing_a_slow_range(void **state)
{
	int64_t begin;

	(void)state;
	open_impatient(100);
	slow_sectors(1024, 3072, FAULT_ON_WRITE, ATTEMPT_MS);
	begin = now();
	assert_int_equal(volume_zero(volume, 4 * MiB, 12 * MiB), -EIO);
	/* Main is asked to zero it, then a first piece is written. */
	assert_within("zeroing of 12 MiB", begin, 100, 2);
	assert_true(status_now().remapped_sectors <= 256);
	assert_int_equal(events("spares_full"), 0);
	assert_written(0, 8, 1);
}

static void discarding_a_slow_range(void **state)
{
	int64_t begin;

	(void)state;
	open_impatient(100);
	slow_sectors(1024, 3072, FAULT_ON_WRITE, ATTEMPT_MS);
	begin = now();
	assert_int_equal(volume_discard(volume, 4 * MiB, 12 * MiB), -EIO);
	assert_within("discard of 12 MiB", begin, 100, 2);
	assert_true(status_now().remapped_sectors <= 256);
}

/*
 * All of main is slow to fail: one attempt, a second of asking, however much time the
 * request has, and the place that is asked last.
 */
static void a_slow_dead_main(unsigned isolation_ms)
{
	int64_t begin;

	open_impatient(isolation_ms);
	slow_sectors(0, MAIN_BYTES / 512, FAULT_ON_BOTH, ATTEMPT_MS);
	begin = now();
	assert_int_equal(write_sectors_of(10, 8, 1), -EIO);
	assert_within("write to a dead main", begin, 1000, 2);
	assert_counts(0, 0);
	begin = now();
	assert_int_equal(read_sectors_of(10, 8, 1), -EIO);
	assert_within("read of a dead main", begin, 1000, 2);
	assert_counts(0, 0);
}

static void a_write_to_a_slow_dead_main(void **state)
{
	(void)state;
	a_slow_dead_main(100);
	clear_faults();
	a_slow_dead_main(10000);
}

static void *write_in_vain(void *arg)
{
	sector_t sector = *(sector_t *)arg;
	uint8_t *own = aligned_buffer(512);

	assert_int_equal(volume_write(volume, own, 512, sector * 512), -EIO);
	free(own);
	return NULL;
}

/* One of them asks for all whether main is dead. */
static void writes_to_a_slow_dead_main(void **state)
{
	sector_t sectors[16];
	pthread_t threads[16];
	int64_t begin;

	(void)state;
	open_impatient(ISOLATION_MS);
	slow_sectors(0, MAIN_BYTES / 512, FAULT_ON_BOTH, ATTEMPT_MS);
	begin = now();
	for (unsigned i = 0; i < 16; i++) {
		sectors[i] = 100 * i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_in_vain, &sectors[i]), 0);
	}
	for (unsigned i = 0; i < 16; i++)
		pthread_join(threads[i], NULL);
	assert_within("16 writes at once to a slow dead disk", begin, ISOLATION_MS, 2);
	assert_counts(0, 0);
}

/* ---- spares ---------------------------------------------------------------------------- */

static void a_move_to_a_slow_spare(void **state)
{
	int64_t begin;

	(void)state;
	open_impatient(ISOLATION_MS);
	bad_sectors(4096, 20, FAULT_ON_WRITE);
	add_fault((struct fault){.spare = 1, .start = 0, .count = spare_bytes_min(512) / 512,
				 .on = FAULT_ON_WRITE, .error = EIO, .delay_ms = ATTEMPT_MS});
	begin = now();
	assert_written(4096, 20, 7);
	/* Halving, and asking the spare whether it is alive, twice. */
	assert_within("move by way of a slow spare", begin, ISOLATION_MS, 3);
	assert_read(4096, 20, 7);
	assert_int_equal(ask_number("SELECT min(spare_id) FROM remap"), 2);
}

/* Its superblocks are in order: only the slots are slow to fail. */
static void a_move_to_slow_slots(void **state)
{
	int64_t begin;

	(void)state;
	open_impatient(ISOLATION_MS);
	bad_sectors(4096, 20, FAULT_ON_WRITE);
	add_fault((struct fault){.spare = 1, .count = ask_number("SELECT slots FROM spare"),
				 .start = spare_layout(spare_bytes_min(512), 512).slots_offset / 512,
				 .on = FAULT_ON_WRITE, .error = EIO, .delay_ms = ATTEMPT_MS});
	begin = now();
	assert_written(4096, 20, 7);
	assert_within("move by way of slow slots", begin, ISOLATION_MS, 1);
	assert_read(4096, 20, 7);
}

static void slow_slot(spare_id_t spare, slot_t slot)
{
	add_fault((struct fault){.spare = spare, .count = 1, .on = FAULT_ON_WRITE, .error = EIO,
				 .start = spare_layout(spare_bytes_min(512), 512).slots_offset / 512 + slot,
				 .delay_ms = ATTEMPT_MS});
}

/* They fail in turn: what one is allowed does not begin anew with the other. */
static void a_move_to_two_slow_spares(void **state)
{
	uint64_t slots = ask_number("SELECT slots FROM spare WHERE id = 1"), left = 16;
	int64_t begin;
	int rc;

	(void)state;
	open_impatient(ISOLATION_MS);
	bad_sectors(1000, slots, FAULT_ON_WRITE);
	/* All the slots of the first that are left are taken by the one request. */
	assert_written(1000, slots - left, 1);
	for (slot_t s = slots - left; s < slots; s++)
		slow_slot(1, s);
	for (slot_t s = 0; s < 2 * left; s += 2)
		slow_slot(2, s);
	begin = now();
	rc = write_sectors_of(1000 + slots - left, left, 7);
	assert_within("move by way of two slow spares", begin, ISOLATION_MS, 2 * 2);
	if (rc == 0)
		assert_read(1000 + slots - left, left, 7);
	assert_read(1000, slots - left, 1);
}

/* The time that one of them used up is not held against the other. */
static void a_slow_spare_beside_one_with_a_bad_slot(void **state)
{
	int64_t begin;

	(void)state;
	open_impatient(ISOLATION_MS);
	bad_sectors(4096, 20, FAULT_ON_WRITE);
	add_fault((struct fault){.spare = 1, .start = 0, .count = spare_bytes_min(512) / 512,
				 .on = FAULT_ON_WRITE, .error = EIO, .delay_ms = ATTEMPT_MS});
	add_fault((struct fault){.spare = 1, .start = 0, .count = 1, .on = FAULT_ON_READ,
				 .delay_ms = ISOLATION_MS});
	slow_slot(2, 3);
	begin = now();
	assert_written(4096, 20, 7);
	assert_within("move by way of a slow spare and a bad slot", begin, 2 * ISOLATION_MS, 5);
	assert_read(4096, 20, 7);
	assert_true(status_now().free_slots > 0);
}

/* Descriptors that are slow to fail count as slots do, and time counts for all pieces. */
static void a_move_to_a_slow_table(void **state)
{
	struct spare_layout l = spare_layout(spare_bytes_min(512), 512);
	int64_t begin;

	(void)state;
	open_impatient(ISOLATION_MS / 4);
	bad_sectors(4096, 20, FAULT_ON_WRITE);
	add_fault((struct fault){.spare = 1, .start = l.table_offset / 512, .on = FAULT_ON_WRITE,
				 .count = (l.slots_offset - l.table_offset) / 512, .error = EIO,
				 .delay_ms = ATTEMPT_MS});
	begin = now();
	assert_written(4096, 20, 7);
	assert_within("move by way of a slow slot table", begin, ISOLATION_MS / 4, 3);
	assert_read(4096, 20, 7);
	assert_int_equal(ask_number("SELECT min(spare_id) FROM remap"), 2);
}

/* ---- the database ------------------------------------------------------------------------ */

#define USERS 16

struct user {
	pthread_t thread;
	sector_t sector;
	bool reads;
	int rc;
	int64_t took;
};

static void *use(void *context)
{
	struct user *u = context;
	void *data = aligned_buffer(512);
	int64_t begin = now();

	u->rc = u->reads ? volume_read(volume, data, 512, u->sector * 512)
			 : volume_write(volume, data, 512, u->sector * 512);
	u->took = now() - begin;
	free(data);
	return NULL;
}

/* Half of them write to bad sectors, half read some; all at once. */
static void a_locked_database_is_waited_for_once(void **state)
{
	struct user users[USERS];
	int64_t longest = 0, status_longest = 0;
	sqlite3 *db;

	(void)state;
	bad_sectors(1000, USERS, FAULT_ON_BOTH);
	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	for (unsigned i = 0; i < USERS; i++) {
		users[i] = (struct user){.sector = 1000 + i, .reads = i % 2};
		assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
	}
	for (int i = 0; i < 100; i++) {
		struct timespec pause = {.tv_nsec = 100 * 1000000};
		int64_t begin = now();

		status_now();
		status_longest = now() - begin > status_longest ? now() - begin : status_longest;
		nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < USERS; i++) {
		pthread_join(users[i].thread, NULL);
		assert_int_equal(users[i].rc, -EIO);
		longest = users[i].took > longest ? users[i].took : longest;
	}
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
	print_message("%u requests: %lld ms at most, status %lld ms\n", USERS, (long long)longest,
		      (long long)status_longest);
	/* A round that is under way, and their own. */
	assert_true(longest < 2 * STORE_BUSY_MS + 5000);
	assert_true(status_longest < 500);
	assert_written(1000, 1, 1);
	reopen_volume();
	assert_counts(1, USERS / 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TEST_4096(f) cmocka_unit_test_setup_teardown(f, volume_setup_4096, volume_teardown)
#define TEST_SMALL(f) cmocka_unit_test_setup_teardown(f, volume_setup_small_spare, volume_teardown)

static const struct CMUnitTest tests[] = {
	TEST(a_write_over_slow_sectors),
	TEST(a_read_over_slow_sectors),
	TEST(a_read_that_has_no_time_for_the_last_sector),
	TEST(a_write_over_slow_cures),
	TEST_4096(zeroing_a_slow_range),
	TEST_4096(discarding_a_slow_range),
	TEST(a_write_to_a_slow_dead_main),
	TEST(writes_to_a_slow_dead_main),
	TEST_SMALL(a_move_to_a_slow_spare),
	TEST_SMALL(a_move_to_slow_slots),
	TEST_SMALL(a_move_to_two_slow_spares),
	TEST_SMALL(a_slow_spare_beside_one_with_a_bad_slot),
	TEST_SMALL(a_move_to_a_slow_table),
	TEST(a_locked_database_is_waited_for_once),
};

static int run_one(const char *name)
{
	cmocka_set_test_filter(name);
	return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

/* Whether one that ran ended well. */
static bool one_passed(void)
{
	int status;

	return wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* They sleep most of the time: a few at once, each in a process of its own. */
int main(int argc, char **argv)
{
	unsigned running = 0, failed = 0;

	if (argc > 1)
		return run_one(argv[1]);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		if (running == AT_ONCE)
			failed += !one_passed();
		else
			running++;
		fflush(NULL);
		if (fork() == 0)
			_exit(run_one(tests[i].name));
	}
	for (; running > 0; running--)
		failed += !one_passed();
	return failed > 0;
}
