/*
 * An opening after another process's, under the same users (src/volume/successor.c): what
 * was served is not refused, and what that process knew of its members is not forgotten.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "remapfs/spare.h"

#define MEMBERS 3
#define SPARE_BYTES spare_bytes_min(512)

static struct volume_hold *hold;
static int lock;
static struct volume_member all[MEMBERS];
static unsigned let_go; /* how often the hold was told that a spare has left */

static int joined(void *context, const struct store_spare *info, int fd, struct error *err)
{
	(void)context, (void)info, (void)fd, (void)err;
	return -EINVAL;
}

static void left(void *context, spare_id_t id)
{
	(void)context, (void)id;
	let_go++;
}

static struct volume_members members = {.all = all, .joined = joined, .left = left};

/* As the supervisor: two spares, of which the first has sectors 100 to 107. */
static int hold_members(void **state)
{
	struct error err = {""};

	if (volume_setup_small_spare(state) < 0)
		return -1;
	members.marks = mmap(NULL, (SPARE_ID_MAX + 1) * sizeof(*members.marks), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	let_go = 0;
	bad_sectors(100, 8, FAULT_ON_WRITE);
	bad_sectors(300, 8, FAULT_ON_WRITE);
	assert_written(100, 8, 1);
	assert_written(200, 8, 2);
	close_volume();
	if (members.marks == MAP_FAILED || volume_lock(at("volume"), 0, &lock, &err) < 0 ||
	    volume_hold_open(at("volume"), false, 0, &hold, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	members.count = volume_hold_count(hold);
	for (size_t i = 0; i < members.count && i < MEMBERS; i++)
		all[i] = volume_hold_member(hold, i);
	return members.count == MEMBERS ? 0 : -1;
}

static int let_members_go(void **state)
{
	if (volume)
		volume_close(volume);
	volume = NULL;
	munmap(members.marks, (SPARE_ID_MAX + 1) * sizeof(*members.marks));
	volume_hold_close(hold);
	close(lock);
	return volume_teardown(state);
}

static int try_to_open(bool successor, bool *database_failed)
{
	const struct volume_options o = {.opener = "a worker", .locked = true, .members = &members,
					 .successor = successor, .database_failed = database_failed};
	struct error err = {""};
	int rc = volume_open(at("volume"), &o, &volume, &err);

	if (rc < 0)
		volume = NULL;
	return rc;
}

/* A worker that does something and is killed. */
static int work(void *context)
{
	int (*const *something)(void) = context;

	return try_to_open(false, NULL) < 0 ? 1 : (*something)() == 0 ? 0 : 2;
}

static void a_worker_dies_after(int (*something)(void))
{
	assert_int_equal(in_child(work, (void *)&something), 0);
}

static void the_next_one_opens(void)
{
	bool database_failed = false;

	assert_int_equal(try_to_open(true, &database_failed), 0);
	assert_false(database_failed);
}

static int nothing(void)
{
	return 0;
}

/* ---- a spare --------------------------------------------------------------------------- */

/* All of what is not on it goes on, and the state tells it. */
static void assert_first_is_gone(unsigned times_told)
{
	struct volume_spare_status first, second;

	assert_lost(100, 8);
	assert_read(200, 8, 2);
	assert_written(208, 8, 3);
	assert_written(300, 8, 4);
	assert_read(300, 8, 4);
	assert_non_null(strstr(trouble_now(), "spare 1"));
	assert_non_null(strstr(trouble_now(), "is gone"));
	assert_true(volume_spare_status(volume, 0, &first));
	assert_true(volume_spare_status(volume, 1, &second));
	assert_int_equal(first.free, 0);
	assert_int_equal(first.health, VOLUME_FAILED);
	assert_int_equal(second.health, VOLUME_OK);
	assert_int_equal(volume_flush(volume), 0);
	assert_int_equal(events("device_failed"), times_told);
	assert_int_equal(ask_number("SELECT count(*) FROM pending"), 0);
}

static void cut(void)
{
	assert_int_equal(truncate(at("spare1"), 8192), 0);
}

static void overwritten(void)
{
	uint8_t *noise = aligned_buffer(SPARE_BYTES);

	memset(noise, 0x77, SPARE_BYTES);
	put_bytes(at("spare1"), 0, noise, SPARE_BYTES);
	free(noise);
}

static void another_spare(void)
{
	uint8_t *other = aligned_buffer(SPARE_BYTES);

	get_bytes(at("spare2"), 0, other, SPARE_BYTES);
	put_bytes(at("spare1"), 0, other, SPARE_BYTES);
	free(other);
}

static uint8_t *older;

static void an_older_copy(void)
{
	put_bytes(at("spare1"), 0, older, SPARE_BYTES);
}

static void is_kept_as_gone(void (*way)(void))
{
	struct member_mark *marks = members.marks;
	uint8_t *was = aligned_buffer(SPARE_BYTES);

	older = aligned_buffer(SPARE_BYTES);
	get_bytes(at("spare1"), 0, older, SPARE_BYTES);
	a_worker_dies_after(nothing);
	get_bytes(at("spare1"), 0, was, SPARE_BYTES);
	way();
	/* By a mount that only begins it is refused. */
	members.marks = NULL;
	assert_true(try_to_open(false, NULL) < 0);
	members.marks = marks;
	the_next_one_opens();
	assert_first_is_gone(1);
	/* It is asked nothing any more under this mount. */
	put_bytes(at("spare1"), 0, was, SPARE_BYTES);
	assert_lost(100, 8);
	close_volume();
	/* The next mount has it again, with all that is on it. */
	atomic_store(&members.marks[1].cut, false);
	assert_int_equal(try_to_open(false, NULL), 0);
	assert_read(100, 8, 1);
	assert_read(300, 8, 4);
	free(was);
	free(older);
}

static void a_spare_that_was_cut(void **state)
{
	(void)state;
	is_kept_as_gone(cut);
}

static void a_spare_that_was_overwritten(void **state)
{
	(void)state;
	is_kept_as_gone(overwritten);
}

static void a_spare_that_is_another_one(void **state)
{
	(void)state;
	is_kept_as_gone(another_spare);
}

static void a_spare_that_is_older(void **state)
{
	(void)state;
	is_kept_as_gone(an_older_copy);
}

static int write_in_place(void)
{
	return write_sectors_of(100, 8, 6);
}

/* Contract 5: what was written to it and not flushed is not there any more. */
static void what_a_spare_had_not_flushed_is_told(void **state)
{
	(void)state;
	a_worker_dies_after(write_in_place);
	cut();
	the_next_one_opens();
	assert_read(200, 8, 2);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_true(status_now().flush_failed);
}

static void what_the_database_refuses_is_refused(void **state)
{
	sqlite3 *db;

	(void)state;
	a_worker_dies_after(nothing);
	/* An older copy of the database: no sector is known to be where its rows say. */
	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	assert_int_equal(sqlite3_exec(db, "UPDATE volume SET opens = 0", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(try_to_open(true, NULL), -EUCLEAN);
}

/* ---- a file that was cut ------------------------------------------------------------------ */

static int notice_that_main_is_cut(void)
{
	return truncate(at("main"), MAIN_BYTES / 2) < 0 || read_sectors_of(30000, 8, 0) != -EIO;
}

static void a_main_that_was_cut_stays_so(void **state)
{
	(void)state;
	a_worker_dies_after(notice_that_main_is_cut);
	assert_int_equal(truncate(at("main"), MAIN_BYTES), 0);
	the_next_one_opens();
	assert_lost(30000, 8);
	assert_int_equal(write_sectors_of(30000, 8, 1), -EIO);
	assert_read(100, 8, 1);
}

static int notice_that_a_spare_is_cut(void)
{
	cut();
	return read_sectors_of(100, 8, 1) != -EIO;
}

static void a_spare_that_was_cut_stays_so(void **state)
{
	(void)state;
	a_worker_dies_after(notice_that_a_spare_is_cut);
	assert_int_equal(truncate(at("spare1"), (off_t)SPARE_BYTES), 0);
	the_next_one_opens();
	assert_first_is_gone(2);
}

/* ---- one that had left ---------------------------------------------------------------------- */

static void run_sql(const char *text)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static void a_wiped_spare_is_let_go_once_that_is_durable(void **state)
{
	static const uint8_t zeros[4096];
	bool database_failed = false;
	struct sqlite3 *locker;

	(void)state;
	a_worker_dies_after(nothing);
	run_sql("UPDATE spare SET state = 'retiring' WHERE id = 2");
	put_bytes(at("spare2"), 0, zeros, sizeof(zeros));
	put_bytes(at("spare2"), SPARE_BYTES - 4096, zeros, sizeof(zeros));
	locker = hold_write_lock();
	assert_int_equal(try_to_open(true, &database_failed), -EBUSY);
	assert_true(database_failed);
	assert_int_equal(let_go, 0);
	release_write_lock(locker);
	the_next_one_opens();
	assert_int_equal(let_go, 1);
	close_volume();
	assert_int_equal(ask_number("SELECT count(*) FROM spare WHERE id = 2 AND state = 'retired'"), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, hold_members, let_members_go)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_spare_that_was_cut),
		TEST(a_spare_that_was_overwritten),
		TEST(a_spare_that_is_another_one),
		TEST(a_spare_that_is_older),
		TEST(what_a_spare_had_not_flushed_is_told),
		TEST(what_the_database_refuses_is_refused),
		TEST(a_main_that_was_cut_stays_so),
		TEST(a_spare_that_was_cut_stays_so),
		TEST(a_wiped_spare_is_let_go_once_that_is_durable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
