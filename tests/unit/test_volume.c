/* include/remapfs/volume.h: what a volume does with sectors, bad ones and good ones. */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- a healthy volume ----------------------------------------------------------- */

static void a_healthy_volume_is_its_main(void **state)
{
	(void)state;
	assert_int_equal(volume_size(volume), MAIN_BYTES);
	assert_int_equal(volume_sector_size(volume), sector_size);
	assert_int_equal(strlen(volume_uuid(volume)), 36);
	assert_read(0, 100, 0);
	assert_written(0, 100, 1);
	assert_written(volume_size(volume) / sector_size - 3, 3, 2);
	assert_read(0, 100, 1);
	assert_counts(0, 0);
	close_volume();
	assert_main_holds(0, 100, 1);
	assert_main_holds(100, 100, 0);
	assert_main_holds(MAIN_BYTES / sector_size - 3, 3, 2);
	open_volume();
	assert_read(0, 100, 1);
	assert_string_equal(trouble_now(), "");
}

static void requests_outside_the_image(void **state)
{
	static const struct {
		uint64_t offset, length;
	} wrong[] = {{MAIN_BYTES, 1},
		     {MAIN_BYTES - 1, 2},
		     {MAIN_BYTES + 512, 512},
		     {UINT64_MAX - 511, 512},
		     {UINT64_MAX - 100, 512},
		     {0, MAIN_BYTES + 1}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(volume_read(volume, buffer, wrong[i].length, wrong[i].offset),
				 -EINVAL);
		assert_int_equal(volume_write(volume, buffer, wrong[i].length, wrong[i].offset),
				 -EINVAL);
		assert_int_equal(volume_zero(volume, wrong[i].offset, wrong[i].length), -EINVAL);
		assert_int_equal(volume_discard(volume, wrong[i].offset, wrong[i].length), -EINVAL);
	}
	assert_int_equal(volume_discard(volume, 0, UINT64_MAX), -EINVAL);
	assert_int_equal(volume_read(volume, buffer, 0, 0), 0);
	assert_int_equal(volume_write(volume, buffer, 0, MAIN_BYTES), 0);
	assert_int_equal(volume_zero(volume, 100, 0), 0);
}

/* Bytes in the middle of sectors, from buffers at any address. */
static void any_offset_and_length(void **state)
{
	const uint64_t size = 64 * KiB;
	uint8_t *model = calloc(1, size), *data = malloc(size + 1);
	uint64_t seed = test_seed();

	(void)state;
	bad_sectors(20, 3, FAULT_ON_WRITE);
	for (unsigned i = 0; i < 3000; i++) {
		uint64_t offset = random_below(&seed, size);
		uint64_t length = 1 + random_below(&seed, i % 2 ? 700 : size - offset);

		length = length < size - offset ? length : size - offset;
		switch (random_below(&seed, 4)) {
		case 0:
			assert_int_equal(volume_read(volume, data + i % 2, length, offset), 0);
			assert_memory_equal(data + i % 2, model + offset, length);
			break;
		case 1:
			assert_int_equal(volume_zero(volume, offset, length), 0);
			memset(model + offset, 0, length);
			break;
		case 2:
			assert_int_equal(volume_discard(volume, offset, length), 0);
			memset(model + offset, 0, length);
			break;
		default:
			memset(data, (int)i, length + 1);
			assert_int_equal(volume_write(volume, data + i % 2, length, offset), 0);
			memset(model + offset, (int)i, length);
		}
	}
	reopen_volume();
	assert_int_equal(volume_read(volume, data, size, 0), 0);
	assert_memory_equal(data, model, size);
	free(model);
	free(data);
}

static void next_data_skips_holes_only(void **state)
{
	uint64_t start = 7, end = 7;

	(void)state;
	assert_int_equal(volume_next_data(volume, MAIN_BYTES, &start, &end), -ENXIO);
	assert_int_equal(volume_next_data(volume, 0, &start, &end), -ENXIO);
	assert_int_equal(start, 7);
	assert_written(4096, 8, 1);
	assert_int_equal(volume_next_data(volume, 0, &start, &end), 0);
	assert_true(start <= 4096ull * sector_size && end >= 4104ull * sector_size);
	assert_int_equal(volume_next_data(volume, 4097ull * sector_size + 1, &start, &end), 0);
	assert_int_equal(start, 4097ull * sector_size + 1);
}

static bool is_data(sector_t sector)
{
	uint64_t at_byte = sector * sector_size, start = 0, end = 0;
	int rc = volume_next_data(volume, at_byte, &start, &end);

	assert_true(rc == 0 || rc == -ENXIO);
	return rc == 0 && start == at_byte && end >= at_byte + sector_size;
}

/* A remapped sector is data although main has a hole there; so is a lost one. */
static void next_data_finds_what_is_not_on_main(void **state)
{
	(void)state;
	bad_sectors(2048, 1, FAULT_ON_WRITE);
	bad_sectors(3000, 1, FAULT_ON_READ);
	assert_false(is_data(2048) || is_data(3000));
	assert_written(2048, 1, 1);
	assert_lost(3000, 1);
	assert_true(is_data(2048) && is_data(3000));
	assert_false(is_data(2500));
}

/* ---- scenario 3: bad on write --------------------------------------------------- */

static const sector_t scattered[] = {50, 51, 750, 1000, 4000};

static void assert_scattered(uint8_t tag)
{
	for (unsigned i = 0; i < ARRAY_SIZE(scattered); i++) {
		assert_read(scattered[i], 1, tag);
		assert_read(scattered[i] - 1, 1, scattered[i] == 51 ? tag : 9);
	}
}

static void bad_sectors_move_on_write(void **state)
{
	(void)state;
	assert_written(0, 2000, 9);
	assert_written(3999, 100, 9);
	for (unsigned i = 0; i < ARRAY_SIZE(scattered); i++)
		bad_sectors(scattered[i], 1, FAULT_ON_WRITE);
	for (unsigned i = 0; i < ARRAY_SIZE(scattered); i++)
		assert_written(scattered[i], 1, 3);
	assert_counts(5, 0);
	assert_string_equal(remaps(), "50+1 51+1 750+1 1000+1 4000+1");
	assert_int_equal(events("remapped"), 5);
	assert_scattered(3);
	reopen_volume();
	assert_counts(5, 0);
	assert_scattered(3);
	/* They stay where they went, also when main would take them now. */
	clear_faults();
	for (unsigned i = 0; i < ARRAY_SIZE(scattered); i++)
		assert_written(scattered[i], 1, 4);
	assert_scattered(4);
	assert_int_equal(events("remapped"), 5);
	assert_counts(5, 0);
	assert_int_equal(status_now().free_slots,
			 ask_number("SELECT free FROM spare_usage WHERE id = 1"));
}

/* ---- scenario 5: a hole in the middle of larger writes -------------------------- */

static void only_the_hole_moves(void **state)
{
	(void)state;
	assert_written(0, 4096, 1);
	bad_sectors(1000, 8, FAULT_ON_WRITE);
	assert_written(996, 8, 2);
	assert_string_equal(remaps(), "1000+4");
	assert_written(1004, 8, 3);
	assert_counts(8, 0);
	assert_read(900, 96, 1);
	assert_read(996, 8, 2);
	assert_read(1004, 8, 3);
	assert_read(1012, 100, 1);
	assert_written(100, 2048, 4);
	assert_counts(8, 0);
	assert_read(100, 2048, 4);
	assert_read(50, 50, 1);
	assert_read(2148, 50, 1);
	reopen_volume();
	assert_read(100, 2048, 4);
}

static void one_large_write_over_the_hole(void **state)
{
	(void)state;
	bad_sectors(1000, 8, FAULT_ON_WRITE);
	bad_sectors(1501, 1, FAULT_ON_WRITE);
	assert_written(0, 2048, 1);
	assert_string_equal(remaps(), "1000+8 1501+1");
	assert_int_equal(ask_number("SELECT count(*) FROM history WHERE event = 'remapped'"), 2);
	assert_read(0, 2048, 1);
	reopen_volume();
	assert_read(0, 2048, 1);
}

static void odd_neighbours_stay(void **state)
{
	(void)state;
	for (sector_t s = 101; s < 130; s += 2)
		bad_sectors(s, 1, FAULT_ON_WRITE);
	assert_written(96, 64, 1);
	assert_counts(15, 0);
	assert_int_equal(ask_number("SELECT count(*) FROM remap WHERE main_sector % 2 = 0"), 0);
	assert_read(96, 64, 1);
}

/* ---- scenario 4: bad on read ---------------------------------------------------- */

static void unreadable_sectors_are_pending(void **state)
{
	static const sector_t bad[] = {100, 101, 200, 300, 400};

	(void)state;
	assert_written(0, 450, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		bad_sectors(bad[i], 1, FAULT_ON_READ);
	for (unsigned twice = 0; twice < 2; twice++)
		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
			assert_lost(bad[i], 1);
	assert_read(98, 2, 1);
	assert_read(102, 98, 1);
	assert_read(301, 99, 1);
	assert_counts(0, 5);
	assert_int_equal(events("pending"), 5);
	reopen_volume();
	assert_counts(0, 5);
	/* Without a copy they stay lost, whatever main would say now. */
	clear_faults();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_lost(bad[i], 1);
	assert_int_equal(events("remapped"), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_written(bad[i], 1, 2);
	assert_counts(0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		assert_read(bad[i], 1, 2);
	assert_int_equal(events("cured"), 5);
	reopen_volume();
	assert_counts(0, 0);
	assert_read(100, 2, 2);
}

/* One failed request is enough to know all its bad sectors. */
static void one_read_finds_all_of_them(void **state)
{
	(void)state;
	bad_sectors(10, 1, FAULT_ON_READ);
	bad_sectors(13, 2, FAULT_ON_READ);
	bad_sectors(100, 1, FAULT_ON_READ);
	assert_int_equal(read_sectors_of(0, 128, 0), -EIO);
	assert_counts(0, 4);
	assert_int_equal(ask_number("SELECT sum(sectors) FROM pending WHERE sector IN (10, 13, 14, "
				    "100)"), 4);
}

static void the_firmware_cures_on_write(void **state)
{
	(void)state;
	add_fault((struct fault){.start = 10, .count = 3, .on = FAULT_ON_READ, .error = ENODATA,
				 .life = FAULT_UNTIL_REWRITTEN});
	assert_lost(10, 3);
	assert_written(10, 3, 1);
	assert_counts(0, 0);
	assert_read(10, 3, 1);
	assert_int_equal(events("remapped"), 0);
	close_volume();
	assert_main_holds(10, 3, 1);
}

/* The write is taken, but what was written cannot be read back. */
static void a_cure_is_verified(void **state)
{
	(void)state;
	bad_sectors(10, 2, FAULT_ON_READ);
	assert_lost(10, 2);
	assert_written(8, 6, 1);
	assert_counts(2, 0);
	assert_string_equal(remaps(), "10+2");
	assert_read(8, 6, 1);
	reopen_volume();
	assert_read(8, 6, 1);
}

static void a_lost_sector_that_fails_on_write_moves(void **state)
{
	(void)state;
	bad_sectors(10, 1, FAULT_ON_BOTH);
	assert_lost(10, 1);
	assert_written(10, 1, 1);
	assert_counts(1, 0);
	assert_read(10, 1, 1);
}

/* There is nothing to merge the bytes with. */
static void part_of_a_lost_sector_cannot_be_written(void **state)
{
	(void)state;
	assert_written(0, 30, 1);
	bad_sectors(10, 1, FAULT_ON_READ);
	assert_lost(10, 1);
	memset(buffer, 5, 100);
	assert_int_equal(volume_write(volume, buffer, 100, 10ull * sector_size + 5), -EIO);
	assert_int_equal(volume_zero(volume, 10ull * sector_size + 5, 20), -EIO);
	assert_int_equal(volume_discard(volume, 10ull * sector_size + 5, 20), -EIO);
	assert_counts(0, 1);
	assert_lost(10, 1);
	assert_read(9, 1, 1);
	assert_read(11, 1, 1);
}

/* A sector never read before: the edge of a write is what finds it bad. */
static void the_edge_of_a_write_can_be_bad(void **state)
{
	(void)state;
	bad_sectors(10, 1, FAULT_ON_READ);
	assert_int_equal(volume_write(volume, buffer, 100, 10ull * sector_size + 5), -EIO);
	assert_counts(0, 1);
	assert_int_equal(events("remapped"), 0);
}

/* ---- scenario 18: erasing ------------------------------------------------------- */

static void check_erase(int (*erase)(struct volume *, uint64_t, uint64_t))
{
	uint64_t used;

	assert_written(0, 100, 1);
	bad_sectors(10, 2, FAULT_ON_READ);
	bad_sectors(20, 4, FAULT_ON_WRITE);
	assert_lost(10, 2);
	assert_written(20, 2, 2);
	used = ask_number("SELECT used FROM spare_usage");
	clear_faults();
	bad_sectors(22, 2, FAULT_ON_WRITE);
	assert_int_equal(erase(volume, 5ull * sector_size, 45ull * sector_size), 0);
	assert_read(5, 45, 0);
	assert_read(0, 5, 1);
	assert_read(50, 50, 1);
	assert_counts(used + 2, 0);
	reopen_volume();
	assert_read(5, 45, 0);
	assert_written(5, 45, 3);
	assert_read(5, 45, 3);
}

static void discarded_sectors_read_as_zeros(void **state)
{
	(void)state;
	check_erase(volume_discard);
}

static void zeroed_sectors_read_as_zeros(void **state)
{
	(void)state;
	check_erase(volume_zero);
}

static void the_whole_image_can_be_erased(void **state)
{
	(void)state;
	assert_written(0, 4096, 1);
	bad_sectors(3000, 1, FAULT_ON_BOTH);
	assert_int_equal(volume_zero(volume, 0, MAIN_BYTES), 0);
	for (sector_t s = 0; s < MAIN_BYTES / sector_size; s += 1024)
		assert_read(s, 1024, 0);
	assert_counts(1, 0);
	assert_int_equal(volume_discard(volume, 0, MAIN_BYTES), 0);
	assert_read(2990, 20, 0);
}

static void an_erased_pending_sector_is_verified(void **state)
{
	(void)state;
	assert_written(10, 1, 1);
	bad_sectors(10, 1, FAULT_ON_READ);
	assert_lost(10, 1);
	assert_int_equal(volume_discard(volume, 10ull * sector_size, sector_size), 0);
	assert_counts(1, 0);
	assert_read(10, 1, 0);
}

/* ---- modes ---------------------------------------------------------------------- */

static void read_only(void **state)
{
	(void)state;
	assert_written(0, 10, 1);
	bad_sectors(5, 1, FAULT_ON_WRITE);
	assert_written(5, 1, 2);
	close_volume();
	open_volume_with(&(struct volume_options){.read_only = true});
	assert_read(0, 5, 1);
	assert_read(5, 1, 2);
	assert_int_equal(write_sectors_of(0, 1, 3), -EROFS);
	assert_int_equal(volume_zero(volume, 0, sector_size), -EROFS);
	assert_int_equal(volume_discard(volume, 0, sector_size), -EROFS);
	assert_read(0, 5, 1);
	assert_int_equal(volume_flush(volume), 0);
	reopen_volume();
	assert_written(0, 1, 3);
}

static void no_remap(void **state)
{
	(void)state;
	bad_sectors(5, 1, FAULT_ON_WRITE);
	assert_written(5, 1, 2);
	close_volume();
	open_volume_with(&(struct volume_options){.no_remap = true});
	bad_sectors(7, 1, FAULT_ON_BOTH);
	assert_int_equal(write_sectors_of(7, 1, 1), -EIO);
	assert_lost(7, 1);
	assert_counts(1, 0);
	assert_read(5, 1, 2);
	assert_written(5, 1, 3);
	assert_read(5, 1, 3);
	clear_faults();
	assert_read(7, 1, 0);
}

/* ---- telling -------------------------------------------------------------------- */

static void a_life_is_recorded(void **state)
{
	(void)state;
	assert_int_equal(events("opened"), 1);
	assert_int_equal(events("closed"), 0);
	reopen_volume();
	assert_int_equal(events("closed"), 1);
	assert_int_equal(ask_number("SELECT opens FROM volume"), 2);
	assert_int_equal(ask_number("SELECT count(*) FROM history WHERE detail LIKE '%a test%' AND "
				    "event = 'opened'"), 2);
	assert_int_equal(ask_number("SELECT count(*) FROM history WHERE detail LIKE "
				    "'%without warning%'"), 0);
}

static void status_tells(void **state)
{
	struct volume_status before = status_now(), after;

	(void)state;
	assert_true(before.free_slots > 1000);
	assert_int_equal(before.faults, 0);
	bad_sectors(10, 5, FAULT_ON_WRITE);
	assert_int_equal(status_now().faults, 5);
	assert_written(8, 10, 1);
	assert_read(8, 10, 1);
	after = status_now();
	assert_int_equal(after.remapped_sectors, 5);
	assert_int_equal(after.free_slots, before.free_slots - 5);
	assert_int_equal(after.writes, before.writes + 1);
	assert_int_equal(after.reads, before.reads + 1);
	assert_int_equal(after.errors, before.errors);
	assert_int_equal(after.commits, before.commits + 1);
	assert_false(after.main_failed || after.flush_failed || after.commit_failed);
	bad_sectors(30, 1, FAULT_ON_READ);
	assert_lost(30, 1);
	assert_int_equal(status_now().errors, before.errors + 1);
	assert_true(trouble_now()[0]);
	clear_faults();
	assert_int_equal(status_now().faults, 0);
}

/* Faults that end are told, and do not come back with the next open. */
static void faults_that_ended_are_gone(void **state)
{
	(void)state;
	add_fault((struct fault){.start = 10, .count = 1, .on = FAULT_ON_READ, .error = EIO,
				 .life = FAULT_TIMES, .times = 2});
	read_sectors_of(10, 1, 0);
	assert_written(10, 1, 1);
	assert_read(10, 1, 1);
	reopen_volume();
	assert_int_equal(ask_number("SELECT count(*) FROM fault"), 0);
	assert_int_equal(events("fault_spent"), 1);
	assert_int_equal(status_now().faults, 0);
}

/* ---- at once -------------------------------------------------------------------- */

#define WRITERS 8

static void *write_own_sectors(void *arg)
{
	sector_t start = *(sector_t *)arg;
	uint8_t *own = aligned_buffer(4096);

	for (unsigned i = 0; i < 16; i++) {
		memset(own, (int)(i + 1), sector_size);
		assert_int_equal(volume_write(volume, own, sector_size, (start + i) * sector_size),
				 0);
	}
	free(own);
	return NULL;
}

static void remaps_share_commits(void **state)
{
	pthread_t threads[WRITERS];
	sector_t starts[WRITERS];

	(void)state;
	bad_sectors(0, WRITERS * 16, FAULT_ON_WRITE);
	for (unsigned t = 0; t < WRITERS; t++) {
		starts[t] = 16 * t;
		assert_int_equal(pthread_create(&threads[t], NULL, write_own_sectors, &starts[t]),
				 0);
	}
	for (unsigned t = 0; t < WRITERS; t++)
		pthread_join(threads[t], NULL);
	assert_counts(WRITERS * 16, 0);
	assert_true(status_now().commits <= WRITERS * 16);
	for (unsigned round = 0; round < 2; round++) {
		for (sector_t s = 0; s < WRITERS * 16; s++) {
			assert_int_equal(volume_read(volume, buffer, sector_size, s * sector_size),
					 0);
			assert_int_equal(buffer[0], s % 16 + 1);
			assert_int_equal(buffer[sector_size - 1], s % 16 + 1);
		}
		reopen_volume();
	}
}

static double seconds_of(int (*call)(sector_t, uint64_t, uint8_t), int expected)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(call(1024, 512, 7), expected);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

/* A disk that takes long to fail must not hold up a request for long. */
static void isolation_is_bounded(void **state)
{
	struct fault slow = {.start = 1024, .count = 512, .on = FAULT_ON_BOTH, .error = EIO,
			     .delay_ms = 100};

	(void)state;
	close_volume();
	open_volume_with(&(struct volume_options){.isolation_ms = 500});
	add_fault(slow);
	assert_true(seconds_of(read_sectors_of, -EIO) < 5);
	assert_true(seconds_of(write_sectors_of, 0) < 5);
	assert_counts(512, 0);
	assert_read(1024, 512, 7);
	reopen_volume();
	assert_read(1024, 512, 7);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TEST_4096(f) \
	{#f " (4096)", f, volume_setup_4096, volume_teardown, NULL}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_healthy_volume_is_its_main),
		TEST_4096(a_healthy_volume_is_its_main),
		TEST(requests_outside_the_image),
		TEST(any_offset_and_length),
		TEST_4096(any_offset_and_length),
		TEST(next_data_skips_holes_only),
		TEST(next_data_finds_what_is_not_on_main),
		TEST(bad_sectors_move_on_write),
		TEST(only_the_hole_moves),
		TEST(one_large_write_over_the_hole),
		TEST(odd_neighbours_stay),
		TEST_4096(odd_neighbours_stay),
		TEST(unreadable_sectors_are_pending),
		TEST_4096(unreadable_sectors_are_pending),
		TEST(one_read_finds_all_of_them),
		TEST(the_firmware_cures_on_write),
		TEST(a_cure_is_verified),
		TEST_4096(a_cure_is_verified),
		TEST(a_lost_sector_that_fails_on_write_moves),
		TEST(part_of_a_lost_sector_cannot_be_written),
		TEST(the_edge_of_a_write_can_be_bad),
		TEST(discarded_sectors_read_as_zeros),
		TEST_4096(discarded_sectors_read_as_zeros),
		TEST(zeroed_sectors_read_as_zeros),
		TEST(the_whole_image_can_be_erased),
		TEST(an_erased_pending_sector_is_verified),
		TEST(read_only),
		TEST(no_remap),
		TEST(a_life_is_recorded),
		TEST(status_tells),
		TEST(faults_that_ended_are_gone),
		TEST(remaps_share_commits),
		TEST(isolation_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
