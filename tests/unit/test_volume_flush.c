/*
 * Contract 5: fsync covers everything. Many callers share a flush, but only one
 * that began after they called; and one that failed is told to all that it served.
 */
#include "own_device.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define CALLERS 16
#define FLUSH_MS 100

/* However late some of the callers come: those who do begin flushes of their own. */
#define FLUSHES_MAX 4

static atomic_uint main_flushes, spare_flushes, flushing, to_come;
static atomic_int answer; /* of the flushes of main */

static void pause_for(unsigned ms)
{
	const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static int slow_flush(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	(void)start;
	(void)count;
	if (call != CALL_FLUSH)
		return 0;
	atomic_fetch_add(name[0] == 'm' ? &main_flushes : &spare_flushes, 1);
	atomic_fetch_add(&flushing, 1);
	for (int ms = 0; ms < 20000 && atomic_load(&to_come) > 0; ms++)
		pause_for(1);
	pause_for(FLUSH_MS);
	atomic_fetch_sub(&flushing, 1);
	return name[0] == 'm' ? atomic_load(&answer) : 0;
}

/* As the kernel has it: the first flush of main fails, and the next knows nothing of it. */
static int first_fails(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	(void)start;
	(void)count;
	if (call != CALL_FLUSH || name[0] != 'm' || atomic_fetch_add(&main_flushes, 1) > 0)
		return 0;
	atomic_fetch_add(&flushing, 1);
	pause_for(5 * FLUSH_MS);
	atomic_fetch_sub(&flushing, 1);
	return -EIO;
}

static void open_slow(void)
{
	open_with_rule(slow_flush, (struct volume_options){0});
	atomic_store(&answer, 0);
	atomic_store(&main_flushes, 0);
	atomic_store(&spare_flushes, 0);
}

/* A write in place, so that there is something to flush, and an fsync. */
static void *write_and_flush(void *context)
{
	sector_t sector = *(sector_t *)context;
	void *own = aligned_buffer(512);
	intptr_t rc;

	assert_int_equal(volume_write(volume, own, 512, sector * 512), 0);
	atomic_fetch_sub(&to_come, 1);
	rc = volume_flush(volume);
	free(own);
	return (void *)rc;
}

static void flush_all_at_once(sector_t first, intptr_t expected)
{
	pthread_t threads[CALLERS];
	sector_t sectors[CALLERS];
	void *rc;

	atomic_store(&to_come, CALLERS);
	for (unsigned i = 0; i < CALLERS; i++) {
		sectors[i] = first + i;
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_flush, &sectors[i]), 0);
	}
	for (unsigned i = 0; i < CALLERS; i++) {
		pthread_join(threads[i], &rc);
		assert_int_equal((intptr_t)rc, expected);
	}
	print_message("%u callers: %u flushes of main, %u of the spare\n", CALLERS,
		      atomic_load(&main_flushes), atomic_load(&spare_flushes));
}

static void *flush(void *context)
{
	(void)context;
	return (void *)(intptr_t)volume_flush(volume);
}

static void wait_for_a_flush(void)
{
	for (int ms = 0; ms < 20000 && atomic_load(&flushing) == 0; ms++)
		pause_for(1);
	assert_int_equal(atomic_load(&flushing), 1);
}

/* While one flush is under way, all of them come. */
static void many_callers_share_flushes_of_main(void **state)
{
	pthread_t first;

	(void)state;
	open_slow();
	atomic_store(&to_come, CALLERS);
	assert_int_equal(pthread_create(&first, NULL, flush, NULL), 0);
	wait_for_a_flush();
	flush_all_at_once(100, 0);
	pthread_join(first, NULL);
	assert_true(atomic_load(&main_flushes) <= FLUSHES_MAX);
}

static void many_callers_share_flushes_of_a_spare(void **state)
{
	(void)state;
	bad_sectors(100, CALLERS, FAULT_ON_WRITE);
	assert_written(100, CALLERS, 1);
	/* So that overwriting needs no confirmation any more. */
	reopen_volume();
	open_slow();
	flush_all_at_once(100, 0);
	assert_true(atomic_load(&spare_flushes) <= FLUSHES_MAX);
}

/* The one that is under way may have missed what was written since it began. */
static void a_flush_from_before_the_call_serves_nobody(void **state)
{
	pthread_t first;

	(void)state;
	open_slow();
	assert_int_equal(pthread_create(&first, NULL, flush, NULL), 0);
	wait_for_a_flush();
	assert_written(10, 1, 1);
	assert_int_equal(volume_flush(volume), 0);
	assert_int_equal(atomic_load(&main_flushes), 2);
	pthread_join(first, NULL);
	/* And one that is over serves nobody either. */
	assert_int_equal(volume_flush(volume), 0);
	assert_int_equal(atomic_load(&main_flushes), 3);
}

static void close_failed(void)
{
	struct volume *v = volume;

	set_rule(NULL);
	volume = NULL;
	assert_true(volume_close(v) < 0);
}

/* Whoever calls while a flush fails must not have a success from the one after it. */
static void a_flush_that_fails_is_not_overtaken(void **state)
{
	pthread_t first;
	void *rc;

	(void)state;
	open_with_rule(first_fails, (struct volume_options){0});
	atomic_store(&main_flushes, 0);
	assert_written(10, 1, 1);
	assert_int_equal(pthread_create(&first, NULL, flush, NULL), 0);
	wait_for_a_flush();
	assert_int_equal(volume_flush(volume), -EIO);
	pthread_join(first, &rc);
	assert_int_equal((intptr_t)rc, -EIO);
	close_failed();
}

static void a_flush_that_failed_is_told_to_all(void **state)
{
	(void)state;
	open_slow();
	atomic_store(&answer, -EIO);
	flush_all_at_once(100, -EIO);
	assert_true(atomic_load(&main_flushes) <= FLUSHES_MAX);
	atomic_store(&answer, 0);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_int_equal(events("flush_failed"), 1);
	close_failed();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(many_callers_share_flushes_of_main),
		TEST(many_callers_share_flushes_of_a_spare),
		TEST(a_flush_from_before_the_call_serves_nobody),
		TEST(a_flush_that_fails_is_not_overtaken),
		TEST(a_flush_that_failed_is_told_to_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
