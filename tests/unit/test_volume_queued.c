/* include/remapfs/volume.h: reads and writes of which the caller does the I/O. */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct volume_io *io, *other;

static int setup(void **state)
{
	io = volume_io_new();
	other = volume_io_new();
	return io && other ? volume_setup(state) : -1;
}

static int teardown(void **state)
{
	volume_io_free(io);
	volume_io_free(other);
	return volume_teardown(state);
}

static bool start_read(struct volume_io *i, sector_t start, uint64_t count)
{
	return volume_start_read(volume, buffer, count * 512, start * 512, i);
}

static bool start_write(struct volume_io *i, sector_t start, uint64_t count, uint8_t tag)
{
	fill_sectors(start, count, tag);
	return volume_start_write(volume, buffer, count * 512, start * 512, i);
}

static int do_it(struct volume_io *i)
{
	return i->write ? device_write(i->device, i->buf, i->length, i->offset)
			: device_read(i->device, i->buf, i->length, i->offset);
}

static int finish(struct volume_io *i)
{
	return volume_finish(volume, i, do_it(i));
}

static void what_lies_in_one_place_can_be_started(void **state)
{
	(void)state;
	assert_true(start_write(io, 100, 8, 1));
	assert_int_equal(finish(io), 0);
	assert_read(100, 8, 1);
	memset(buffer, 0, 8 * 512);
	assert_true(start_read(io, 100, 8));
	assert_int_equal(finish(io), 0);
	assert_int_equal(status_now().writes, 1);
	assert_int_equal(status_now().reads, 2);
}

static void what_takes_more_cannot(void **state)
{
	(void)state;
	assert_false(volume_start_read(volume, buffer + 1, 512, 0, io));
	assert_false(volume_start_read(volume, buffer, 100, 0, io));
	assert_false(volume_start_read(volume, buffer, 512, 100, io));
	assert_false(volume_start_read(volume, buffer, 0, 0, io));
	assert_false(volume_start_read(volume, buffer, 512, MAIN_BYTES, io));
	assert_false(volume_start_write(volume, buffer, 512, MAIN_BYTES - 256, io));
	bad_sectors(1000, 4, FAULT_ON_BOTH);
	/* A simulated fault is no device's: it takes a thread that suffers it. */
	assert_false(start_write(io, 1003, 2, 1));
	assert_false(start_read(io, 1003, 2));
	assert_written(1000, 4, 2);
	assert_false(start_read(io, 999, 8));
	assert_false(start_write(io, 1000, 4, 3));
	assert_read(1000, 4, 2);
}

static void a_remapped_run_is_read_from_its_spare(void **state)
{
	(void)state;
	bad_sectors(1000, 4, FAULT_ON_WRITE);
	assert_written(1000, 4, 5);
	memset(buffer, 0, 4 * 512);
	assert_true(start_read(io, 1000, 4));
	assert_int_equal(finish(io), 0);
	assert_int_equal(read_sectors_of(1000, 4, 5), 0);
}

static void a_range_that_is_held_cannot(void **state)
{
	(void)state;
	assert_true(start_write(io, 100, 8, 1));
	assert_false(start_write(other, 107, 8, 2));
	assert_false(start_read(other, 100, 1));
	assert_int_equal(finish(io), 0);
	assert_true(start_read(io, 100, 8));
	assert_true(start_read(other, 100, 8));
	assert_int_equal(finish(other), 0);
	assert_false(start_write(other, 100, 8, 1));
	assert_int_equal(finish(io), 0);
	assert_true(start_write(other, 100, 8, 2));
	assert_int_equal(finish(other), 0);
	assert_read(100, 8, 2);
}

struct waiting {
	atomic_bool done;
};

static void *write_there(void *arg)
{
	struct waiting *w = arg;
	uint8_t *data = aligned_buffer(512);

	assert_int_equal(volume_write(volume, data, 512, 104 * 512), 0);
	atomic_store(&w->done, true);
	free(data);
	return NULL;
}

static void others_wait_until_it_is_finished(void **state)
{
	struct waiting w = {false};
	pthread_t thread;

	(void)state;
	assert_true(start_write(io, 100, 8, 1));
	assert_int_equal(pthread_create(&thread, NULL, write_there, &w), 0);
	pause_ms(50);
	assert_false(atomic_load(&w.done));
	assert_int_equal(finish(io), 0);
	pthread_join(thread, NULL);
	assert_true(atomic_load(&w.done));
}

static void io_that_was_not_done_is_done(void **state)
{
	(void)state;
	assert_true(start_write(io, 100, 8, 7));
	assert_int_equal(volume_finish(volume, io, -EAGAIN), 0);
	assert_read(100, 8, 7);
	memset(buffer, 0, 8 * 512);
	assert_true(start_read(io, 100, 8));
	assert_int_equal(volume_finish(volume, io, -EAGAIN), 0);
	for (unsigned i = 0; i < 8 * 512; i++)
		if (buffer[i])
			return;
	fail_msg("nothing was read");
}

/* The sectors have gone bad between the start and the I/O. */
static void a_failed_write_moves(void **state)
{
	(void)state;
	assert_written(100, 8, 1);
	assert_true(start_write(io, 100, 8, 9));
	bad_sectors(102, 2, FAULT_ON_WRITE);
	fill_sectors(100, 8, 9);
	assert_int_equal(volume_finish(volume, io, -EIO), 0);
	assert_string_equal(remaps(), "102+2");
	assert_read(100, 8, 9);
}

static void a_failed_read_makes_pending(void **state)
{
	(void)state;
	assert_written(100, 8, 1);
	assert_true(start_read(io, 100, 8));
	bad_sectors(102, 2, FAULT_ON_READ);
	assert_int_equal(volume_finish(volume, io, -EIO), -EIO);
	assert_counts(0, 2);
	assert_lost(102, 2);
	assert_read(104, 4, 1);
	/* The range is free. */
	assert_written(100, 8, 2);
}

/* Nothing fails when it is tried again, so nothing is lost. */
static void a_read_that_failed_once_is_read_again(void **state)
{
	(void)state;
	assert_written(100, 1, 1);
	memset(buffer, 0, 512);
	assert_true(start_read(io, 100, 1));
	assert_int_equal(volume_finish(volume, io, -EIO), 0);
	assert_counts(0, 0);
}

static void a_device_that_is_gone_moves_nothing(void **state)
{
	(void)state;
	assert_written(100, 8, 1);
	assert_true(start_write(io, 100, 8, 2));
	assert_int_equal(volume_finish(volume, io, -ENODEV), -EIO);
	assert_counts(0, 0);
	assert_true(events("device_failed") > 0);
}

static void read_only_is_not_written(void **state)
{
	const struct volume_options options = {.read_only = true};

	(void)state;
	assert_written(100, 1, 1);
	close_volume();
	open_volume_with(&options);
	assert_false(start_write(io, 100, 1, 2));
	memset(buffer, 0, 512);
	assert_true(start_read(io, 100, 1));
	assert_int_equal(finish(io), 0);
	close_volume();
	open_volume();
}

/* Two spares. */
static int setup_small(void **state)
{
	io = volume_io_new();
	other = volume_io_new();
	return volume_setup_small_spare(state);
}

static bool has_left(void)
{
	for (int i = 0; i < 250 && !events("spare_lost"); i++)
		pause_ms(20);
	return events("spare_lost");
}

/* Two read a slot; the first finds it bad, so that the spare holds nothing any more. */
static void a_lost_spare_stays_while_it_is_read(void **state)
{
	struct error err;

	(void)state;
	bad_sectors(1000, 1, FAULT_ON_WRITE);
	assert_written(1000, 1, 5);
	assert_true(start_read(io, 1000, 1));
	assert_true(start_read(other, 1000, 1));
	bad_slots(1, 0, 1000, FAULT_ON_READ);
	bad_slots(2, 0, 1000, FAULT_ON_READ);
	assert_int_equal(volume_finish(volume, io, -EIO), -EIO);
	assert_counts(0, 1);
	assert_int_equal(volume_retire_spare(volume,
					     (spare_id_t)ask_number("SELECT spare_id FROM pending"),
					     true, &err), 0);
	pause_ms(300);
	assert_int_equal(events("spare_lost"), 0);
	assert_int_equal(finish(other), 0);
	assert_true(has_left());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_lies_in_one_place_can_be_started, setup, teardown),
		cmocka_unit_test_setup_teardown(what_takes_more_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(a_remapped_run_is_read_from_its_spare, setup, teardown),
		cmocka_unit_test_setup_teardown(a_range_that_is_held_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(others_wait_until_it_is_finished, setup, teardown),
		cmocka_unit_test_setup_teardown(io_that_was_not_done_is_done, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_write_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failed_read_makes_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(a_read_that_failed_once_is_read_again, setup, teardown),
		cmocka_unit_test_setup_teardown(a_device_that_is_gone_moves_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_is_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(a_lost_spare_stays_while_it_is_read, setup_small,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
