/*
 * Contract 13: what fails is told, and no longer than it does. Each watch_devices stands
 * for the look of a second (src/volume/device_watch.c).
 */
#include "own_device.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/spare.h"
#include "volume/volume_impl.h"

#define HELD_MS 5000

/* What main ("m") or the spares ("s") refuse from now on: calls, by enum device_call. */
struct refusal {
	char who;
	unsigned calls;
	sector_t start, end; /* end 0: everywhere */
	int error;
};

static struct refusal refusals[2];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void refuse(unsigned i, struct refusal r)
{
	pthread_mutex_lock(&lock);
	refusals[i] = r;
	pthread_mutex_unlock(&lock);
}

static void refuse_nothing(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++)
		refuse(i, (struct refusal){0});
}

static int refused(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	int rc = 0;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; rc == 0 && i < ARRAY_SIZE(refusals); i++) {
		const struct refusal *r = &refusals[i];

		if (name[0] == r->who && r->calls & 1u << call &&
		    (r->end == 0 || (start < r->end && r->start < start + count)))
			rc = -r->error;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

#define READS (1u << CALL_READ)
#define WRITES (1u << CALL_WRITE)
#define FLUSHES (1u << CALL_FLUSH)

static int setup(void **state)
{
	refuse_nothing();
	if (volume_setup(state) < 0)
		return -1;
	open_with_rule(refused, (struct volume_options){0});
	return 0;
}

/* ---- main's file system is full ------------------------------------------------------ */

static void fill_main(sector_t start, uint64_t count)
{
	refuse(0, (struct refusal){'m', WRITES, 0, MAIN_BYTES / 512, ENOSPC});
	assert_int_equal(write_sectors_of(start, count, 1), -ENOSPC);
	watch_devices(volume);
	assert_true(status_now().main_full);
	assert_non_null(strstr(trouble_now(), "is full"));
}

static void assert_room(bool room)
{
	watch_devices(volume);
	assert_int_equal(status_now().main_full, !room);
	assert_int_equal(events("device_works"), room);
}

static void main_full_ends_with_room(void **state)
{
	(void)state;
	fill_main(96, 24);
	refuse_nothing();
	assert_room(true);
	assert_string_equal(trouble_now(), "");
	assert_written(96, 24, 2);
}

static void at_the_end_of_main(void **state)
{
	(void)state;
	fill_main(MAIN_BYTES / 512 - 3, 3);
	refuse_nothing();
	assert_room(true);
}

/* One block of the two has room. */
static void there_is_to_be_room_in_each_block(void **state)
{
	(void)state;
	fill_main(7, 2);
	refuse(0, (struct refusal){'m', WRITES, 0, 8, ENOSPC});
	assert_room(false);
	refuse(0, (struct refusal){'m', WRITES, 8, 16, EDQUOT});
	assert_room(false);
	refuse_nothing();
	assert_room(true);
}

/* That is no question of room. */
static void main_full_ends_where_nothing_can_be_read(void **state)
{
	(void)state;
	fill_main(96, 24);
	refuse(0, (struct refusal){'m', READS, 96, 120, EIO});
	assert_room(true);
}

static void main_full_ends_where_writes_fail_otherwise(void **state)
{
	(void)state;
	fill_main(96, 24);
	refuse(0, (struct refusal){'m', WRITES, 96, 120, EIO});
	assert_room(true);
}

static void a_place_in_use_is_asked_later(void **state)
{
	struct volume_io *io = volume_io_new();
	void *data = aligned_buffer(4096);

	(void)state;
	fill_main(96, 8);
	refuse_nothing();
	assert_true(volume_start_write(volume, data, 4096, 96 * 512, io));
	assert_room(false);
	assert_int_equal(volume_finish(volume, io, 0), 0);
	assert_room(true);
	volume_io_free(io);
	free(data);
}

/* ---- a spare's is --------------------------------------------------------------------------- */

static void fill_spare(void)
{
	refuse(0, (struct refusal){'m', WRITES, 10, 11, EIO});
	refuse(1, (struct refusal){'s', WRITES, 0, 0, ENOSPC});
	assert_int_equal(write_sectors_of(10, 1, 1), -EIO);
	watch_devices(volume);
	assert_int_equal(status_now().free_slots, 0);
	assert_non_null(strstr(trouble_now(), "is full"));
}

static void spare_full_ends_with_room(void **state)
{
	(void)state;
	fill_spare();
	refuse(1, (struct refusal){0});
	watch_devices(volume);
	assert_string_equal(trouble_now(), "");
	assert_written(10, 1, 2);
	assert_counts(1, 0);
}

/* The slot that found no room is bad besides: others are not. */
static void spare_full_ends_where_a_slot_is_bad(void **state)
{
	sector_t slots = spare_layout(1 * MiB, 512).slots_offset / 512;

	(void)state;
	fill_spare();
	refuse(1, (struct refusal){'s', WRITES, slots, slots + 1, EIO});
	watch_devices(volume);
	assert_string_equal(trouble_now(), "");
	assert_written(10, 1, 2);
}

/* ---- a spare that fails and comes back -------------------------------------------------------- */

static void assert_spare_failed(void)
{
	watch_devices(volume);
	assert_int_equal(status_now().free_slots, 0);
	assert_int_not_equal(strlen(trouble_now()), 0);
}

static void lose_spare(unsigned calls)
{
	refuse(0, (struct refusal){'m', WRITES, 10, 11, EIO});
	refuse(1, (struct refusal){'s', calls, 0, 0, EIO});
	assert_int_equal(write_sectors_of(10, 1, 1), -EIO);
	assert_spare_failed();
}

static void it_is_used_again(void **state)
{
	(void)state;
	lose_spare(READS | WRITES | FLUSHES);
	refuse(1, (struct refusal){0});
	watch_devices(volume);
	assert_string_equal(trouble_now(), "");
	assert_written(10, 1, 2);
	reopen_volume();
	assert_int_equal(events("device_works"), 1);
	assert_read(10, 1, 2);
}

/* What it did not flush may be lost. */
static void not_if_a_flush_failed(void **state)
{
	(void)state;
	refuse(0, (struct refusal){'m', WRITES, 10, 11, EIO});
	assert_written(10, 1, 1);
	assert_written(10, 1, 2);
	refuse(1, (struct refusal){'s', FLUSHES, 0, 0, EIO});
	assert_int_equal(volume_flush(volume), -EIO);
	refuse(1, (struct refusal){'s', READS, 0, 0, EIO});
	assert_lost(10, 1);
	assert_spare_failed();
	refuse(1, (struct refusal){0});
	assert_spare_failed();
}

#define SUPERBLOCK 4096

/* Meanwhile an older copy took its place. */
static void not_if_its_superblocks_are_older(void **state)
{
	static uint8_t old[2][SUPERBLOCK], last[2][SUPERBLOCK];
	static const uint64_t at_offset[2] = {0, 1 * MiB - SUPERBLOCK};

	(void)state;
	for (int i = 0; i < 2; i++)
		get_bytes(at("spare1"), at_offset[i], old[i], SUPERBLOCK);
	bad_sectors(20, 3, FAULT_ON_WRITE);
	for (sector_t s = 20; s < 23; s++)
		assert_written(s, 1, 1);
	lose_spare(READS | WRITES | FLUSHES);
	for (int i = 0; i < 2; i++) {
		get_bytes(at("spare1"), at_offset[i], last[i], SUPERBLOCK);
		put_bytes(at("spare1"), at_offset[i], old[i], SUPERBLOCK);
	}
	refuse(1, (struct refusal){0});
	assert_spare_failed();
	for (int i = 0; i < 2; i++)
		put_bytes(at("spare1"), at_offset[i], last[i], SUPERBLOCK);
	watch_devices(volume);
	assert_string_equal(trouble_now(), "");
	assert_read(20, 3, 1);
}

/* ---- a spare that does not answer --------------------------------------------------------------- */

static atomic_bool held, let_go;

static int hangs(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	(void)start;
	(void)count;
	if (name[0] != 's' || call != CALL_LOOK)
		return 0;
	atomic_store(&held, true);
	for (int64_t end = now_ms() + HELD_MS; !atomic_load(&let_go) && now_ms() < end;)
		pause_ms(1);
	return 0;
}

static void *watch_once(void *context)
{
	watch_devices(context);
	return NULL;
}

static void a_silent_spare_is_told(void **state)
{
	pthread_t thread;

	(void)state;
	atomic_store(&held, false);
	atomic_store(&let_go, false);
	open_with_rule(hangs, (struct volume_options){0});
	assert_int_equal(pthread_create(&thread, NULL, watch_once, volume), 0);
	for (int64_t end = now_ms() + HELD_MS; !atomic_load(&held) && now_ms() < end;)
		pause_ms(1);
	assert_string_equal(trouble_now(), "");
	/* Later. */
	atomic_store(&volume->looking_since, now_ms() - 5001);
	assert_non_null(strstr(trouble_now(), "has not answered for 5 s"));
	assert_int_equal(status_now().troubles.all[0].state, VOLUME_FAILED);
	atomic_store(&let_go, true);
	pthread_join(thread, NULL);
	assert_string_equal(trouble_now(), "");
}

/* ---- without remapping ------------------------------------------------------------------------------ */

static void main_that_is_gone_is_told_without_remapping(void **state)
{
	static const int errors[] = {EIO, ENXIO};

	(void)state;
	open_with_rule(refused, (struct volume_options){.no_remap = true});
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		refuse(0, (struct refusal){'m', READS | WRITES, 0, 0, errors[i]});
		assert_int_equal(write_sectors_of(10, 1, 1), -EIO);
		assert_non_null(strstr(trouble_now(), "does not answer"));
		assert_int_equal(read_sectors_of(10, 1, 1), -EIO);
		refuse_nothing();
		assert_written(10, 1, 2);
		assert_read(10, 1, 2);
		assert_string_equal(trouble_now(), "");
	}
	/* As from the bare disk. */
	refuse(0, (struct refusal){'m', READS | WRITES, 10, 11, EIO});
	assert_int_equal(write_sectors_of(10, 1, 3), -EIO);
	assert_int_equal(read_sectors_of(10, 1, 3), -EIO);
	assert_string_equal(trouble_now(), "");
	assert_counts(0, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(main_full_ends_with_room),
		TEST(at_the_end_of_main),
		TEST(there_is_to_be_room_in_each_block),
		TEST(main_full_ends_where_nothing_can_be_read),
		TEST(main_full_ends_where_writes_fail_otherwise),
		TEST(a_place_in_use_is_asked_later),
		TEST(spare_full_ends_with_room),
		TEST(spare_full_ends_where_a_slot_is_bad),
		TEST(it_is_used_again),
		TEST(not_if_a_flush_failed),
		TEST(not_if_its_superblocks_are_older),
		TEST(a_silent_spare_is_told),
		TEST(main_that_is_gone_is_told_without_remapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
