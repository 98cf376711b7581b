/*
 * include/remapfs/volume.h: whose fault an error is, and how long it may take
 * to find out. Contract 7, and the bound of isolation_ms.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <time.h>

#define SLOW_SECTORS 1024

static double seconds_since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

static void all_of_main_fails(enum fault_on on)
{
	bad_sectors(0, MAIN_BYTES / sector_size, on);
}

/* The request owns every place that could be asked whether main is alive. */
static void erasing_all_of_a_dead_main_moves_nothing(void **state)
{
	(void)state;
	all_of_main_fails(FAULT_ON_BOTH);
	assert_int_equal(volume_zero(volume, 0, MAIN_BYTES), -EIO);
	assert_int_equal(volume_discard(volume, 0, MAIN_BYTES), -EIO);
	assert_counts(0, 0);
	assert_true(status_now().main_failed);
	assert_int_equal(events("spares_full"), 0);
}

static void erasing_all_of_a_read_only_main_moves_nothing(void **state)
{
	(void)state;
	all_of_main_fails(FAULT_ON_WRITE);
	assert_int_equal(volume_zero(volume, 0, MAIN_BYTES), -EIO);
	assert_counts(0, 0);
	/* Judged, not tried until the slots were used up. */
	assert_int_equal(events("spares_full"), 0);
	assert_true(status_now().main_failed);
}

static void erasing_all_of_a_main_with_a_hole_moves_the_hole(void **state)
{
	(void)state;
	bad_sectors(1000, 3, FAULT_ON_WRITE);
	assert_int_equal(volume_zero(volume, 0, MAIN_BYTES), 0);
	assert_string_equal(remaps(), "1000+3");
	assert_read(990, 30, 0);
}

/* Reads that work say nothing of writes: it is told once, not once a read. */
static void a_read_only_main_is_told_once(void **state)
{
	(void)state;
	all_of_main_fails(FAULT_ON_WRITE);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(write_sectors_of(10, 1, 2), -EIO);
		assert_read(20, 1, 0);
		assert_true(status_now().main_failed);
	}
	assert_int_equal(events("device_failed"), 1);
	assert_int_equal(events("device_works"), 0);
	clear_faults();
	assert_written(10, 1, 2);
	assert_false(status_now().main_failed);
	reopen_volume();
	assert_int_equal(events("device_works"), 1);
}

/* One spare with many bad slots, the other with one: only the first is failing. */
static void bad_slots_are_counted_for_each_spare(void **state)
{
	uint64_t used = ask_number("SELECT slots FROM spare WHERE id = 1");

	(void)state;
	assert_true(used >= 64);
	bad_slots(1, 0, used, FAULT_ON_WRITE);
	bad_slots(2, 0, 1, FAULT_ON_WRITE);
	bad_sectors(500, 3, FAULT_ON_WRITE);
	/* One sector meets all of them, one after the other. */
	assert_written(500, 1, 1);
	assert_written(501, 2, 1);
	assert_read(500, 3, 1);
	assert_int_equal(ask_number("SELECT sum(sectors) FROM remap WHERE spare_id = 2"), 3);
	assert_int_equal(ask_number("SELECT sum(slots) FROM bad_slot WHERE spare_id = 2"), 1);
	assert_true(status_now().free_slots > 0);
}

/* Every one of many sectors fails, and each try takes 20 ms. */
static void slow_failures_are_bounded(enum fault_on on, int (*call)(sector_t, uint64_t, uint8_t),
				      int expected)
{
	const struct volume_options options = {.isolation_ms = 300};
	struct timespec begin;
	uint64_t count = SLOW_SECTORS;

	close_volume();
	open_volume_with(&options);
	add_fault((struct fault){.start = 4096, .count = count, .on = on, .error = EIO,
				 .life = FAULT_PERMANENT, .delay_ms = 20});
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(call(4096, count, 7), expected);
	assert_true(seconds_since(&begin) < 5);
	/* Other sectors are not touched by it. */
	assert_written(0, 8, 1);
}

static void a_slow_read_is_bounded(void **state)
{
	(void)state;
	slow_failures_are_bounded(FAULT_ON_READ, read_sectors_of, -EIO);
}

static void a_slow_write_is_bounded(void **state)
{
	(void)state;
	slow_failures_are_bounded(FAULT_ON_WRITE, write_sectors_of, 0);
	assert_read(4096, SLOW_SECTORS, 7);
}

/* A cut of bad and good extents in turn does not begin the time anew. */
static void time_is_counted_for_the_request(void **state)
{
	const struct volume_options options = {.isolation_ms = 300};
	struct timespec begin;

	(void)state;
	bad_sectors(4096, 1, FAULT_ON_WRITE);
	for (sector_t s = 4096; s < 4096 + 256; s += 4) {
		bad_sectors(s, 1, FAULT_ON_WRITE);
		assert_written(s, 1, 1);
	}
	close_volume();
	open_volume_with(&options);
	add_fault((struct fault){.start = 4096, .count = 256, .on = FAULT_ON_READ, .error = EIO,
				 .life = FAULT_PERMANENT, .delay_ms = 20});
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_int_equal(read_sectors_of(4096, 256, 1), -EIO);
	assert_true(seconds_since(&begin) < 4);
}

/* Who opens it again under the same users does not forget for them. */
static void a_failed_flush_outlives_the_worker(void **state)
{
	atomic_bool failed = true;
	const struct volume_options options = {.flush_failed = &failed};
	struct volume *v;

	(void)state;
	close_volume();
	open_volume_with(&options);
	assert_written(10, 1, 1);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_true(status_now().flush_failed);
	v = volume;
	volume = NULL;
	assert_true(volume_close(v) < 0);
	open_volume();
	assert_int_equal(volume_flush(volume), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(erasing_all_of_a_dead_main_moves_nothing),
		TEST(erasing_all_of_a_read_only_main_moves_nothing),
		TEST(erasing_all_of_a_main_with_a_hole_moves_the_hole),
		TEST(a_read_only_main_is_told_once),
		cmocka_unit_test_setup_teardown(bad_slots_are_counted_for_each_spare,
						volume_setup_small_spare, volume_teardown),
		TEST(a_slow_read_is_bounded),
		TEST(a_slow_write_is_bounded),
		TEST(time_is_counted_for_the_request),
		TEST(a_failed_flush_outlives_the_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
