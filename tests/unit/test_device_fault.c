/* include/remapfs/device.h: the fault injector, over a device in memory. */
#include "fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECTOR 512u
#define SECTORS 256u

static struct ram_device *inner;
static struct device *device;
static uint8_t *buffer;
static _Atomic(int64_t) spent_ids[64];
static _Atomic(unsigned) spent_count;

static void note_spent(void *context, int64_t id)
{
	assert_ptr_equal(context, &spent_count);
	spent_ids[spent_count++ % ARRAY_SIZE(spent_ids)] = id;
}

static int setup(void **state)
{
	(void)state;
	inner = ram_device_new(SECTORS * SECTOR, SECTOR);
	memset(inner->data, 0xee, SECTORS * SECTOR);
	spent_count = 0;
	buffer = aligned_buffer(SECTORS * SECTOR);
	memset(buffer, 0x11, SECTORS * SECTOR);
	return fault_device_wrap(&inner->device, SECTOR, note_spent, &spent_count, &device);
}

static int teardown(void **state)
{
	(void)state;
	device_close(device);
	free(buffer);
	return 0;
}

static void arm(const struct fault *faults, size_t count)
{
	assert_int_equal(fault_device_set(device, ON_MAIN, faults, count), 0);
}

static void arm_one(struct fault f)
{
	arm(&f, 1);
}

static struct fault permanent(sector_t start, uint64_t count, enum fault_on on, int error)
{
	return (struct fault){.id = 1, .start = start, .count = count, .on = on, .error = error};
}

static int read_at(sector_t sector, uint64_t count)
{
	return device_read(device, buffer, count * SECTOR, sector * SECTOR);
}

static int write_at(sector_t sector, uint64_t count)
{
	return device_write(device, buffer, count * SECTOR, sector * SECTOR);
}

static bool sector_is(sector_t sector, uint8_t byte)
{
	for (unsigned i = 0; i < SECTOR; i++)
		if (inner->data[sector * SECTOR + i] != byte)
			return false;
	return true;
}

static void without_faults_it_is_the_inner_device(void **state)
{
	(void)state;
	assert_int_equal(device->geometry.size, SECTORS * SECTOR);
	assert_int_equal(device->geometry.block_size, SECTOR);
	assert_int_equal(write_at(3, 2), 0);
	assert_true(sector_is(2, 0xee) && sector_is(3, 0x11) && sector_is(5, 0xee));
	assert_int_equal(device_zero(device, 3 * SECTOR, SECTOR), 0);
	assert_int_equal(device_discard(device, 4 * SECTOR, SECTOR), 0);
	assert_true(sector_is(3, 0) && sector_is(4, 0));
	assert_int_equal(device_flush(device), 0);
	assert_int_equal(inner->calls[RAM_FLUSH], 1);
}

static void errors_of_the_inner_device_pass(void **state)
{
	(void)state;
	arm_one(permanent(100, 1, FAULT_ON_BOTH, EIO));
	inner->fail_to = SECTORS * SECTOR;
	inner->fail_error[RAM_FLUSH] = -ENODEV;
	inner->fail_error[RAM_WRITE] = -ENOSPC;
	inner->fail_error[RAM_DISCARD] = -EOPNOTSUPP;
	assert_int_equal(device_flush(device), -ENODEV);
	assert_int_equal(write_at(0, 1), -ENOSPC);
	assert_int_equal(device_discard(device, 0, SECTOR), -EOPNOTSUPP);
}

static void closing_closes_the_inner_device(void **state)
{
	bool closed = false;
	struct ram_device *r = ram_device_new(SECTOR, SECTOR);
	struct device *d;

	(void)state;
	r->closed = &closed;
	assert_int_equal(fault_device_wrap(&r->device, SECTOR, NULL, NULL, &d), 0);
	device_close(d);
	assert_true(closed);
}

static void pulled_out_it_is_gone(void **state)
{
	uint64_t start, end;
	bool closed = false;

	(void)state;
	inner->closed = &closed;
	fault_device_pull(device);
	inner = NULL;
	assert_true(closed);
	assert_int_equal(device_read(device, buffer, 512, 0), -ENODEV);
	assert_int_equal(device_write(device, buffer, 512, 0), -ENODEV);
	assert_int_equal(device_flush(device), -ENODEV);
	assert_int_equal(device_discard(device, 0, 512), -ENODEV);
	assert_int_equal(device_zero(device, 0, 512), -ENODEV);
	assert_int_equal(device_next_data(device, 0, &start, &end), -ENODEV);
}

static void permanent_faults_strike_always(void **state)
{
	(void)state;
	arm_one(permanent(10, 2, FAULT_ON_BOTH, ENODATA));
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(read_at(11, 1), -ENODATA);
		assert_int_equal(write_at(10, 1), -ENODATA);
	}
	assert_int_equal(read_at(9, 1), 0);
	assert_int_equal(read_at(12, 1), 0);
	assert_int_equal(read_at(0, SECTORS), -ENODATA);
	assert_int_equal(spent_count, 0);
}

static void on_read_or_write_alone(void **state)
{
	struct fault faults[] = {permanent(10, 1, FAULT_ON_READ, EIO),
				 permanent(20, 1, FAULT_ON_WRITE, EILSEQ)};

	(void)state;
	faults[1].id = 2;
	arm(faults, 2);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(write_at(10, 1), 0);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(write_at(20, 1), -EILSEQ);
	assert_int_equal(read_at(20, 1), 0);
	assert_int_equal(read_at(0, 30), -EIO);
	assert_int_equal(write_at(0, 30), -EILSEQ);
}

/* Of a read that began at sector 5: came has sectors of the device. */
static void assert_came(const bool *came, unsigned count)
{
	for (unsigned i = 0; i < count * SECTOR; i++)
		assert_int_equal(buffer[i], came[5 + i / SECTOR] ? 0xee : 0x11);
}

static void a_failing_read_reads_what_its_way_is(void **state)
{
	static const bool came[3][15] = {
		[FAULT_DOES_NOTHING] = {false},
		[FAULT_DOES_UP_TO] = {[5] = 1, [6] = 1, [7] = 1, [8] = 1, [9] = 1},
		[FAULT_DOES_AROUND] = {[5] = 1, [6] = 1, [7] = 1, [8] = 1, [9] = 1, [12] = 1,
				       [13] = 1, [14] = 1},
	};

	(void)state;
	for (int id = 1; id <= 6; id++) {
		struct fault f = permanent(10, 2, FAULT_ON_READ, ENODATA);

		f.id = id;
		arm_one(f);
		memset(buffer, 0x11, 10 * SECTOR);
		assert_int_equal(read_at(5, 10), -ENODATA);
		assert_came(came[fault_way(&f)], 10);
	}
}

static void a_failing_write_writes_what_lies_before(void **state)
{
	(void)state;
	arm_one(permanent(10, 2, FAULT_ON_WRITE, EIO));
	assert_int_equal(write_at(7, 10), -EIO);
	for (sector_t s = 7; s < 10; s++)
		assert_true(sector_is(s, 0x11));
	for (sector_t s = 10; s < 17; s++)
		assert_true(sector_is(s, 0xee));
	assert_int_equal(write_at(11, 3), -EIO);
	assert_true(sector_is(12, 0xee));
}

static void some_faults_leave_all_of_the_request_unwritten(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_WRITE, EIO);

	(void)state;
	f.id = 3;
	assert_int_equal(fault_way(&f), FAULT_DOES_NOTHING);
	arm_one(f);
	assert_int_equal(write_at(7, 10), -EIO);
	for (sector_t s = 7; s < 17; s++)
		assert_true(sector_is(s, 0xee));
}

/* As dm-error does: every sector that has none of the faults. */
static void some_faults_let_the_rest_be_written(void **state)
{
	struct fault faults[] = {
		{.id = 2, .start = 10, .count = 2, .on = FAULT_ON_WRITE, .error = ENODATA},
		{.id = 5, .start = 14, .count = 1, .on = FAULT_ON_WRITE, .error = EIO,
		 .life = FAULT_TIMES, .times = 1},
		{.id = 8, .start = 18, .count = 9, .on = FAULT_ON_WRITE, .error = EIO},
	};

	(void)state;
	assert_int_equal(fault_way(&faults[0]), FAULT_DOES_AROUND);
	arm(faults, 3);
	assert_int_equal(write_at(7, 13), -ENODATA);
	for (sector_t s = 7; s < 20; s++)
		assert_true(sector_is(s, s == 10 || s == 11 || s == 14 || s >= 18 ? 0xee : 0x11));
	assert_int_equal(spent_count, 1);
	assert_int_equal(write_at(12, 6), 0);
	assert_true(sector_is(14, 0x11));
}

static void a_slow_fault_ends_the_write(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_WRITE, EIO);

	(void)state;
	f.id = 2;
	f.delay_ms = 1;
	arm_one(f);
	assert_int_equal(write_at(7, 10), -EIO);
	assert_true(sector_is(9, 0x11) && sector_is(11, 0xee));
}

static void the_first_of_several_faults_decides(void **state)
{
	struct fault faults[] = {
		{.id = 1, .start = 40, .count = 1, .on = FAULT_ON_WRITE, .error = EIO},
		{.id = 4, .start = 20, .count = 1, .on = FAULT_ON_WRITE, .error = ENODATA},
		{.id = 7, .start = 30, .count = 1, .on = FAULT_ON_WRITE, .error = EILSEQ},
	};

	(void)state;
	arm(faults, 3);
	assert_int_equal(write_at(10, 50), -ENODATA);
	assert_true(sector_is(19, 0x11) && sector_is(20, 0xee) && sector_is(21, 0xee));
	assert_int_equal(write_at(25, 50), -EILSEQ);
	assert_int_equal(write_at(31, 50), -EIO);
}

/* A long fault that begins early must be found behind many short ones. */
static void overlapping_faults(void **state)
{
	struct fault faults[40] = {
		{.id = 100, .start = 0, .count = 200, .on = FAULT_ON_READ, .error = EIO}};

	(void)state;
	for (unsigned i = 1; i < ARRAY_SIZE(faults); i++)
		faults[i] = (struct fault){.id = i, .start = i, .count = 2, .on = FAULT_ON_WRITE,
					   .error = EILSEQ};
	arm(faults, ARRAY_SIZE(faults));
	assert_int_equal(read_at(199, 1), -EIO);
	assert_int_equal(read_at(200, 1), 0);
	assert_int_equal(write_at(40, 1), -EILSEQ);
	assert_int_equal(write_at(41, 159), 0);
	assert_int_equal(write_at(0, 1), 0);
	assert_int_equal(read_at(20, 1), -EIO);
	assert_int_equal(write_at(20, 1), -EILSEQ);
}

/* Random overlapping faults against a table of sectors. */
static void many_faults_as_a_table(void **state)
{
	uint64_t seed = test_seed();
	bool bad[SECTORS] = {false};
	struct fault faults[30];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		sector_t start = random_below(&seed, SECTORS);
		uint64_t count = 1 + random_below(&seed, i % 5 ? 3 : 20);

		count = count < SECTORS - start ? count : SECTORS - start;
		faults[i] = permanent(start, count, FAULT_ON_READ, EIO);
		faults[i].id = i + 1;
		memset(bad + start, true, count);
	}
	arm(faults, ARRAY_SIZE(faults));
	for (unsigned i = 0; i < 20000; i++) {
		sector_t start = random_below(&seed, SECTORS);
		uint64_t count = 1 + random_below(&seed, SECTORS - start < 9 ? SECTORS - start : 9);
		bool expected = memchr(bad + start, true, count) != NULL;

		assert_int_equal(read_at(start, count), expected ? -EIO : 0);
	}
}

static void times_then_healthy(void **state)
{
	struct fault f = permanent(10, 4, FAULT_ON_BOTH, EIO);

	(void)state;
	f.id = 77;
	f.life = FAULT_TIMES;
	f.times = 3;
	arm_one(f);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(read_at(30, 1), 0);
	assert_int_equal(write_at(8, 6), -EIO);
	assert_int_equal(spent_count, 0);
	assert_int_equal(read_at(13, 1), -EIO);
	assert_int_equal(spent_count, 1);
	assert_int_equal(spent_ids[0], 77);
	assert_int_equal(read_at(10, 4), 0);
	assert_int_equal(write_at(10, 4), 0);
	assert_int_equal(spent_count, 1);
}

static void until_rewritten(void **state)
{
	struct fault f = permanent(10, 2, FAULT_ON_READ, EIO);

	(void)state;
	f.id = 5;
	f.life = FAULT_UNTIL_REWRITTEN;
	arm_one(f);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(read_at(11, 1), -EIO);
	assert_int_equal(write_at(20, 5), 0);
	assert_int_equal(read_at(10, 2), -EIO);
	assert_int_equal(write_at(9, 4), 0);
	assert_int_equal(read_at(10, 2), 0);
	assert_int_equal(spent_count, 1);
	assert_int_equal(spent_ids[0], 5);
}

static void zeroing_rewrites_too(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_READ, EIO);

	(void)state;
	f.life = FAULT_UNTIL_REWRITTEN;
	arm_one(f);
	assert_int_equal(device_zero(device, 8 * SECTOR, 8 * SECTOR), 0);
	assert_int_equal(read_at(10, 1), 0);
	assert_int_equal(spent_count, 1);
}

static void a_write_that_fails_before_it_does_not_rewrite(void **state)
{
	struct fault faults[] = {permanent(10, 1, FAULT_ON_READ, EIO),
				 permanent(8, 1, FAULT_ON_WRITE, EIO)};

	(void)state;
	faults[0].life = FAULT_UNTIL_REWRITTEN;
	faults[1].id = 4;
	arm(faults, 2);
	assert_int_equal(write_at(5, 10), -EIO);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(spent_count, 0);
}

static void a_write_that_fails_behind_it_does(void **state)
{
	struct fault faults[] = {permanent(10, 1, FAULT_ON_READ, EIO),
				 permanent(12, 1, FAULT_ON_WRITE, EIO)};

	(void)state;
	faults[0].life = FAULT_UNTIL_REWRITTEN;
	faults[1].id = 4;
	arm(faults, 2);
	assert_int_equal(write_at(5, 10), -EIO);
	assert_int_equal(read_at(10, 1), 0);
}

static void many_rewritten_at_once(void **state)
{
	struct fault faults[200];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++) {
		faults[i] = permanent(i, 1, FAULT_ON_READ, EIO);
		faults[i].id = i + 1;
		faults[i].life = FAULT_UNTIL_REWRITTEN;
	}
	arm(faults, ARRAY_SIZE(faults));
	assert_int_equal(write_at(0, SECTORS), 0);
	assert_int_equal(read_at(0, SECTORS), 0);
	assert_int_equal(spent_count, ARRAY_SIZE(faults));
}

static void erasing_meets_write_faults(void **state)
{
	(void)state;
	arm_one(permanent(10, 1, FAULT_ON_WRITE, EIO));
	assert_int_equal(device_zero(device, 8 * SECTOR, 8 * SECTOR), -EIO);
	assert_int_equal(device_discard(device, 8 * SECTOR, 8 * SECTOR), -EIO);
	assert_true(sector_is(10, 0xee));
	arm_one(permanent(10, 1, FAULT_ON_READ, EIO));
	assert_int_equal(device_zero(device, 8 * SECTOR, 8 * SECTOR), 0);
}

static double seconds_of(int (*call)(sector_t, uint64_t), sector_t sector, int expected)
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_int_equal(call(sector, 1), expected);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
}

static void delays(void **state)
{
	struct fault faults[] = {permanent(10, 1, FAULT_ON_BOTH, EIO),
				 permanent(20, 1, FAULT_ON_READ, 0)};

	(void)state;
	faults[0].delay_ms = 120;
	faults[1].delay_ms = 120;
	faults[1].id = 2;
	arm(faults, 2);
	assert_true(seconds_of(write_at, 10, -EIO) >= 0.12);
	assert_true(seconds_of(read_at, 20, 0) >= 0.12);
	assert_true(seconds_of(write_at, 20, 0) < 0.12);
	assert_true(seconds_of(read_at, 30, 0) < 0.12);
}

/* A fault that is only slow ends as well. */
static void slow_for_some_times(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_READ, 0);

	(void)state;
	f.life = FAULT_TIMES;
	f.times = 2;
	f.delay_ms = 60;
	arm_one(f);
	assert_true(seconds_of(read_at, 10, 0) >= 0.06);
	assert_true(seconds_of(read_at, 10, 0) >= 0.06);
	assert_true(seconds_of(read_at, 10, 0) < 0.06);
	assert_int_equal(spent_count, 1);
}

static void replacing_forgets_the_old_ones(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_BOTH, EIO);

	(void)state;
	arm_one(f);
	assert_int_equal(read_at(10, 1), -EIO);
	f.id = 2;
	f.start = 11;
	arm_one(f);
	assert_int_equal(read_at(10, 1), 0);
	assert_int_equal(read_at(11, 1), -EIO);
	arm(NULL, 0);
	assert_int_equal(read_at(11, 1), 0);
}

static void counts_survive_replacement_by_id(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_BOTH, EIO);
	struct fault both[2];

	(void)state;
	f.life = FAULT_TIMES;
	f.times = 3;
	arm_one(f);
	assert_int_equal(read_at(10, 1), -EIO);
	both[0] = permanent(50, 1, FAULT_ON_BOTH, EIO);
	both[0].id = 9;
	both[1] = f;
	arm(both, 2);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(read_at(10, 1), 0);
	/* Spent; loading the same row again does not bring it back. */
	arm_one(f);
	assert_int_equal(read_at(10, 1), 0);
	/* Another row does. */
	f.id = 3;
	arm_one(f);
	assert_int_equal(read_at(10, 1), -EIO);
}

static void faults_of_other_devices_are_passed_over(void **state)
{
	struct fault faults[] = {permanent(10, 1, FAULT_ON_BOTH, EIO),
				 permanent(20, 1, FAULT_ON_BOTH, EIO),
				 permanent(30, 1, FAULT_ON_BOTH, EIO)};

	(void)state;
	faults[1].spare = 1;
	faults[2].spare = 2;
	arm(faults, 3);
	assert_int_equal(read_at(10, 1), -EIO);
	assert_int_equal(read_at(20, 11), 0);
	assert_int_equal(fault_device_set(device, 2, faults, 3), 0);
	assert_int_equal(read_at(10, 11), 0);
	assert_int_equal(read_at(30, 1), -EIO);
}

static void sectors_are_counted_while_they_fail(void **state)
{
	struct fault faults[] = {permanent(10, 5, FAULT_ON_WRITE, EIO),
				 permanent(20, 1, FAULT_ON_READ, EIO),
				 permanent(30, 1, FAULT_ON_READ, EIO),
				 permanent(40, 1, FAULT_ON_READ, EIO)};

	(void)state;
	assert_int_equal(fault_device_sectors(device), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(faults); i++)
		faults[i].id = i + 1;
	faults[1].life = FAULT_TIMES;
	faults[1].times = 1;
	faults[2].life = FAULT_UNTIL_REWRITTEN;
	faults[3].spare = 1;
	arm(faults, 4);
	assert_int_equal(fault_device_sectors(device), 7);
	assert_int_equal(read_at(20, 1), -EIO);
	assert_int_equal(fault_device_sectors(device), 6);
	assert_int_equal(write_at(30, 1), 0);
	assert_int_equal(fault_device_sectors(device), 5);
	/* What has ended does not count again when it is loaded again. */
	arm(faults, 4);
	assert_int_equal(fault_device_sectors(device), 5);
	arm(NULL, 0);
	assert_int_equal(fault_device_sectors(device), 0);
}

static void sectors_may_be_larger_than_blocks(void **state)
{
	struct ram_device *r = ram_device_new(64 * 4096, SECTOR);
	struct fault f = permanent(2, 1, FAULT_ON_WRITE, EIO);
	struct device *d;

	(void)state;
	assert_int_equal(fault_device_wrap(&r->device, 4096, NULL, NULL, &d), 0);
	assert_int_equal(fault_device_set(d, ON_MAIN, &f, 1), 0);
	assert_int_equal(device_write(d, buffer, SECTOR, 2 * 4096 - SECTOR), 0);
	assert_int_equal(device_write(d, buffer, SECTOR, 2 * 4096), -EIO);
	assert_int_equal(device_write(d, buffer, SECTOR, 3 * 4096 - SECTOR), -EIO);
	assert_int_equal(device_write(d, buffer, SECTOR, 3 * 4096), 0);
	assert_int_equal(device_write(d, buffer, 3 * 4096, 0), -EIO);
	assert_int_equal(r->data[2 * 4096 - 1], 0x11);
	assert_int_equal(r->data[2 * 4096], 0);
	device_close(d);
}

/* ---- threads -------------------------------------------------------------------- */

static void *read_many(void *struck)
{
	uint8_t own[SECTOR];

	for (unsigned i = 0; i < 20000; i++)
		if (device_read(device, own, SECTOR, 10 * SECTOR) < 0)
			__atomic_add_fetch((unsigned *)struck, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* However many threads race for it, a fault strikes as often as it says. */
static void times_are_counted_exactly(void **state)
{
	struct fault f = permanent(10, 1, FAULT_ON_READ, EIO);
	pthread_t threads[4];
	unsigned struck = 0;

	(void)state;
	f.life = FAULT_TIMES;
	f.times = 5000;
	arm_one(f);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_many, &struck), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(struck, 5000);
	assert_int_equal(spent_count, 1);
}

static void replacement_under_load(void **state)
{
	struct fault f = permanent(100, 1, FAULT_ON_READ, EIO);
	pthread_t threads[2];
	unsigned struck = 0;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_many, &struck), 0);
	for (unsigned i = 0; i < 2000; i++) {
		f.id = i + 1;
		arm_one(f);
		assert_int_equal(read_at(100, 1), -EIO);
		arm(NULL, 0);
		assert_int_equal(read_at(100, 1), 0);
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(struck, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_faults_it_is_the_inner_device),
		TEST(errors_of_the_inner_device_pass),
		TEST(closing_closes_the_inner_device),
		TEST(pulled_out_it_is_gone),
		TEST(permanent_faults_strike_always),
		TEST(on_read_or_write_alone),
		TEST(a_failing_read_reads_what_its_way_is),
		TEST(a_failing_write_writes_what_lies_before),
		TEST(some_faults_leave_all_of_the_request_unwritten),
		TEST(some_faults_let_the_rest_be_written),
		TEST(a_slow_fault_ends_the_write),
		TEST(the_first_of_several_faults_decides),
		TEST(overlapping_faults),
		TEST(many_faults_as_a_table),
		TEST(times_then_healthy),
		TEST(until_rewritten),
		TEST(zeroing_rewrites_too),
		TEST(a_write_that_fails_before_it_does_not_rewrite),
		TEST(a_write_that_fails_behind_it_does),
		TEST(many_rewritten_at_once),
		TEST(erasing_meets_write_faults),
		TEST(delays),
		TEST(slow_for_some_times),
		TEST(replacing_forgets_the_old_ones),
		TEST(counts_survive_replacement_by_id),
		TEST(faults_of_other_devices_are_passed_over),
		TEST(sectors_are_counted_while_they_fail),
		TEST(sectors_may_be_larger_than_blocks),
		TEST(times_are_counted_exactly),
		TEST(replacement_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
