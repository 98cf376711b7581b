/*
 * include/remapfs/volume.h, scrub: what it finds, what it does with it, and what
 * it leaves alone.
 */
#include "scrub_fixture.h"

#include <errno.h>
#include <string.h>

#include "disrupt.h"

/* ---- finding ------------------------------------------------------------------------ */

static void what_cannot_be_read_is_pending(void **state)
{
	struct scrub_counts found;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 5, 1);
	bad_slots(1, 0, 1, FAULT_ON_READ);
	bad_sectors(100, 1, FAULT_ON_READ);
	bad_sectors(5000, 20, FAULT_ON_READ);
	bad_sectors(MAIN_BYTES / 512 - 1, 1, FAULT_ON_READ);
	found = scrub();
	assert_int_equal(found.lost, 23);
	assert_int_equal(found.weak, 0);
	assert_int_equal(found.unsteady + found.skipped, 0);
	assert_counts(0, 23);
	assert_read(8, 2, 1);
	assert_read(11, 2, 1);
	assert_read(4990, 10, 0);
	assert_read(5020, 10, 0);
	assert_int_equal(events("scrub_started"), 1);
	assert_int_equal(events("scrub_done"), 1);
	assert_int_equal(ask_number("SELECT detail LIKE '%23 lost, 0 weak%' FROM history WHERE "
				    "event = 'scrub_done'"), 1);
	/* Once is enough: they are known now. */
	assert_int_equal(scrub().lost, 0);
}

static void sectors_of_4096_bytes_too(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(70, 1, 5);
	bad_sectors(10, 2, FAULT_ON_READ);
	/* The piece, and alone, which is its group; once more it can be read. */
	add_fault(failing_times(ON_MAIN, 70, 3));
	bad_sectors(MAIN_BYTES / 4096 - 1, 1, FAULT_ON_READ);
	found = scrub();
	assert_int_equal(found.lost, 3);
	assert_int_equal(found.moved, 1);
	assert_string_equal(remaps(), "70+1");
	assert_read(70, 1, 5);
}

/* ---- weak sectors ---------------------------------------------------------------------- */

static void what_is_readable_on_a_retry_only_is_moved(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(0, 4000, 1);
	/* With its piece, with its group, alone; then it could be read. */
	add_fault(failing_times(ON_MAIN, 300, 3));
	/* Not even then. */
	add_fault(failing_times(ON_MAIN, 1000, 4));
	/* With its group, but not alone. */
	add_fault(failing_times(ON_MAIN, 2001, 2));
	/* Never again. */
	add_fault(failing_times(ON_MAIN, 3000, 1));
	found = scrub();
	assert_string_equal(remaps(), "300+1 2000+8");
	assert_int_equal(found.weak, 9);
	assert_int_equal(found.moved, 9);
	assert_int_equal(found.lost, 1);
	assert_int_equal(found.unsteady, 1);
	assert_counts(9, 1);
	/* Main is not asked for them any more. */
	bad_sectors(300, 1, FAULT_ON_BOTH);
	bad_sectors(2000, 8, FAULT_ON_BOTH);
	assert_read(0, 1000, 1);
	assert_read(1001, 2999, 1);
	reopen_volume();
	assert_read(1001, 2999, 1);
	assert_read(300, 1, 1);
}

static void a_weak_slot_moves_to_another(void **state)
{
	struct scrub_counts found;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 5, 1);
	add_fault(failing_times(1, first_slot(), 3));
	found = scrub();
	assert_int_equal(found.moved, 1);
	assert_int_equal(ask_number("SELECT slot FROM remap WHERE main_sector = 10"), 1);
	assert_int_equal(ask_number("SELECT count(*) FROM bad_slot WHERE slot = 0"), 1);
	assert_int_equal(events("moved"), 1);
	assert_int_equal(events("slot_bad"), 1);
	bad_slots(1, 0, 1, FAULT_ON_BOTH);
	assert_read(8, 5, 1);
	reopen_volume();
	assert_read(8, 5, 1);
}

static void open_impatient(unsigned slow_ms)
{
	close_volume();
	open_volume_with(&(struct volume_options){.slow_ms = slow_ms});
}

static void what_is_slow_is_moved(void **state)
{
	struct scrub_counts found;
	uint64_t lent;

	(void)state;
	open_impatient(300);
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 5, 1);
	assert_written(700, 1, 2);
	slow(1, first_slot(), 1, 400);
	slow(ON_MAIN, 700, 1, 400);
	lent = status_now().free_slots;
	found = scrub();
	assert_int_equal(found.weak, 2);
	assert_int_equal(found.moved, 2);
	assert_string_equal(remaps(), "10+1 700+1");
	assert_int_equal(ask_number("SELECT slot <> 0 FROM remap WHERE main_sector = 10"), 1);
	/* The spare is slow, not gone. */
	assert_int_equal(events("device_failed"), 0);
	assert_int_equal(status_now().free_slots, lent - 2);
	assert_read(8, 5, 1);
	assert_read(700, 1, 2);
}

static void where_much_is_slow_it_is_not_the_sectors(void **state)
{
	struct scrub_counts found;

	(void)state;
	open_impatient(300);
	slow(ON_MAIN, 1024, 17 * 8, 350);
	found = scrub();
	assert_int_equal(found.weak, 0);
	assert_int_equal(found.unsteady, 1);
	assert_counts(0, 0);
}

static void without_a_free_slot_a_weak_sector_stays(void **state)
{
	uint64_t slots = status_now().free_slots;
	struct scrub_counts found;

	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots, 1);
	assert_written(5000, 1, 3);
	add_fault(failing_times(ON_MAIN, 5000, 3));
	found = scrub();
	assert_int_equal(found.weak, 1);
	assert_int_equal(found.moved, 0);
	assert_counts(slots, 0);
	assert_read(5000, 1, 3);
	assert_read(0, slots, 1);
}

/* ---- lost sectors that can be read again: contract 2 ---------------------------------------- */

static void a_sector_that_can_be_read_again_is_cleared(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(48, 8, 7);
	bad_sectors(50, 3, FAULT_ON_READ);
	assert_lost(50, 3);
	assert_int_equal(scrub().cured, 0);
	assert_counts(0, 3);
	clear_faults();
	assert_lost(50, 3);
	found = scrub();
	assert_int_equal(found.cured, 3);
	assert_counts(0, 0);
	assert_int_equal(events("cured"), 1);
	assert_read(48, 8, 7);
	reopen_volume();
	assert_read(48, 8, 7);
}

/* Main may be another one by now: a copy of it, with zeros where it was lost. */
static void not_if_it_was_lost_before_the_volume_was_opened(void **state)
{
	static const uint8_t zeros[512];

	(void)state;
	assert_written(48, 8, 7);
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	close_volume();
	put_bytes(at("main"), 50 * 512, zeros, sizeof(zeros));
	clear_faults();
	open_volume();
	assert_int_equal(scrub().cured, 0);
	assert_lost(50, 1);
	assert_counts(0, 1);
	assert_written(50, 1, 8);
	assert_read(50, 1, 8);
}

/* What was not acknowledged may be on main. */
static void not_if_a_write_failed_half_way(void **state)
{
	uint64_t slots = status_now().free_slots;

	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots, 1);
	assert_written(5000, 2, 3);
	bad_sectors(5000, 2, FAULT_ON_READ);
	assert_lost(5000, 2);
	/* Main takes it, but it cannot be read back, and no slot is free. */
	assert_int_equal(write_sectors_of(5000, 1, 4), -EIO);
	clear_faults();
	assert_int_equal(scrub().cured, 1);
	assert_lost(5000, 1);
	assert_read(5001, 1, 3);
	close_volume();
	assert_main_holds(5000, 1, 4);
	open_volume();
}

/* Its row may turn out to be durable, and would overtake what is written to main. */
static void not_if_the_commit_of_its_move_is_in_doubt(void **state)
{
	(void)state;
	assert_written(50, 1, 1);
	bad_sectors(50, 1, FAULT_ON_WRITE);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_int_equal(write_sectors_of(50, 1, 2), -EIO);
	assert_true(disrupt_end() > 0);
	clear_faults();
	assert_lost(50, 1);
	assert_int_equal(scrub().cured, 0);
	assert_lost(50, 1);
	assert_written(50, 1, 3);
	assert_read(50, 1, 3);
}

static void commit_in_doubt(sector_t sector, uint8_t tag)
{
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_int_equal(write_sectors_of(sector, 1, tag), -EIO);
	assert_true(disrupt_end() > 0);
}

/* A scrub cleared it; what is known of it since is what happened since. */
static void not_for_what_was_true_before_it_was_cleared(void **state)
{
	(void)state;
	assert_written(50, 1, 1);
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	clear_faults();
	assert_int_equal(scrub().cured, 1);
	bad_sectors(50, 1, FAULT_ON_WRITE);
	commit_in_doubt(50, 2);
	clear_faults();
	assert_int_equal(scrub().cured, 0);
	assert_lost(50, 1);
}

/* It never met main, and may be durable all the same. */
static void not_if_it_was_moved_without_trying(void **state)
{
	const struct volume_options hasty = {.isolation_ms = 1};

	(void)state;
	close_volume();
	open_volume_with(&hasty);
	assert_written(48, 8, 1);
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	clear_faults();
	/* Slow to fail, so that no time is left for the pending one behind it. */
	add_fault((struct fault){.start = 48, .count = 2, .on = FAULT_ON_WRITE, .error = EIO,
				 .delay_ms = 20});
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_int_equal(write_sectors_of(48, 3, 2), -EIO);
	assert_true(disrupt_end() > 0);
	clear_faults();
	assert_int_equal(scrub().cured, 0);
	assert_lost(48, 3);
	assert_written(48, 3, 3);
	reopen_volume();
	assert_read(48, 3, 3);
}

/* ---- what it may not do ------------------------------------------------------------------------ */

static void a_read_only_volume_is_scrubbed_without_moving(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(0, 2000, 1);
	close_volume();
	open_volume_with(&(struct volume_options){.read_only = true});
	add_fault(failing_times(ON_MAIN, 300, 3));
	bad_sectors(1000, 1, FAULT_ON_READ);
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	found = scrub();
	assert_int_equal(found.weak, 1);
	assert_int_equal(found.moved, 0);
	assert_int_equal(found.lost, 1);
	assert_counts(0, 2);
	clear_faults();
	assert_int_equal(scrub().cured, 0);
	assert_counts(0, 2);
	assert_read(300, 1, 1);
}

static void without_remapping_nothing_is_marked_either(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(0, 2000, 1);
	close_volume();
	open_volume_with(&(struct volume_options){.no_remap = true});
	add_fault(failing_times(ON_MAIN, 300, 3));
	bad_sectors(1000, 2, FAULT_ON_READ);
	found = scrub();
	assert_int_equal(found.weak, 1);
	assert_int_equal(found.moved, 0);
	assert_int_equal(found.lost, 2);
	assert_counts(0, 0);
	clear_faults();
	assert_read(0, 2000, 1);
}

/* ---- contract 7 ----------------------------------------------------------------------------------- */

static void assert_paused_for(const char *word)
{
	wait_for(SCRUB_PAUSED);
	if (!strstr(look().reason, word))
		fail_msg("it paused because: '%s'", look().reason);
	assert_int_equal(look().scrub.found.lost, 0);
}

static void it_pauses_when_main_is_gone(void **state)
{
	(void)state;
	disrupt(&(struct disruption){.file = "/main", .calls = DISRUPT_READ, .error = EIO,
				     .after = 20});
	start(0);
	assert_paused_for("main does not answer");
	disrupt_end();
	assert_counts(0, 0);
	assert_int_equal(events("device_failed"), 1);
	/* Noted after it is so. */
	for (int ms = 0; !events("scrub_paused") && ms < WAIT_MS; ms += 10)
		pause_ms(10);
	assert_int_equal(events("scrub_paused"), 1);
	resume(SCRUB_RATE_SAME);
	wait_for(SCRUB_DONE);
	assert_int_equal(look().scrub.found.skipped, 0);
	assert_counts(0, 0);
	assert_int_equal(events("scrub_resumed"), 1);
}

static void it_pauses_when_main_is_gone_without_remapping(void **state)
{
	(void)state;
	close_volume();
	open_volume_with(&(struct volume_options){.no_remap = true});
	disrupt(&(struct disruption){.file = "/main", .calls = DISRUPT_READ, .error = EIO,
				     .after = 20});
	start(0);
	assert_paused_for("main does not answer");
	disrupt_end();
	resume(SCRUB_RATE_SAME);
	wait_for(SCRUB_DONE);
}

static void it_pauses_when_a_spare_is_gone(void **state)
{
	(void)state;
	bad_sectors(10, 3, FAULT_ON_WRITE);
	assert_written(8, 8, 1);
	disrupt(&(struct disruption){.file = "/spare1", .calls = DISRUPT_ALL, .error = EIO});
	start(0);
	assert_paused_for("spare 1 does not answer");
	assert_counts(3, 0);
	/* It is known to be gone: the rest is read without it. */
	resume(SCRUB_RATE_SAME);
	wait_for(SCRUB_DONE);
	disrupt_end();
	assert_int_equal(look().scrub.found.skipped, 3);
	assert_int_equal(look().scrub.found.lost, 0);
	assert_counts(3, 0);
	reopen_volume();
	assert_read(8, 8, 1);
	assert_int_equal(scrub().skipped, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TEST_SMALL(f) cmocka_unit_test_setup_teardown(f, volume_setup_small_spare, volume_teardown)
#define TEST_4096(f) cmocka_unit_test_setup_teardown(f, volume_setup_4096, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_cannot_be_read_is_pending),
		TEST_4096(sectors_of_4096_bytes_too),
		TEST(what_is_readable_on_a_retry_only_is_moved),
		TEST(a_weak_slot_moves_to_another),
		TEST(what_is_slow_is_moved),
		TEST(where_much_is_slow_it_is_not_the_sectors),
		TEST_SMALL(without_a_free_slot_a_weak_sector_stays),
		TEST(a_sector_that_can_be_read_again_is_cleared),
		TEST(not_if_it_was_lost_before_the_volume_was_opened),
		TEST_SMALL(not_if_a_write_failed_half_way),
		TEST(not_if_the_commit_of_its_move_is_in_doubt),
		TEST(not_for_what_was_true_before_it_was_cleared),
		TEST(not_if_it_was_moved_without_trying),
		TEST(a_read_only_volume_is_scrubbed_without_moving),
		TEST(without_remapping_nothing_is_marked_either),
		TEST(it_pauses_when_main_is_gone),
		TEST(it_pauses_when_main_is_gone_without_remapping),
		TEST(it_pauses_when_a_spare_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
