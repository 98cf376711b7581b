/*
 * include/remapfs/volume.h: sectors that are moved to a spare before they fail,
 * and back to a main that was repaired; and what is left when something on the
 * way does not work. tests/crash cuts the power in between.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "disrupt.h"
#include "remapfs/check.h"
#include "remapfs/rebuild.h"

#define PATIENCE_MS 60000

static struct error err;
static struct volume_progress done;

typedef int (*move_fn)(struct volume *, const struct sector_range *, size_t, unsigned,
		       struct volume_progress *, struct error *);

/* ---- helpers ---------------------------------------------------------------------- */

static int move(move_fn fn, sector_t start, uint64_t count)
{
	const struct sector_range range = {start, count};

	done = (struct volume_progress){0};
	err.text[0] = 0;
	return fn(volume, &range, 1, PATIENCE_MS, &done, &err);
}

static void assert_moves(move_fn fn, sector_t start, uint64_t count, uint64_t moved, uint64_t lost,
			 uint64_t left)
{
	if (move(fn, start, count) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(done.moved, moved);
	assert_int_equal(done.lost, lost);
	assert_int_equal(done.left, left);
	assert_int_equal(done.next, start + count);
}

static void assert_refused(move_fn fn, sector_t start, uint64_t count, int code, const char *word)
{
	assert_int_equal(move(fn, start, count), -code);
	if (!strstr(err.text, word))
		fail_msg("'%s' does not say '%s'", err.text, word);
}

static void assert_in_order(void)
{
	const struct check_options o = {.path = at("volume"), .repair = false,
					.found = NULL, .context = NULL};
	struct check_result r;

	if (volume_check(&o, &r, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(r.left, 0);
}

/* The volume as the spares alone know it. */
static void rebuild(size_t spares)
{
	const struct part_spec parts[] = {{.path = at("spare1")}, {.path = at("spare2")}};
	const struct rebuild_options o = {
		.path = at("volume"),
		.main = {.path = at("main")},
		.spares = parts,
		.spare_count = spares,
		.force = true,
	};
	struct rebuild_result r;

	close_volume();
	if (volume_rebuild(&o, &r, &err) < 0)
		fail_msg("%s", err.text);
	open_volume();
}

/* Sectors that main refused, and now would take. */
static void make_remaps(sector_t start, uint64_t count, uint8_t tag)
{
	bad_sectors(start, count, FAULT_ON_WRITE);
	assert_written(start, count, tag);
	clear_faults();
}

/* ---- mark ------------------------------------------------------------------------- */

static void what_is_readable_moves(void **state)
{
	(void)state;
	assert_written(90, 30, 7);
	assert_moves(volume_mark, 100, 10, 10, 0, 0);
	assert_counts(10, 0);
	assert_string_equal(remaps(), "100+10");
	assert_read(90, 30, 7);
	reopen_volume();
	assert_read(90, 30, 7);
	assert_int_equal(ask_number("SELECT count(*) FROM history WHERE event = 'remapped' AND "
				    "detail = 'marked as bad'"), 1);
}

static void what_is_not_becomes_pending(void **state)
{
	(void)state;
	assert_written(100, 10, 7);
	bad_sectors(103, 2, FAULT_ON_READ);
	assert_moves(volume_mark, 100, 10, 8, 2, 0);
	assert_counts(8, 2);
	assert_read(100, 3, 7);
	assert_lost(103, 2);
	assert_read(105, 5, 7);
	/* No more is known of them than was. */
	assert_moves(volume_mark, 100, 10, 0, 0, 0);
	assert_counts(8, 2);
	assert_int_equal(events("pending"), 1);
}

static void many_small_pieces_share_commits(void **state)
{
	enum { PIECES = 1000 };
	struct sector_range ranges[PIECES];
	uint64_t commits = status_now().commits;

	(void)state;
	for (unsigned i = 0; i < PIECES; i++)
		ranges[i] = (struct sector_range){i * 30 + 1, 1};
	for (unsigned i = 0; i < PIECES; i++)
		assert_written(i * 30, 3, 9);
	assert_int_equal(volume_mark(volume, ranges, PIECES, PATIENCE_MS, &done, &err), 0);
	assert_int_equal(done.moved, PIECES);
	assert_true(status_now().commits - commits <= 8);
	for (unsigned i = 0; i < PIECES; i++)
		assert_read(i * 30, 3, 9);
	assert_int_equal(volume_unmap(volume, ranges, PIECES, PATIENCE_MS, &done, &err), 0);
	assert_int_equal(done.moved, PIECES);
	assert_counts(0, 0);
	for (unsigned i = 0; i < PIECES; i++)
		assert_read(i * 30, 3, 9);
}

static void it_comes_back_when_its_time_is_over(void **state)
{
	struct sector_range range = {0, 20 * 1024};
	unsigned calls = 0;
	uint64_t moved = 0;

	(void)state;
	assert_written(0, 1000, 3);
	for (; range.count; calls++) {
		int rc = volume_mark(volume, &range, 1, 0, &done, &err);

		moved += done.moved;
		range.count -= done.next - range.start;
		range.start = done.next;
		/* The spare has not so many slots. */
		if (rc < 0)
			break;
	}
	assert_true(calls > 0);
	assert_non_null(strstr(err.text, "add-spare"));
	assert_counts(moved, 0);
	assert_int_equal(range.start, moved);
	assert_int_equal(status_now().free_slots, 0);
	assert_read(0, 1000, 3);
}

static void without_slots_the_rest_stays(void **state)
{
	uint64_t room = status_now().free_slots;

	(void)state;
	assert_written(0, 400, 5);
	bad_sectors(300, 1, FAULT_ON_READ);
	assert_refused(volume_mark, 0, 400, ENOSPC, "add-spare");
	assert_int_equal(done.moved, room);
	assert_int_equal(done.next, room);
	assert_counts(room, 0);
	assert_read(0, 300, 5);
	/* What cannot be read needs none. */
	assert_moves(volume_mark, 300, 1, 0, 1, 0);
}

static void a_main_that_is_gone_loses_nothing(void **state)
{
	(void)state;
	assert_written(0, 100, 5);
	bad_sectors(0, MAIN_BYTES / sector_size, FAULT_ON_READ);
	assert_refused(volume_mark, 10, 20, EIO, "main does not answer");
	assert_counts(0, 0);
	clear_faults();
	assert_read(0, 100, 5);
	assert_moves(volume_mark, 10, 20, 20, 0, 0);
}

static void nonsense_is_refused(void **state)
{
	const struct sector_range backwards[] = {{10, 1}, {5, 1}}, overlap[] = {{10, 5}, {14, 1}};
	const struct volume_options still = {.no_remap = true}, read_only = {.read_only = true};

	(void)state;
	assert_refused(volume_mark, 0, 0, EINVAL, "out of order");
	assert_refused(volume_mark, MAIN_BYTES / sector_size, 1, EINVAL, "below");
	assert_refused(volume_unmap, 5, UINT64_MAX, EINVAL, "below");
	assert_int_equal(volume_mark(volume, backwards, 2, 0, &done, &err), -EINVAL);
	assert_int_equal(volume_unmap(volume, overlap, 2, 0, &done, &err), -EINVAL);
	assert_int_equal(volume_mark(volume, NULL, 0, 0, &done, &err), -EINVAL);
	close_volume();
	open_volume_with(&still);
	assert_refused(volume_mark, 1, 1, EROFS, "noremap");
	assert_refused(volume_unmap, 1, 1, EROFS, "noremap");
	close_volume();
	open_volume_with(&read_only);
	assert_refused(volume_mark, 1, 1, EROFS, "ro");
}

/* ---- mark --lost ------------------------------------------------------------------- */

/* Main can be read there, and holds what nobody wrote. */
static void what_is_lost_is_not_read(void **state)
{
	struct volume_scrub scrub;

	(void)state;
	assert_written(90, 30, 7);
	assert_moves(volume_mark_lost, 100, 10, 0, 10, 0);
	assert_counts(0, 10);
	assert_lost(100, 10);
	assert_read(90, 10, 7);
	assert_read(110, 10, 7);
	assert_int_equal(ask_number("SELECT sum(sectors) FROM history WHERE event = 'pending' AND "
				    "detail = 'marked as lost'"), 10);
	/* A scrub can read it, and does not believe it. */
	assert_int_equal(volume_scrub_start(volume, 0, &err), 0);
	do
		volume_scrub_look(volume, &scrub);
	while (scrub.scrub.state == SCRUB_RUNNING);
	assert_int_equal(scrub.scrub.found.cured, 0);
	assert_lost(100, 10);
	reopen_volume();
	assert_counts(0, 10);
	assert_lost(100, 10);
	assert_written(102, 3, 9);
	assert_read(102, 3, 9);
	assert_counts(0, 7);
	reopen_volume();
	assert_counts(0, 7);
	assert_read(102, 3, 9);
	close_volume();
	assert_in_order();
	open_volume();
}

/* Those that were lost a moment ago too: main was not what made them so. */
static void what_was_cured_before_can_be_lost(void **state)
{
	(void)state;
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	clear_faults();
	assert_written(50, 1, 3);
	assert_moves(volume_mark_lost, 50, 1, 0, 1, 0);
	assert_lost(50, 1);
}

static void what_is_known_stays_as_it_is(void **state)
{
	const struct sector_range all = {0, MAIN_BYTES / sector_size};

	(void)state;
	make_remaps(20, 4, 6);
	bad_sectors(40, 2, FAULT_ON_READ);
	assert_lost(40, 2);
	assert_int_equal(volume_mark_lost(volume, &all, 1, PATIENCE_MS, &done, &err), 0);
	assert_int_equal(done.lost, all.count - 6);
	assert_int_equal(done.next, all.count);
	assert_counts(4, all.count - 4);
	assert_read(20, 4, 6);
	assert_lost(0, 20);
	reopen_volume();
	assert_counts(4, all.count - 4);
	assert_read(20, 4, 6);
}

/* Nothing is pending of which the database knows nothing. */
static void what_cannot_be_recorded_stays_good(void **state)
{
	(void)state;
	assert_written(100, 10, 7);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE,
				     .error = ENOSPC});
	assert_refused(volume_mark_lost, 100, 10, EIO, "remapctl status");
	assert_true(disrupt_end() > 0);
	assert_int_equal(done.lost, 0);
	assert_int_equal(done.next, 100);
	assert_counts(0, 0);
	assert_read(100, 10, 7);
	assert_moves(volume_mark_lost, 100, 10, 0, 10, 0);
}

/* Whatever the rows say, they do not outlive the write that cures the sectors. */
static void what_may_be_recorded_is_pending(void **state)
{
	(void)state;
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_refused(volume_mark_lost, 100, 10, EIO, "remapctl status");
	assert_true(disrupt_end() > 0);
	assert_lost(100, 10);
	assert_written(101, 1, 5);
	close_volume();
	open_volume();
	assert_read(101, 1, 5);
}

/* ---- unmap ------------------------------------------------------------------------ */

static void a_repaired_main_gets_them_back(void **state)
{
	uint64_t room = status_now().free_slots;

	(void)state;
	make_remaps(100, 10, 3);
	assert_written(104, 1, 4);
	assert_moves(volume_unmap, 0, MAIN_BYTES / sector_size, 10, 0, 0);
	assert_counts(0, 0);
	assert_int_equal(status_now().free_slots, room);
	assert_int_equal(events("unmapped"), 1);
	assert_read(100, 4, 3);
	assert_read(104, 1, 4);
	assert_read(105, 5, 3);
	close_volume();
	assert_in_order();
	assert_main_holds(104, 1, 4);
	open_volume();
}

/* Contract 10: what was written since is not overtaken by what the slots held. */
static void a_rebuild_finds_no_old_place(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	assert_moves(volume_unmap, 100, 10, 10, 0, 0);
	assert_written(100, 10, 8);
	rebuild(1);
	assert_counts(0, 0);
	assert_read(100, 10, 8);
}

static void nor_one_in_a_slot_that_failed(void **state)
{
	(void)state;
	make_remaps(100, 4, 3);
	/* One fails at a write, one at a read. */
	bad_slots(1, 1, 1, FAULT_ON_WRITE);
	assert_written(101, 1, 4);
	bad_slots(1, 2, 1, FAULT_ON_READ);
	assert_lost(102, 1);
	assert_written(102, 1, 5);
	assert_moves(volume_unmap, 0, 1000, 4, 0, 0);
	assert_written(100, 4, 8);
	clear_faults();
	rebuild(1);
	assert_counts(0, 0);
	assert_read(100, 4, 8);
}

/* A slot that fails while it is at work is looked for as well. */
static void nor_in_one_that_fails_later(void **state)
{
	(void)state;
	make_remaps(100, 2, 3);
	make_remaps(3000, 1, 3);
	assert_moves(volume_unmap, 100, 2, 2, 0, 0);
	bad_slots(1, 2, 1, FAULT_ON_WRITE);
	assert_written(3000, 1, 4);
	clear_faults();
	assert_moves(volume_unmap, 3000, 1, 1, 0, 0);
	assert_written(3000, 1, 5);
	rebuild(1);
	assert_counts(0, 0);
	assert_read(3000, 1, 5);
}

static void what_main_does_not_hold_stays(void **state)
{
	(void)state;
	bad_sectors(102, 3, FAULT_ON_WRITE);
	bad_sectors(107, 1, FAULT_ON_WRITE);
	assert_written(102, 3, 3);
	assert_written(107, 1, 3);
	assert_moves(volume_mark, 100, 10, 6, 0, 0);
	assert_moves(volume_unmap, 100, 10, 6, 0, 4);
	assert_string_equal(remaps(), "102+3 107+1");
	assert_read(102, 3, 3);
	assert_read(107, 1, 3);
}

static void nor_what_it_does_not_read_back(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	bad_sectors(105, 1, FAULT_ON_READ);
	assert_moves(volume_unmap, 100, 10, 9, 0, 1);
	assert_string_equal(remaps(), "105+1");
	assert_read(100, 10, 3);
	assert_counts(1, 0);
}

static void a_lost_slot_is_pending(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	bad_slots(1, 5, 1, FAULT_ON_READ);
	assert_moves(volume_unmap, 100, 10, 9, 1, 0);
	assert_counts(0, 1);
	assert_lost(105, 1);
	assert_read(100, 5, 3);
}

static void a_main_that_is_gone_takes_nothing(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	bad_sectors(0, MAIN_BYTES / sector_size, FAULT_ON_BOTH);
	assert_refused(volume_unmap, 100, 10, EIO, "main does not do");
	assert_counts(10, 0);
	assert_read(100, 10, 3);
}

/* The slots are given to others, of whom a rebuild must not find the former ones. */
static void freed_slots_are_used_again(void **state)
{
	uint64_t room = status_now().free_slots;

	(void)state;
	make_remaps(0, room, 3);
	assert_moves(volume_unmap, 0, 1000, room, 0, 0);
	make_remaps(500, room, 4);
	assert_int_equal(status_now().free_slots, 0);
	assert_written(0, room, 5);
	assert_written(500, room, 6);
	rebuild(2);
	assert_counts(room, 0);
	assert_read(0, room, 5);
	assert_read(500, room, 6);
}

/* ---- something fails on the way ---------------------------------------------------- */

/* The rows certainly stay, so a rebuild has to find them as well. */
static void a_full_disk_under_the_database_leaves_them(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE,
				     .error = ENOSPC});
	assert_refused(volume_unmap, 100, 10, EIO, "does not commit");
	assert_true(disrupt_end() > 0);
	assert_counts(10, 0);
	assert_written(100, 10, 4);
	rebuild(1);
	assert_counts(10, 0);
	assert_read(100, 10, 4);
}

/* The rows may be gone or not: nothing that is said from now on may depend on it. */
static void a_commit_in_doubt(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_refused(volume_unmap, 100, 10, EIO, "does not commit");
	assert_true(disrupt_end() > 0);
	assert_int_equal(status_now().pending_sectors, 10);
	assert_lost(100, 1);
	assert_written(101, 1, 5);
	assert_read(101, 1, 5);
	/* The next opening looks: whatever it was, no row is left without a descriptor. */
	close_volume();
	open_volume();
	assert_read(100, 1, 3);
	assert_read(101, 1, 5);
	assert_read(102, 8, 3);
	assert_written(100, 10, 6);
	rebuild(1);
	assert_read(100, 10, 6);
}

static void a_doubt_that_the_next_try_settles(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO,
				     .times = 1});
	assert_moves(volume_unmap, 100, 10, 10, 0, 0);
	assert_int_equal(disrupt_end(), 1);
	assert_counts(0, 0);
	reopen_volume();
	assert_counts(0, 0);
	assert_read(100, 10, 3);
}

static void a_spare_that_does_not_take_it(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	disrupt(&(struct disruption){.file = "/spare1", .calls = DISRUPT_WRITE, .error = EIO});
	assert_refused(volume_unmap, 100, 10, EIO, "does not take");
	assert_true(disrupt_end() > 0);
	assert_counts(10, 0);
	assert_read(100, 10, 3);
	assert_written(100, 10, 4);
	rebuild(1);
	assert_read(100, 10, 4);
}

static void a_spare_that_does_not_flush(void **state)
{
	(void)state;
	make_remaps(100, 10, 3);
	disrupt(&(struct disruption){.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO});
	assert_refused(volume_unmap, 100, 10, EIO, "does not take");
	assert_true(disrupt_end() > 0);
	assert_counts(10, 0);
	assert_read(100, 10, 3);
	assert_refused(volume_unmap, 100, 10, EBUSY, "retire");
	/* It is not closed in order: fsync failed. */
	volume_close(volume);
	open_volume();
	assert_read(100, 10, 3);
	assert_moves(volume_unmap, 100, 10, 10, 0, 0);
}

static void spares_that_leave(void **state)
{
	(void)state;
	make_remaps(0, 64, 3);
	/* The second has not so much room. */
	make_remaps(100, 20, 3);
	assert_int_equal(volume_retire_spare(volume, 1, false, &err), 0);
	assert_refused(volume_unmap, 0, 200, EBUSY, "is being emptied");
	assert_int_equal(volume_retire_spare(volume, 1, true, &err), 0);
	assert_refused(volume_unmap, 0, 200, EBUSY, "given up");
	for (int ms = 0; !ask_number("SELECT count(*) FROM spare WHERE state = 'lost'"); ms += 20) {
		assert_true(ms < 20000);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	assert_refused(volume_unmap, 0, 200, EBUSY, "given up");
	close_volume();
	open_volume();
	assert_refused(volume_unmap, 0, 200, EBUSY, "given up");
}

/* ---- while others are at work ------------------------------------------------------- */

#define HOT 64 /* sectors, from 1000 on */

static atomic_bool over;
static atomic_uint rounds;

static void *write_and_read(void *context)
{
	sector_t first = 1000 + (sector_t)(uintptr_t)context * (HOT / 4), at = first;
	uint8_t *buf = aligned_buffer(sector_size);

	for (unsigned tag = 1; !atomic_load(&over); tag++) {
		at = first + tag % (HOT / 4);
		memset(buf, (int)(tag % 250 + 1), sector_size);
		if (volume_write(volume, buf, sector_size, at * sector_size) < 0)
			break;
		memset(buf, 0, sector_size);
		if (volume_read(volume, buf, sector_size, at * sector_size) < 0 ||
		    buf[0] != tag % 250 + 1 || buf[sector_size - 1] != tag % 250 + 1)
			break;
		atomic_fetch_add(&rounds, 1);
	}
	free(buf);
	return atomic_load(&over) ? NULL : (void *)1;
}

static void nobody_notices(void **state)
{
	pthread_t threads[4];
	void *result;

	(void)state;
	atomic_store(&over, false);
	atomic_store(&rounds, 0);
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_and_read, (void *)i), 0);
	for (int i = 0; i < 20 || (atomic_load(&rounds) < 200 && i < 2000); i++) {
		assert_int_equal(move(volume_mark, 990, HOT + 20), 0);
		assert_int_equal(move(volume_unmap, 990, HOT + 20), 0);
	}
	atomic_store(&over, true);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &result);
		assert_null(result);
	}
	assert_true(atomic_load(&rounds) >= 200);
	assert_moves(volume_unmap, 0, 4000, status_now().remapped_sectors, 0, 0);
	close_volume();
	assert_in_order();
	open_volume();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, volume_setup, volume_teardown)
#define SMALL(name) cmocka_unit_test_setup_teardown(name, volume_setup_small_spare, volume_teardown)
#define LARGE(name) {#name "_4096", name, volume_setup_4096, volume_teardown, NULL}
	const struct CMUnitTest tests[] = {
		TEST(what_is_readable_moves),
		LARGE(what_is_readable_moves),
		TEST(what_is_not_becomes_pending),
		TEST(many_small_pieces_share_commits),
		TEST(it_comes_back_when_its_time_is_over),
		SMALL(without_slots_the_rest_stays),
		TEST(a_main_that_is_gone_loses_nothing),
		TEST(nonsense_is_refused),
		TEST(what_is_lost_is_not_read),
		TEST(what_was_cured_before_can_be_lost),
		TEST(what_is_known_stays_as_it_is),
		TEST(what_cannot_be_recorded_stays_good),
		TEST(what_may_be_recorded_is_pending),
		TEST(a_repaired_main_gets_them_back),
		LARGE(a_repaired_main_gets_them_back),
		TEST(a_rebuild_finds_no_old_place),
		TEST(nor_one_in_a_slot_that_failed),
		TEST(nor_in_one_that_fails_later),
		TEST(what_main_does_not_hold_stays),
		TEST(nor_what_it_does_not_read_back),
		TEST(a_lost_slot_is_pending),
		TEST(a_main_that_is_gone_takes_nothing),
		SMALL(freed_slots_are_used_again),
		TEST(a_full_disk_under_the_database_leaves_them),
		TEST(a_commit_in_doubt),
		TEST(a_doubt_that_the_next_try_settles),
		TEST(a_spare_that_does_not_take_it),
		TEST(a_spare_that_does_not_flush),
		SMALL(spares_that_leave),
		TEST(nobody_notices),
		LARGE(nobody_notices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
