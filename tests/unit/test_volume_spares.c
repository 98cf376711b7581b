/*
 * include/remapfs/volume.h: spares that join a volume and leave it while it is
 * in use, and what a crash or a database that fails makes of that.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/spare.h"

#define WAIT_MS 20000

static struct error err;

/* ---- helpers ---------------------------------------------------------------------- */

static void run_sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(db));
	sqlite3_close(db);
}

static struct store_spare prepared(const char *name, uint64_t size)
{
	struct prepare_options o = {.path = at("volume"), .spare = {.path = at(name), .size = size}};
	struct error warning;
	struct store_spare spare;

	if (volume_prepare_spare(&o, &spare, &warning, &err) < 0)
		fail_msg("%s", err.text);
	return spare;
}

static int add(const char *name, uint64_t size)
{
	struct store_spare spare = prepared(name, size);
	int rc = volume_add_spare(volume, &spare, &err);

	free(spare.path);
	return rc;
}

static void assert_added(const char *name, uint64_t size)
{
	if (add(name, size) < 0)
		fail_msg("%s", err.text);
}

static void assert_retiring(spare_id_t id, bool lost)
{
	if (volume_retire_spare(volume, id, lost, &err) < 0)
		fail_msg("%s", err.text);
}

static bool has_state(spare_id_t id, const char *state)
{
	char query[100];

	snprintf(query, sizeof(query), "SELECT state = '%s' FROM spare WHERE id = %u", state, id);
	return ask_number(query) == 1;
}

static void wait_for_state(spare_id_t id, const char *state)
{
	for (int ms = 0; !has_state(id, state); ms += 20) {
		if (ms > WAIT_MS)
			fail_msg("spare %u is not %s: %s", id, state, status_now().stuck);
		pause_ms(20);
	}
}

static void wait_until_stuck(const char *word)
{
	for (int ms = 0; !strstr(status_now().stuck, word); ms += 20) {
		if (ms > WAIT_MS)
			fail_msg("stuck: '%s', not '%s'", status_now().stuck, word);
		pause_ms(20);
	}
}

static uint64_t used_on(spare_id_t id)
{
	char query[100];

	snprintf(query, sizeof(query), "SELECT used FROM spare_usage WHERE id = %u", id);
	return ask_number(query);
}

/* What both superblocks say of the others. The volume must be closed. */
static void assert_members(const char *name, uint32_t spares, uint32_t in_use)
{
	struct file_device_options o = {.role = "spare", .read_only = true};
	struct spare_copy copy[2];
	struct device *d;

	assert_int_equal(file_device_open(at(name), &o, &d, &err), 0);
	assert_int_equal(spare_inspect(d, copy), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(copy[i].error, 0);
		assert_int_equal(copy[i].identity.spares, spares);
		assert_int_equal(copy[i].identity.in_use, in_use);
	}
	device_close(d);
}

/* Nobody has it open, and it is no spare any more. */
static void assert_let_go(const char *name)
{
	struct file_device_options o = {.role = "spare"};
	struct spare_identity id;
	struct device *d;

	/* The row comes first, then it is closed. */
	for (int ms = 0; file_device_open(at(name), &o, &d, &err) < 0; ms += 20) {
		if (ms > WAIT_MS)
			fail_msg("%s", err.text);
		pause_ms(20);
	}
	assert_int_equal(spare_probe(d, &id), -ENOENT);
	device_close(d);
}

/* The worker is gone without a word: what is on the disks is all that is left. */
static void copy_of(const char *from, const char *to)
{
	char command[1000];

	snprintf(command, sizeof(command), "cp '%s' '%s'", at(from), at(to));
	assert_int_equal(system(command), 0);
}

/* ---- joining ------------------------------------------------------------------------ */

static void an_added_spare_ends_the_shortage(void **state)
{
	uint64_t slots = status_now().free_slots;

	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots, 1);
	assert_int_equal(write_sectors_of(slots, 1, 2), -EIO);
	assert_true(status_now().slots_needed > 0);
	assert_added("spare3", spare_bytes_min(512));
	assert_int_equal(status_now().slots_needed, 0);
	assert_int_equal(status_now().free_slots, SPARE_SLOTS_MIN);
	assert_string_equal(trouble_now(), "");
	assert_int_equal(events("spare_added"), 1);
	assert_written(slots, SPARE_SLOTS_MIN, 3);
	assert_int_equal(used_on(3), SPARE_SLOTS_MIN);
	reopen_volume();
	assert_read(0, slots, 1);
	assert_read(slots, SPARE_SLOTS_MIN, 3);
}

/* Otherwise a rebuild may not miss it: of two copies it cannot tell the newer one. */
static void both_superblocks_of_the_others_know_of_it(void **state)
{
	(void)state;
	assert_added("spare3", spare_bytes_min(512));
	copy_of("spare1", "copy1");
	copy_of("spare2", "copy2");
	assert_added("spare4", spare_bytes_min(512));
	copy_of("spare3", "copy3");
	close_volume();
	assert_members("copy1", 3, 3);
	assert_members("copy2", 3, 3);
	assert_members("copy3", 4, 4);
}

static void what_cannot_join_is_refused(void **state)
{
	struct store_spare spare = prepared("spare3", spare_bytes_min(512)), wrong = spare;
	char nowhere[] = "/nowhere/spare";

	(void)state;
	wrong.id = 4;
	assert_int_equal(volume_add_spare(volume, &wrong, &err), -EAGAIN);
	snprintf(wrong.uuid, sizeof(wrong.uuid), "none");
	wrong.id = 3;
	assert_int_equal(volume_add_spare(volume, &wrong, &err), -EINVAL);
	wrong = spare;
	wrong.uuid[0] = spare.uuid[0] == '0' ? '1' : '0';
	assert_int_equal(volume_add_spare(volume, &wrong, &err), -EBADMSG);
	wrong = spare;
	wrong.path = nowhere;
	assert_int_equal(volume_add_spare(volume, &wrong, &err), -ENOENT);
	close_volume();
	open_volume_with(&(struct volume_options){.read_only = true});
	assert_int_equal(volume_add_spare(volume, &spare, &err), -EROFS);
	reopen_volume();
	assert_int_equal(ask_number("SELECT count(*) FROM spare"), 2);
	assert_int_equal(volume_add_spare(volume, &spare, &err), 0);
	free(spare.path);
}

static void a_spare_that_is_not_recorded_is_not_used(void **state)
{
	uint64_t slots = status_now().free_slots;

	(void)state;
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE, .error = ENOSPC});
	assert_int_equal(add("spare3", spare_bytes_min(512)), -ENOSPC);
	disrupt_end();
	assert_int_equal(status_now().free_slots, slots);
	assert_int_equal(ask_number("SELECT count(*) FROM spare"), 2);
	/* What was prepared for nothing is taken again. */
	assert_added("spare3", spare_bytes_min(512));
	assert_int_equal(status_now().free_slots, slots + SPARE_SLOTS_MIN);
}

/* The commit that fails once is tried again. */
static void a_commit_in_doubt_is_settled_at_once(void **state)
{
	(void)state;
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO,
				     .times = 1});
	assert_added("spare3", spare_bytes_min(512));
	assert_int_equal(disrupt_end(), 1);
	assert_int_equal(volume_may_add_spare(volume, &err), 0);
	reopen_volume();
	assert_int_equal(ask_number("SELECT count(*) FROM spare"), 3);
}

/*
 * The row of this one may still turn out to be durable, and what it names must then be
 * there: no other one is made in its place before that is known.
 */
static void a_spare_that_may_have_been_added_comes_first(void **state)
{
	(void)state;
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_int_equal(add("spare3", spare_bytes_min(512)), -EINPROGRESS);
	disrupt_end();
	assert_int_equal(volume_may_add_spare(volume, &err), -EINPROGRESS);
	assert_int_equal(add("spare4", spare_bytes_min(512)), -EINPROGRESS);
	reopen_volume();
	assert_int_equal(volume_may_add_spare(volume, &err), 0);
	assert_added("spare4", spare_bytes_min(512));
	reopen_volume();
}

/* ---- leaving ------------------------------------------------------------------------- */

static void a_retired_spare_is_empty_and_can_be_taken_away(void **state)
{
	(void)state;
	bad_sectors(100, 50, FAULT_ON_WRITE);
	assert_written(100, 50, 1);
	assert_int_equal(used_on(1), 50);
	assert_retiring(1, false);
	wait_for_state(1, "retired");
	assert_let_go("spare1");
	assert_int_equal(used_on(2), 50);
	assert_int_equal(events("spare_retiring"), 1);
	assert_int_equal(events("spare_retired"), 1);
	assert_int_equal(unlink(at("spare1")), 0);
	assert_read(100, 50, 1);
	assert_written(100, 50, 2);
	assert_int_equal(volume_flush(volume), 0);
	assert_int_equal(status_now().free_slots, SPARE_SLOTS_MIN - 50);
	reopen_volume();
	assert_read(100, 50, 2);
	close_volume();
	assert_members("spare2", 2, 1);
}

/* Were it wiped first, the row would name a slot of what is no spare any more. */
static void a_row_that_memory_does_not_know_keeps_it_whole(void **state)
{
	(void)state;
	run_sql("INSERT INTO remap (main_sector, sectors, spare_id, slot, sequence, at) "
		"VALUES (500, 1, 1, 3, 1, '2026-01-01T00:00:00.000Z')");
	assert_retiring(1, false);
	wait_until_stuck("not committed");
	assert_true(has_state(1, "retiring"));
	assert_int_equal(events("spare_retired"), 0);
	run_sql("DELETE FROM remap");
	close_volume();
	assert_members("spare1", 2, 2);
	open_volume();
	wait_for_state(1, "retired");
}

struct writing {
	pthread_t thread;
	int rc;
};

static void *write_one(void *context)
{
	struct writing *w = context;

	w->rc = write_sectors_of(10, 1, 2);
	return NULL;
}

static _Atomic(struct writing *) under_way; /* a write that took a slot before its spare began to leave */

struct spare_counts __real_spare_counts(struct spare *);
struct spare_counts __wrap_spare_counts(struct spare *);

/* When the emptying asks whether anything is used, the write ends, and is lost again. */
struct spare_counts __wrap_spare_counts(struct spare *s)
{
	struct writing *w = spare_id(s) == 1 && spare_state(s) == SPARE_RETIRING
				    ? atomic_exchange(&under_way, NULL) : NULL;

	if (w) {
		pthread_join(w->thread, NULL);
		bad_slots(1, 0, 1, FAULT_ON_READ);
		assert_lost(10, 1);
	}
	return __real_spare_counts(s);
}

static void what_is_lost_while_it_is_asked_keeps_it(void **state)
{
	const struct spare_layout l = spare_layout(spare_bytes_min(512), 512);
	struct writing w;

	(void)state;
	assert_written(10, 1, 1);
	bad_sectors(10, 1, FAULT_ON_WRITE);
	add_fault((struct fault){.spare = 1, .start = l.slots_offset / 512, .count = 1,
				 .on = FAULT_ON_WRITE, .delay_ms = 1500});
	assert_int_equal(pthread_create(&w.thread, NULL, write_one, &w), 0);
	pause_ms(500);
	atomic_store(&under_way, &w);
	assert_retiring(1, false);
	wait_until_stuck("lost on a retiring spare");
	assert_int_equal(w.rc, 0);
	assert_true(has_state(1, "retiring"));
	assert_written(10, 1, 3);
	wait_for_state(1, "retired");
	assert_read(10, 1, 3);
}

static void the_last_one_that_lends_stays(void **state)
{
	(void)state;
	assert_int_equal(volume_retire_spare(volume, 3, false, &err), -ENOENT);
	assert_retiring(1, false);
	assert_int_equal(volume_retire_spare(volume, 2, false, &err), -EINVAL);
	wait_for_state(1, "retired");
	assert_int_equal(volume_retire_spare(volume, 2, false, &err), -EINVAL);
	assert_int_equal(volume_retire_spare(volume, 1, false, &err), -ENOENT);
	bad_sectors(0, 10, FAULT_ON_WRITE);
	assert_written(0, 10, 1);
	assert_int_equal(used_on(2), 10);
}

/* The second one begins while the first is at work, and has its number before it. */
static void two_leave_at_once(void **state)
{
	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, 2 * SPARE_SLOTS_MIN, 1);
	assert_added("spare3", 1 * MiB);
	add_fault((struct fault){.spare = 2, .start = 0, .count = 100, .on = FAULT_ON_READ,
				 .life = FAULT_PERMANENT, .delay_ms = 500});
	assert_retiring(2, false);
	pause_ms(100);
	assert_retiring(1, false);
	wait_for_state(2, "retired");
	wait_for_state(1, "retired");
	assert_int_equal(used_on(3), 2 * SPARE_SLOTS_MIN);
	assert_read(0, 2 * SPARE_SLOTS_MIN, 1);
}

static void without_room_it_waits_for_some(void **state)
{
	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, SPARE_SLOTS_MIN + 10, 1);
	assert_retiring(1, false);
	wait_until_stuck("no slot is free");
	assert_true(strstr(trouble_now(), "no slot is free") != NULL);
	assert_read(0, SPARE_SLOTS_MIN + 10, 1);
	reopen_volume();
	wait_until_stuck("no slot is free");
	assert_added("spare3", spare_bytes_min(512));
	wait_for_state(1, "retired");
	assert_read(0, SPARE_SLOTS_MIN + 10, 1);
}

/* Emptied and wiped, but the row that says so was never written. */
static void the_next_opening_finds_it_wiped(void **state)
{
	static const uint8_t zeros[4096];

	(void)state;
	bad_sectors(0, 10, FAULT_ON_WRITE);
	assert_written(0, 10, 1);
	close_volume();
	run_sql("UPDATE spare SET state = 'retiring' WHERE id = 2");
	put_bytes(at("spare2"), 0, zeros, sizeof(zeros));
	put_bytes(at("spare2"), spare_bytes_min(512) - 4096, zeros, sizeof(zeros));
	open_volume();
	assert_true(has_state(2, "retired"));
	assert_int_equal(events("spare_retired"), 1);
	assert_read(0, 10, 1);
	close_volume();
	/* One that holds sectors is no such case. */
	run_sql("UPDATE spare SET state = 'retiring' WHERE id = 1");
	put_bytes(at("spare1"), 0, zeros, sizeof(zeros));
	put_bytes(at("spare1"), spare_bytes_min(512) - 4096, zeros, sizeof(zeros));
	assert_int_equal(volume_open(at("volume"), &(struct volume_options){0}, &volume, &err),
			 -EBADMSG);
}

static void it_stays_retiring_while_the_database_fails(void **state)
{
	(void)state;
	bad_sectors(0, 10, FAULT_ON_WRITE);
	assert_written(0, 10, 1);
	/* One commit still works: that it retires. */
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE, .error = ENOSPC});
	assert_int_equal(volume_retire_spare(volume, 1, false, &err), -ENOSPC);
	disrupt_end();
	assert_true(has_state(1, "active"));
	bad_sectors(20, 10, FAULT_ON_WRITE);
	assert_written(20, 10, 1);
	assert_int_equal(used_on(1), 20);
	add_fault((struct fault){.spare = 1, .start = 0, .count = 100, .on = FAULT_ON_READ,
				 .life = FAULT_PERMANENT, .delay_ms = 1000});
	assert_retiring(1, false);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE, .error = ENOSPC});
	wait_until_stuck("not committed");
	assert_true(has_state(1, "retiring"));
	disrupt_end();
	wait_for_state(1, "retired");
	assert_read(0, 10, 1);
	assert_read(20, 10, 1);
}

/*
 * Its sectors that can be read come along. It stays for the others: without its
 * table a rebuild would take what main held before for their content.
 */
static void what_cannot_be_read_is_not_made_up(void **state)
{
	(void)state;
	bad_sectors(0, 10, FAULT_ON_WRITE);
	assert_written(0, 10, 1);
	bad_slots(1, 4, 2, FAULT_ON_READ);
	assert_retiring(1, false);
	wait_until_stuck("lost on a retiring spare");
	assert_true(has_state(1, "retiring"));
	assert_read(0, 4, 1);
	assert_lost(4, 2);
	assert_read(6, 4, 1);
	assert_int_equal(used_on(1), 0);
	assert_written(4, 2, 2);
	wait_for_state(1, "retired");
	reopen_volume();
	assert_read(4, 2, 2);
}

/* ---- lost ------------------------------------------------------------------------------ */

static void a_lost_spare_takes_its_sectors_along(void **state)
{
	(void)state;
	bad_sectors(0, SPARE_SLOTS_MIN + 5, FAULT_ON_WRITE);
	assert_written(0, SPARE_SLOTS_MIN + 5, 1);
	assert_retiring(1, true);
	wait_for_state(1, "lost");
	assert_int_equal(events("spare_lost"), 1);
	assert_counts(5, SPARE_SLOTS_MIN);
	assert_lost(0, SPARE_SLOTS_MIN);
	assert_read(SPARE_SLOTS_MIN, 5, 1);
	assert_written(0, 10, 2);
	assert_int_equal(unlink(at("spare1")), 0);
	reopen_volume();
	assert_read(0, 10, 2);
	assert_lost(10, 1);
	assert_int_equal(volume_retire_spare(volume, 1, true, &err), -ENOENT);
}

static void a_lost_spare_of_a_closed_volume_is_given_up(void **state)
{
	uint64_t sectors = 0;

	(void)state;
	bad_sectors(0, SPARE_SLOTS_MIN + 5, FAULT_ON_WRITE);
	assert_written(0, SPARE_SLOTS_MIN + 5, 1);
	close_volume();
	assert_int_equal(unlink(at("spare1")), 0);
	assert_int_equal(volume_open(at("volume"), &(struct volume_options){0}, &volume, &err),
			 -ENOENT);
	assert_int_equal(volume_forget_spare(at("volume"), 3, &sectors, &err), -ENOENT);
	assert_int_equal(volume_forget_spare(at("volume"), 1, &sectors, &err), 0);
	assert_int_equal(sectors, SPARE_SLOTS_MIN);
	open_volume();
	assert_counts(5, SPARE_SLOTS_MIN);
	assert_lost(0, 3);
	assert_read(SPARE_SLOTS_MIN, 5, 1);
	assert_written(0, 3, 2);
	assert_read(0, 3, 2);
}

/* ---- what no statement can do -------------------------------------------------------------- */

static void a_spare_that_left_does_not_come_back(void **state)
{
	sqlite3 *db;

	(void)state;
	bad_sectors(0, 10, FAULT_ON_WRITE);
	assert_written(0, 10, 1);
	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE spare SET state = 'retired' WHERE id = 1", NULL,
				      NULL, NULL), SQLITE_CONSTRAINT);
	assert_int_equal(sqlite3_exec(db, "UPDATE spare SET state = 'lost' WHERE id = 2", NULL, NULL,
				      NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE spare SET state = 'active' WHERE id = 2", NULL,
				      NULL, NULL), SQLITE_CONSTRAINT);
	sqlite3_close(db);
}

#define SMALL(test) cmocka_unit_test_setup_teardown(test, volume_setup_small_spare, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SMALL(an_added_spare_ends_the_shortage),
		SMALL(both_superblocks_of_the_others_know_of_it),
		SMALL(what_cannot_join_is_refused),
		SMALL(a_spare_that_is_not_recorded_is_not_used),
		SMALL(a_commit_in_doubt_is_settled_at_once),
		SMALL(a_spare_that_may_have_been_added_comes_first),
		SMALL(a_retired_spare_is_empty_and_can_be_taken_away),
		SMALL(a_row_that_memory_does_not_know_keeps_it_whole),
		SMALL(what_is_lost_while_it_is_asked_keeps_it),
		SMALL(the_last_one_that_lends_stays),
		SMALL(two_leave_at_once),
		SMALL(without_room_it_waits_for_some),
		SMALL(the_next_opening_finds_it_wiped),
		SMALL(it_stays_retiring_while_the_database_fails),
		SMALL(what_cannot_be_read_is_not_made_up),
		SMALL(a_lost_spare_takes_its_sectors_along),
		SMALL(a_lost_spare_of_a_closed_volume_is_given_up),
		SMALL(a_spare_that_left_does_not_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
