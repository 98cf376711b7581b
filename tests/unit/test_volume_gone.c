/*
 * Contract 7 while things change: main or a spare that goes away in the middle
 * of a request, comes back, fails in part, or takes no writes any more.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "disrupt.h"

#define REGION 128 /* sectors: every round has its own */

static sector_t region(unsigned round)
{
	return 256 + (sector_t)round * REGION;
}

static uint64_t outside(const char *table, const char *column, sector_t start, uint64_t count)
{
	char query[200];

	snprintf(query, sizeof(query), "SELECT count(*) FROM %s WHERE %s / %u = %llu AND (%s < %llu"
		 " OR %s + sectors > %llu)", table, column, REGION,
		 (unsigned long long)(start / REGION), column, (unsigned long long)start, column,
		 (unsigned long long)(start + count));
	return ask_number(query);
}

/* ---- in the middle of a request ---------------------------------------------------- */

/* Main answers so many calls of a request that meets 3 bad sectors, then none. */
static void main_dies_after(unsigned calls, bool reading)
{
	const struct disruption gone = {.file = "/main", .calls = DISRUPT_ALL, .error = EIO,
					.after = calls};
	sector_t start = region(calls), bad = start + 37;
	int rc;

	assert_written(start, 64, 1);
	bad_sectors(bad, 3, reading ? FAULT_ON_READ : FAULT_ON_WRITE);
	disrupt(&gone);
	rc = reading ? read_sectors_of(start, 64, 1) : write_sectors_of(start, 64, 2);
	disrupt_end();
	if (reading) {
		assert_int_equal(rc, -EIO);
		assert_int_equal(outside("pending", "sector", bad, 3), 0);
	}
	assert_int_equal(outside("remap", "main_sector", bad, 3), 0);
	clear_faults();
	assert_written(start, 64, 3);
	assert_read(start, 64, 3);
}

static void main_dies_while_a_write_is_isolated(void **state)
{
	(void)state;
	for (unsigned calls = 0; calls < 48; calls++)
		main_dies_after(calls, false);
	assert_int_equal(status_now().pending_sectors, 0);
	assert_true(events("device_failed") > 0);
	assert_true(status_now().remapped_sectors > 0);
}

static void main_dies_while_a_read_is_isolated(void **state)
{
	(void)state;
	for (unsigned calls = 0; calls < 48; calls++)
		main_dies_after(calls, true);
	assert_true(events("device_failed") > 0);
	assert_true(events("pending") > 0);
}

/* The same of a spare: what it holds is not lost because it was away. */
static void a_spare_dies_while_a_read_is_isolated(void **state)
{
	slot_t slot;

	(void)state;
	for (unsigned calls = 0; calls < 24; calls++) {
		const struct disruption gone = {.file = "/spare1", .calls = DISRUPT_ALL,
						.error = EIO, .after = calls};
		sector_t start = region(calls);

		bad_sectors(start, 16, FAULT_ON_WRITE);
		assert_written(start, 16, 1);
		slot = ask_number("SELECT slot FROM remap ORDER BY main_sector DESC LIMIT 1");
		bad_slots(1, slot + 9, 1, FAULT_ON_READ);
		disrupt(&gone);
		assert_int_equal(read_sectors_of(start, 16, 1), -EIO);
		disrupt_end();
		assert_int_equal(outside("pending", "sector", start + 9, 1), 0);
		assert_read(start, 9, 1);
		assert_read(start + 10, 6, 1);
		/* A spare that failed lends nothing until it is opened anew. */
		clear_faults();
		reopen_volume();
	}
}

/* ---- away for a moment --------------------------------------------------------------- */

static void main_flaps(int error, unsigned calls)
{
	const struct disruption away = {.file = "/main", .calls = DISRUPT_ALL, .error = error,
					.times = calls};

	disrupt(&away);
	read_sectors_of(100, 1, 1);
	disrupt_end();
	disrupt(&away);
	read_sectors_of(100, 8, 1);
	disrupt_end();
	assert_counts(0, 0);
	assert_read(100, 8, 1);
}

static void what_is_away_for_a_moment_is_not_lost(void **state)
{
	static const int errors[] = {EIO, ENODATA, EREMOTEIO, EILSEQ, ENXIO, ENODEV, ETIME, ETIMEDOUT};

	(void)state;
	assert_written(100, 8, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++)
		for (unsigned calls = 1; calls < 30; calls++)
			main_flaps(errors[i], calls);
	assert_false(status_now().main_failed);
}

/* ---- errors ---------------------------------------------------------------------------- */

static void every_media_error_is_of_the_sector(void **state)
{
	static const int errors[] = {EIO, ENODATA, EREMOTEIO, EILSEQ, ETIME, ETIMEDOUT};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		struct fault f = {.start = 1000 + i, .count = 1, .on = FAULT_ON_WRITE,
				  .error = errors[i]};

		assert_written(2000 + i, 1, 1);
		add_fault(f);
		f.start += 1000;
		f.on = FAULT_ON_READ;
		add_fault(f);
		assert_written(1000 + i, 1, 1);
		assert_lost(2000 + i, 1);
		assert_counts(i + 1, i + 1);
		assert_false(status_now().main_failed);
	}
}

static void every_other_error_is_of_main(void **state)
{
	static const int errors[] = {ENXIO, ENODEV, EROFS, EINVAL, ENOLINK, ESTALE};

	(void)state;
	assert_written(1000, 64, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		add_fault((struct fault){.start = 1000, .count = 8, .on = FAULT_ON_BOTH,
					 .error = errors[i]});
		assert_int_equal(write_sectors_of(1000, 4, 2), -EIO);
		assert_int_equal(read_sectors_of(1000, 64, 1), -EIO);
		assert_int_equal(read_sectors_of(1001, 1, 1), -EIO);
		assert_true(status_now().main_failed);
		assert_counts(0, 0);
		clear_faults();
		assert_read(1000, 64, 1);
		assert_written(1000, 64, 1);
		assert_false(status_now().main_failed);
	}
	assert_true(events("device_failed") >= ARRAY_SIZE(errors));
}

/* ---- all at once ------------------------------------------------------------------------- */

#define WRITERS 16
#define PIECE (MAIN_BYTES / 512 / WRITERS)

static void *write_half_a_piece(void *context)
{
	sector_t start = *(sector_t *)context;
	uint8_t *data = aligned_buffer(PIECE / 2 * 512);
	intptr_t rc = volume_write(volume, data, PIECE / 2 * 512, start * 512);

	free(data);
	return (void *)rc;
}

/* Each asks whether main is alive where others write, or where it is bad as well. */
static void who_asks_at_once_does_not_condemn_main(void **state)
{
	pthread_t threads[WRITERS];
	sector_t starts[WRITERS];
	unsigned failures = 0;

	(void)state;
	for (sector_t s = 0; s < MAIN_BYTES / 512; s += PIECE)
		for (sector_t i = 16; i < PIECE / 2; i += 64)
			add_fault((struct fault){.start = s + i, .count = 1, .on = FAULT_ON_WRITE,
						 .error = EIO, .delay_ms = 1});
	for (unsigned i = 1; i <= 8; i++)
		bad_sectors((MAIN_BYTES / 512 - 1) / 8 * i, 1, FAULT_ON_WRITE);
	for (unsigned i = 0; i < WRITERS; i++) {
		starts[i] = (sector_t)i * PIECE;
		assert_int_equal(pthread_create(&threads[i], NULL, write_half_a_piece, &starts[i]),
				 0);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		void *rc;

		pthread_join(threads[i], &rc);
		failures += rc != NULL;
	}
	assert_int_equal(failures, 0);
	assert_int_equal(events("device_failed"), 0);
	assert_counts(WRITERS * PIECE / 2 / 64, 0);
}

/* ---- in part ----------------------------------------------------------------------------- */

/* The file system under main, or the disk, has become read-only. */
static void a_read_only_main_reads_on(void **state)
{
	const struct disruption read_only = {.file = "/main", .calls = DISRUPT_WRITE,
					     .error = EROFS};

	(void)state;
	assert_written(0, 64, 1);
	bad_sectors(500, 4, FAULT_ON_WRITE);
	assert_written(500, 4, 1);
	disrupt(&read_only);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(write_sectors_of(10, 4, 2), -EIO);
		assert_read(0, 64, 1);
		assert_true(status_now().main_failed);
	}
	/* What lives on a spare does not need main. */
	assert_written(500, 4, 2);
	assert_read(500, 4, 2);
	disrupt_end();
	assert_counts(4, 0);
	assert_int_equal(events("device_failed"), 1);
	assert_written(10, 4, 2);
	assert_false(status_now().main_failed);
}

/* A head is lost: half of the disk fails, the other half works. */
static void half_a_disk_is_bad_sectors(void **state)
{
	sector_t half = MAIN_BYTES / 512 / 2;

	(void)state;
	assert_written(half + 10, 4, 1);
	bad_sectors(half, half, FAULT_ON_BOTH);
	assert_written(half + 100, 8, 1);
	assert_lost(half + 10, 2);
	assert_written(100, 8, 1);
	assert_read(half + 100, 8, 1);
	assert_counts(8, 2);
	assert_false(status_now().main_failed);
	assert_int_equal(events("device_failed"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(main_dies_while_a_write_is_isolated),
		TEST(main_dies_while_a_read_is_isolated),
		TEST(a_spare_dies_while_a_read_is_isolated),
		TEST(what_is_away_for_a_moment_is_not_lost),
		TEST(every_media_error_is_of_the_sector),
		TEST(every_other_error_is_of_main),
		TEST(who_asks_at_once_does_not_condemn_main),
		TEST(a_read_only_main_reads_on),
		TEST(half_a_disk_is_bad_sectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
