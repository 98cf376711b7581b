/*
 * Contract 7: what counts as a sign of life of main. A success does only for errors
 * that were known when its I/O began, and main is asked once more before anything moves.
 * A spare is as it is when the look at it ends.
 */
#include "own_device.h"
#include "scrub_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "volume/volume_impl.h"

#define LOST 10   /* the sector that fails first */
#define HELD 5000 /* whose I/O is under way when main dies, and succeeds */
#define HOLDERS 4
#define HELD_MS 5000

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- I/O that is held over the death ------------------------------------------------ */

static atomic_bool dead;
/* How many are held, may end, and have ended: one I/O for each time that main is asked. */
static atomic_uint held, let_go, ended;

static bool reaches(const atomic_uint *counter, unsigned to)
{
	for (int64_t end = now() + HELD_MS; atomic_load(counter) < to; pause_ms(1))
		if (now() > end)
			return false;
	return true;
}

static int hold(void)
{
	unsigned i = atomic_fetch_add(&held, 1);

	reaches(&let_go, i + 1);
	return 0;
}

/* Once main is dead nothing works that begins; each time that it is asked, one ends that did. */
static int held_over_death(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	(void)call;
	(void)count;
	if (name[0] != 'm')
		return 0;
	if (!atomic_load(&dead))
		return start >= HELD && start < HELD + HOLDERS ? hold() : 0;
	/* What the request itself does again is no question. */
	if (start > LOST + 8 && atomic_load(&let_go) < HOLDERS) {
		unsigned n = atomic_fetch_add(&let_go, 1) + 1;

		reaches(&ended, n);
	}
	return -EIO;
}

static struct holder {
	pthread_t thread;
	sector_t sector;
	bool reads, begun;
} holders[HOLDERS];

static void *do_held(void *context)
{
	const struct holder *h = context;
	void *data = aligned_buffer(512);
	int rc = h->reads ? volume_read(volume, data, 512, h->sector * 512)
			  : volume_write(volume, data, 512, h->sector * 512);

	free(data);
	atomic_fetch_add(&ended, 1);
	return (void *)(intptr_t)rc;
}

static void begin_held(bool reads)
{
	atomic_store(&dead, false);
	atomic_store(&held, 0);
	atomic_store(&let_go, 0);
	atomic_store(&ended, 0);
	open_with_rule(held_over_death, (struct volume_options){0});
	for (unsigned i = 0; i < HOLDERS; i++) {
		holders[i] = (struct holder){.sector = HELD + i, .reads = reads, .begun = true};
		assert_int_equal(pthread_create(&holders[i].thread, NULL, do_held, &holders[i]), 0);
	}
	assert_true(reaches(&held, HOLDERS));
	atomic_store(&dead, true);
}

static void end_held(void)
{
	atomic_store(&let_go, HOLDERS);
	for (unsigned i = 0; i < HOLDERS; i++)
		if (holders[i].begun)
			pthread_join(holders[i].thread, NULL);
	memset(holders, 0, sizeof(holders));
}

static int end_all(void **state)
{
	end_held();
	return volume_teardown(state);
}

static void assert_dead(void)
{
	assert_true(status_now().main_failed);
	assert_counts(0, 0);
	assert_int_equal(events("device_failed"), 1);
	assert_int_equal(events("device_works"), 0);
}

/* What was under way at the death and ends well afterwards says nothing. */
static void writes_do_not_move(uint64_t count)
{
	begin_held(false);
	assert_int_equal(write_sectors_of(LOST, count, 1), -EIO);
	assert_true(atomic_load(&let_go) > 0);
	assert_dead();
	end_held();
	assert_dead();
}

static void a_write_of_before_is_no_sign_for_a_sector(void **state)
{
	(void)state;
	writes_do_not_move(1);
}

static void a_write_of_before_is_no_sign_for_many(void **state)
{
	(void)state;
	writes_do_not_move(8);
}

static void a_read_of_before_is_no_sign(void **state)
{
	(void)state;
	begin_held(true);
	assert_int_equal(read_sectors_of(LOST, 1, 0), -EIO);
	assert_true(atomic_load(&let_go) > 0);
	assert_dead();
	end_held();
	assert_dead();
}

/* ---- the same of I/O that nobody asked for -------------------------------------------- */

static atomic_bool armed;

/* Main dies while a piece of a scrub is read, or HELD is put back on it. */
static int held_once(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	if (name[0] != 'm')
		return 0;
	if (atomic_load(&dead))
		return -EIO;
	if (call == CALL_WRITE ? start != HELD : count <= 8)
		return 0;
	return atomic_exchange(&armed, false) ? hold() : 0;
}

static void open_armed(void)
{
	atomic_store(&dead, false);
	atomic_store(&held, 0);
	atomic_store(&let_go, 0);
	open_with_rule(held_once, (struct volume_options){0});
	atomic_store(&armed, true);
}

static void a_scrub_of_before_is_no_sign(void **state)
{
	(void)state;
	open_armed();
	start(0);
	assert_true(reaches(&held, 1));
	atomic_store(&dead, true);
	assert_int_equal(read_sectors_of(LOST, 1, 0), -EIO);
	assert_dead();
	atomic_store(&let_go, 1);
	wait_for(SCRUB_PAUSED);
	assert_dead();
}

static void *unmap_held(void *context)
{
	const struct sector_range range = {.start = HELD, .count = 1};
	struct volume_progress *done = context;
	struct error err;

	return (void *)(intptr_t)volume_unmap(volume, &range, 1, 0, done, &err);
}

static void what_is_put_back_is_no_sign(void **state)
{
	struct volume_progress done;
	pthread_t thread;

	(void)state;
	bad_sectors(HELD, 1, FAULT_ON_WRITE);
	assert_written(HELD, 1, 1);
	clear_faults();
	open_armed();
	assert_int_equal(pthread_create(&thread, NULL, unmap_held, &done), 0);
	assert_true(reaches(&held, 1));
	atomic_store(&dead, true);
	assert_int_equal(write_sectors_of(LOST, 1, 1), -EIO);
	atomic_store(&let_go, 1);
	pthread_join(thread, NULL);
	assert_true(status_now().main_failed);
	assert_counts(1, 0);
	assert_int_equal(events("device_works"), 0);
}

/* ---- the same of I/O that the caller does -------------------------------------------- */

static struct volume_io *_Atomic queued[HOLDERS];

/* Each time that main is asked, one more ends. */
static int finished_after_death(const char *name, enum device_call call, sector_t start,
				uint64_t count)
{
	struct volume_io *io = NULL;

	(void)call;
	(void)count;
	if (name[0] != 'm' || !atomic_load(&dead))
		return 0;
	for (unsigned i = 0; !io && i < HOLDERS && start != LOST; i++)
		io = atomic_exchange(&queued[i], NULL);
	if (io)
		volume_finish(volume, io, 0);
	return -EIO;
}

static void queued_io_is_no_sign(bool reads)
{
	struct volume_io *io[HOLDERS];
	void *data = aligned_buffer(512);

	atomic_store(&dead, false);
	open_with_rule(finished_after_death, (struct volume_options){0});
	for (unsigned i = 0; i < HOLDERS; i++) {
		io[i] = volume_io_new();
		assert_true(reads ? volume_start_read(volume, data, 512, (HELD + i) * 512, io[i])
				  : volume_start_write(volume, data, 512, (HELD + i) * 512, io[i]));
		atomic_store(&queued[i], io[i]);
	}
	atomic_store(&dead, true);
	assert_int_equal(reads ? read_sectors_of(LOST, 1, 0) : write_sectors_of(LOST, 1, 1), -EIO);
	assert_null(atomic_load(&queued[HOLDERS - 1]));
	assert_dead();
	for (unsigned i = 0; i < HOLDERS; i++)
		volume_io_free(io[i]);
	free(data);
}

static void a_queued_write_of_before_is_no_sign(void **state)
{
	(void)state;
	queued_io_is_no_sign(false);
}

static void a_queued_read_of_before_is_no_sign(void **state)
{
	(void)state;
	queued_io_is_no_sign(true);
}

/* One that begins when main is back is. */
static void queued_io_of_after_is_a_sign(void **state)
{
	struct volume_io *io = volume_io_new();
	void *data = aligned_buffer(512);

	(void)state;
	queued_io_is_no_sign(true);
	atomic_store(&dead, false);
	assert_true(volume_start_read(volume, data, 512, HELD * 512, io));
	assert_int_equal(volume_finish(volume, io, 0), 0);
	assert_false(status_now().main_failed);
	volume_io_free(io);
	free(data);
}

/* ---- once more before anything moves --------------------------------------------------- */

static atomic_uint calls_left;

/* Main refuses LOST, and after so many calls everything. */
static int dies_after(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	(void)call;
	if (name[0] != 'm')
		return 0;
	if (atomic_load(&calls_left) == 0)
		return -EIO;
	atomic_fetch_sub(&calls_left, 1);
	return start <= LOST && LOST < start + count ? -EIO : 0;
}

/* The write; a sector read and written elsewhere; and then nothing any more. */
static void one_sector_is_judged_again(void **state)
{
	(void)state;
	atomic_store(&calls_left, UINT32_MAX);
	open_with_rule(dies_after, (struct volume_options){0});
	atomic_store(&calls_left, 3);
	assert_int_equal(write_sectors_of(LOST, 1, 1), -EIO);
	assert_dead();
	atomic_store(&calls_left, UINT32_MAX);
	assert_written(LOST, 1, 2);
	assert_counts(1, 0);
	assert_false(status_now().main_failed);
}

#define TIME_MS 200

/* LOST takes all the time of the request; main dies while the slot beside it is written. */
static int dies_out_of_time(const char *name, enum device_call call, sector_t start,
			    uint64_t count)
{
	if (call == CALL_WRITE && name[0] == 's')
		atomic_store(&dead, true);
	if (name[0] != 'm')
		return 0;
	if (atomic_load(&dead))
		return -EIO;
	if (call != CALL_WRITE || start > LOST || LOST >= start + count)
		return 0;
	pause_ms(2 * TIME_MS);
	return -EIO;
}

static void what_was_not_tried_is_judged(void **state)
{
	(void)state;
	bad_sectors(LOST + 1, 1, FAULT_ON_WRITE);
	assert_written(LOST + 1, 1, 1);
	clear_faults();
	atomic_store(&dead, false);
	open_with_rule(dies_out_of_time, (struct volume_options){.isolation_ms = TIME_MS});
	assert_int_equal(write_sectors_of(LOST, 3, 2), -EIO);
	assert_true(atomic_load(&dead));
	assert_counts(1, 0);
	assert_true(status_now().main_failed);
}

/* ---- a spare that comes back ------------------------------------------------------------- */

/* Its slots fail, its superblocks do not; and LOST is read while these are looked at. */
static int slots_fail(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	_Alignas(VOLUME_ALIGNMENT) uint8_t sector[512];

	(void)count;
	if (name[0] != 's' || call != CALL_READ)
		return 0;
	if (start >= first_slot() && start < first_slot() + 8)
		return -ENXIO;
	if (atomic_exchange(&armed, false))
		assert_int_equal(volume_read(volume, sector, sizeof(sector), LOST * 512), -EIO);
	return 0;
}

static void a_spare_that_fails_while_it_is_looked_at_stays_failed(void **state)
{
	(void)state;
	bad_sectors(LOST, 1, FAULT_ON_WRITE);
	assert_written(LOST, 1, 1);
	atomic_store(&armed, false);
	open_with_rule(slots_fail, (struct volume_options){0});
	assert_lost(LOST, 1);
	assert_non_null(strstr(trouble_now(), "does not answer"));
	atomic_store(&armed, true);
	watch_devices(volume);
	assert_false(atomic_load(&armed));
	assert_non_null(strstr(trouble_now(), "does not answer"));
	watch_devices(volume);
	assert_string_equal(trouble_now(), "");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, end_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_write_of_before_is_no_sign_for_a_sector),
		TEST(a_write_of_before_is_no_sign_for_many),
		TEST(a_read_of_before_is_no_sign),
		TEST(a_scrub_of_before_is_no_sign),
		TEST(what_is_put_back_is_no_sign),
		TEST(a_queued_write_of_before_is_no_sign),
		TEST(a_queued_read_of_before_is_no_sign),
		TEST(queued_io_of_after_is_a_sign),
		TEST(one_sector_is_judged_again),
		TEST(what_was_not_tried_is_judged),
		TEST(a_spare_that_fails_while_it_is_looked_at_stays_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
