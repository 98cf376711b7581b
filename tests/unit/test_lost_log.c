/*
 * A database whose log (-wal) was deleted before a process died: what was committed
 * last is not in it, and the spares alone tell (src/volume/reconcile.c).
 */
#include "volume_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/check.h"
#include "remapfs/spare.h"
#include "spare/format.h"
#include "volume/cross.h"

/* ---- a process that dies ------------------------------------------------------------- */

/* Copies what was committed so far into the database: what comes after is in the log alone. */
static void empty_log(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL, NULL, NULL),
			 SQLITE_OK);
	sqlite3_close(db);
}

static int open_and_die(void *context)
{
	const struct volume_options options = {.opener = "who dies"};
	void (*use)(void) = *(void (**)(void))context;
	struct error err;

	if (volume_open(at("volume"), &options, &volume, &err) < 0)
		return 1;
	use();
	return 0;
}

/* Another process uses the volume, and is killed. */
static void die_after(void (*use)(void))
{
	close_volume();
	assert_int_equal(in_child(open_and_die, &use), 0);
	assert_true(path_exists(at("volume-wal")));
}

static void lose_log(void)
{
	assert_int_equal(unlink(at("volume-wal")), 0);
	unlink(at("volume-shm"));
}

static void count_finding(void *context, const struct finding *f)
{
	(void)f;
	++*(unsigned *)context;
}

static void assert_clean(void)
{
	unsigned found = 0;
	struct check_options o = {.path = at("volume"), .found = count_finding, .context = &found};
	struct check_result result;
	struct error err;

	close_volume();
	assert_int_equal(volume_check(&o, &result, &err), 0);
	assert_int_equal(found, 0);
	open_volume();
}

/* ---- one commit ------------------------------------------------------------------------ */

static void move_a_sector(void)
{
	assert_written(10, 3, 1);
	bad_sectors(10, 3, FAULT_ON_WRITE);
	empty_log();
	assert_written(10, 3, 2);
}

static void a_move_is_found(void **state)
{
	(void)state;
	die_after(move_a_sector);
	lose_log();
	open_volume();
	assert_read(10, 3, 2);
	assert_string_equal(remaps(), "10+3");
	assert_clean();
	assert_read(10, 3, 2);
	assert_int_equal(events("repaired"), 1);
}

/* Somebody who opens the database makes a new log, which may stay. */
static void an_empty_log_is_as_good_as_none(void **state)
{
	static const char junk[8192] = "not a log";

	(void)state;
	die_after(move_a_sector);
	lose_log();
	make_file(at("volume-wal"), sizeof(junk));
	put_bytes(at("volume-wal"), 0, junk, sizeof(junk));
	open_volume();
	assert_read(10, 3, 2);
	assert_clean();
}

static void a_log_that_is_there_has_it(void **state)
{
	(void)state;
	die_after(move_a_sector);
	open_volume();
	assert_read(10, 3, 2);
	assert_int_equal(events("repaired"), 0);
	assert_clean();
}

static struct spare_identity spare_identity_now(void)
{
	struct file_device_options o = {.role = "spare"};
	struct spare_identity id;
	struct device *d;

	assert_int_equal(file_device_open(at("spare1"), &o, &d, NULL), 0);
	assert_int_equal(spare_probe(d, &id), 0);
	device_close(d);
	return id;
}

/* A whole move of sector 77 to slot 100, of the second life, that was never committed. */
static void put_move(void)
{
	const struct spare_identity id = spare_identity_now();
	struct descriptor d = {.sector = 77, .sequence = (UINT64_C(2) << SEQUENCE_EPOCH) + 1000};
	uint8_t raw[DESCRIPTOR_BYTES];

	fill_sectors(77, 1, 9);
	d.data_sum = spare_data_sum(buffer, 512);
	put_bytes(at("spare1"), spare_layout(1 * MiB, 512).slots_offset + 100 * 512, buffer, 512);
	descriptor_encode(raw, &id, 100, &d);
	put_bytes(at("spare1"), SPARE_BLOCK + 100 * DESCRIPTOR_BYTES, raw, sizeof(raw));
}

static void what_a_log_that_is_there_lacks_was_never_committed(void **state)
{
	(void)state;
	die_after(move_a_sector);
	put_move();
	open_volume();
	assert_read(77, 1, 0);
	assert_counts(3, 0);
	assert_clean();
}

/* Either is right then. */
static void what_a_lost_log_lacks_may_have_been(void **state)
{
	(void)state;
	die_after(move_a_sector);
	put_move();
	lose_log();
	open_volume();
	assert_read(77, 1, 9);
	assert_counts(4, 0);
	assert_clean();
}

/* A look at the volume takes over nothing, and neither does it lose anything. */
static void check_leaves_it_to_the_next_mount(void **state)
{
	unsigned found = 0;
	struct check_options o = {.path = at("volume"), .found = count_finding, .context = &found,
				  .repair = true};
	struct check_result result;
	struct error err;

	(void)state;
	die_after(move_a_sector);
	lose_log();
	assert_int_equal(volume_check(&o, &result, &err), 0);
	assert_int_equal(found, 1);
	assert_int_equal(result.repaired, 0);
	open_volume();
	assert_read(10, 3, 2);
	assert_clean();
}

/* ---- where the sector was before ---------------------------------------------------------- */

static void move_a_remapped_one(void)
{
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(10, 1, 1);
	bad_slots(1, ask_number("SELECT slot FROM remap"), 1, FAULT_ON_WRITE);
	empty_log();
	assert_written(10, 1, 2);
}

static void a_move_from_another_slot_is_found(void **state)
{
	(void)state;
	die_after(move_a_remapped_one);
	lose_log();
	open_volume();
	assert_read(10, 1, 2);
	assert_counts(1, 0);
	assert_clean();
	assert_read(10, 1, 2);
}

static void move_a_pending_one(void)
{
	bad_sectors(10, 1, FAULT_ON_BOTH);
	assert_lost(10, 1);
	empty_log();
	assert_written(10, 1, 2);
}

static void a_lost_sector_that_was_written_is_found(void **state)
{
	(void)state;
	die_after(move_a_pending_one);
	lose_log();
	open_volume();
	assert_read(10, 1, 2);
	assert_counts(1, 0);
	assert_clean();
}

/* ---- one commit of each spare ---------------------------------------------------------------- */

/* Sector 10 goes to the last slot of the first spare, then to the second one. */
static void move_from_spare_to_spare(void)
{
	uint64_t slots = ask_number("SELECT slots FROM spare WHERE id = 1");

	bad_sectors(10, 2, FAULT_ON_WRITE);
	bad_sectors(1000, slots - 1, FAULT_ON_WRITE);
	assert_written(1000, slots - 1, 1);
	/* Confirms them. */
	assert_written(1000, slots - 1, 1);
	empty_log();
	assert_written(10, 1, 2);
	disrupt(&(struct disruption){.file = "/spare1", .calls = DISRUPT_WRITE, .error = EIO});
	assert_int_equal(write_sectors_of(10, 1, 3), 0);
	assert_true(disrupt_end() > 0);
	assert_written(11, 1, 4);
}

static void the_newest_place_counts(void **state)
{
	(void)state;
	die_after(move_from_spare_to_spare);
	lose_log();
	open_volume();
	assert_read(11, 1, 4);
	assert_read(10, 1, 3);
	assert_int_equal(ask_number("SELECT spare_id FROM remap WHERE main_sector = 10"), 2);
	assert_clean();
}

/* ---- what does not count ------------------------------------------------------------------------ */

/* The slot has not what its descriptor says: its flush was never over. */
static void one_that_is_not_whole_is_cleared(void **state)
{
	char other[512] = "something else";

	(void)state;
	die_after(move_a_sector);
	lose_log();
	put_bytes(at("spare1"), spare_layout(1 * MiB, 512).slots_offset + 512, other, sizeof(other));
	open_volume();
	assert_read(10, 1, 2);
	assert_read(11, 1, 1);
	assert_read(12, 1, 2);
	assert_clean();
}

static void move_twice(void)
{
	move_a_sector();
	bad_sectors(20, 1, FAULT_ON_WRITE);
	assert_written(20, 1, 1);
}

/* Of the first it is certain that it was committed: the database is not the right one. */
static void two_commits_are_refused(void **state)
{
	struct error err;

	(void)state;
	die_after(move_twice);
	lose_log();
	assert_int_equal(volume_open(at("volume"), &(struct volume_options){0}, &volume, &err),
			 -EUCLEAN);
	assert_non_null(strstr(err.text, "rebuild --force"));
	volume = NULL;
}

/* ---- taking over ----------------------------------------------------------------------------------- */

static int open_in_trouble(void *context)
{
	const struct volume_options options = {.opener = "who dies"};
	struct error err;

	disrupt(context);
	volume_open(at("volume"), &options, &volume, &err);
	return disrupt_end() > 0;
}

/* What is left of a log by one that did not come to an end is none. */
static void taking_over_may_be_cut_off(void **state)
{
	struct disruption d = {.file = "/volume-wal", .calls = DISRUPT_WRITE | DISRUPT_SYNC,
			       .error = EIO};
	int failed = 1;

	(void)state;
	for (; failed && d.after < 100; d.after += 1 + d.after / 4) {
		assert_int_equal(volume_teardown(NULL), 0);
		assert_int_equal(volume_setup(NULL), 0);
		die_after(move_a_sector);
		lose_log();
		failed = in_child(open_in_trouble, &d);
		open_volume();
		assert_read(10, 3, 2);
		assert_clean();
	}
	assert_int_equal(failed, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TEST_SMALL(f) cmocka_unit_test_setup_teardown(f, volume_setup_small_spare, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_move_is_found),
		TEST(an_empty_log_is_as_good_as_none),
		TEST(a_log_that_is_there_has_it),
		TEST(what_a_log_that_is_there_lacks_was_never_committed),
		TEST(what_a_lost_log_lacks_may_have_been),
		TEST(check_leaves_it_to_the_next_mount),
		TEST(a_move_from_another_slot_is_found),
		TEST(a_lost_sector_that_was_written_is_found),
		TEST_SMALL(the_newest_place_counts),
		TEST(one_that_is_not_whole_is_cleared),
		TEST(two_commits_are_refused),
		TEST(taking_over_may_be_cut_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
