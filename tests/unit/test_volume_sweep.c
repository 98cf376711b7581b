/*
 * include/remapfs/volume.h: a write that moves a sector, in which the Nth system
 * call fails, for every N.
 */
#include "volume_fixture.h"

#include <errno.h>

#include "disrupt.h"

/* What may be read after a write of 2 over 1 was answered with rc. */
static void check_outcome(sector_t sector, int rc)
{
	uint8_t holds;

	if (volume_read(volume, buffer, sector_size, sector * sector_size) < 0) {
		/* Not known whether the commit is durable: better no answer. */
		assert_int_not_equal(rc, 0);
		return;
	}
	holds = buffer[sector_size - 1];
	assert_true(holds == 2 || (rc < 0 && holds == 1));
	assert_read(sector, 1, holds);
}

static void check_after_restart(sector_t sector, int rc)
{
	check_outcome(sector, rc);
	volume_close(volume);
	open_volume();
	check_outcome(sector, rc);
	assert_written(sector, 1, 3);
	assert_read(sector, 1, 3);
	reopen_volume();
	assert_read(sector, 1, 3);
	assert_int_equal(status_now().free_slots,
			 ask_number("SELECT sum(free) FROM spare_usage"));
}

enum where { ON_MAIN_BEFORE, IN_A_SLOT_BEFORE, PENDING_BEFORE };

/* Makes the sector one that fails when it is written next. */
static void prepare(sector_t sector, enum where where)
{
	clear_faults();
	assert_written(sector, 1, 1);
	if (where == PENDING_BEFORE) {
		bad_sectors(sector, 1, FAULT_ON_READ);
		assert_lost(sector, 1);
		return;
	}
	bad_sectors(sector, 1, FAULT_ON_WRITE);
	if (where == ON_MAIN_BEFORE)
		return;
	assert_written(sector, 1, 1);
	bad_slots(1, ask_number("SELECT slot FROM remap ORDER BY main_sector DESC"), 1,
		  FAULT_ON_WRITE);
}

/*
 * A sector that fails is written, and in that the Nth system call fails: the
 * write succeeds or fails, but what is read is what that says, at once and
 * after a restart, and the next write succeeds. For all N until none fails.
 */
static void sweep(const char *file, unsigned calls, int error)
{
	static sector_t sector; /* never one twice */
	unsigned all = 0;

	for (enum where where = ON_MAIN_BEFORE; where <= PENDING_BEFORE; where++) {
		unsigned failed = 1, n = 0;

		for (; failed && n < 200; n++) {
			const struct disruption d = {.file = file, .calls = calls, .error = error,
						     .after = n, .times = 1};
			int rc;

			prepare(++sector, where);
			disrupt(&d);
			rc = write_sectors_of(sector, 1, 2);
			failed = disrupt_end();
			all += failed;
			check_after_restart(sector, rc);
		}
		assert_int_equal(failed, 0);
	}
	print_message("%u calls on %s failed, one at a time\n", all, file);
}

static void any_call_on_the_database_may_fail(void **state)
{
	(void)state;
	sweep("/volume-wal", DISRUPT_ALL, EIO);
	sweep("/volume-wal", DISRUPT_WRITE, ENOSPC);
	sweep("/volume", DISRUPT_ALL, EIO);
}

static void any_call_on_a_spare_may_fail(void **state)
{
	(void)state;
	sweep("/spare1", DISRUPT_ALL, EIO);
	sweep("/spare1", DISRUPT_ALL, ENODEV);
}

static void any_call_on_main_may_fail(void **state)
{
	(void)state;
	sweep("/main", DISRUPT_ALL, EIO);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(any_call_on_the_database_may_fail),
		TEST(any_call_on_a_spare_may_fail),
		TEST(any_call_on_main_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
