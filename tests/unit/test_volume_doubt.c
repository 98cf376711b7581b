/*
 * What a commit that failed leaves on the spares, and what then must not happen:
 * that a failed write outlives one that was acknowledged (contracts 1 and 10).
 */
#include "volume_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/check.h"
#include "remapfs/rebuild.h"
#include "volume/volume_impl.h"

static struct error err;

/* ---- helpers ---------------------------------------------------------------------- */

struct writing {
	sector_t start;
	uint64_t count;
	uint8_t tag;
	int rc;
};

static void *write_beside(void *context)
{
	struct writing *w = context;

	w->rc = write_sectors_of(w->start, w->count, w->tag);
	return NULL;
}

/*
 * A write that has to move, while somebody holds the lock of the database: its
 * descriptors are on the spare by the time that fault() makes it fail.
 */
static int failed_move(struct writing w, void (*fault)(const void *), const void *context)
{
	pthread_t thread;
	struct sqlite3 *db = hold_write_lock();

	assert_int_equal(pthread_create(&thread, NULL, write_beside, &w), 0);
	pause_ms(700);
	fault(context);
	pthread_join(thread, NULL);
	release_write_lock(db);
	return w.rc;
}

static void begin_disruption(const void *d)
{
	disrupt(d);
}

/* The database is lost, and made anew from spare 1. */
static void rebuild(void)
{
	const struct part_spec spare = {.path = at("spare1")};
	const struct rebuild_options o = {.path = at("volume"), .main = {.path = at("main")},
					  .spares = &spare, .spare_count = 1, .force = true};
	struct rebuild_result result;

	if (volume_rebuild(&o, &result, &err) < 0)
		fail_msg("%s", err.text);
}

/* ---- several changes in one commit ---------------------------------------------------- */

static void *move_one(void *context)
{
	struct writing *w = context;
	uint8_t *data = aligned_buffer(512);

	w->rc = volume_write(volume, data, 512, w->start * 512);
	free(data);
	return NULL;
}

static unsigned changes_waiting(void)
{
	struct committer *m = &volume->committer;
	unsigned n = 0;

	pthread_mutex_lock(&m->lock);
	for (struct change *c = m->waiting; c; c = c->next)
		n++;
	pthread_mutex_unlock(&m->lock);
	return n;
}

static void keep_an_event(void)
{
	const struct event event = {.kind = EVENT_DEVICE_WORKS, .detail = "kept"};
	struct change change = {0};

	assert_int_equal(change_event(&change, &event), 0);
	commit_later(&volume->committer, &change);
}

static void put_row(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

static uint64_t rows_of(sector_t sector)
{
	char query[100];

	snprintf(query, sizeof(query), "SELECT count(*) FROM remap WHERE main_sector = %llu",
		 (unsigned long long)sector);
	return ask_number(query);
}

/* A row in the way of one: that one is not recorded, what was kept and the other one are. */
static void one_that_cannot_be_recorded_is_alone(void **state)
{
	struct writing w[2] = {{.start = 100}, {.start = 200}};
	pthread_t thread[2];

	(void)state;
	bad_sectors(100, 1, FAULT_ON_WRITE);
	bad_sectors(200, 1, FAULT_ON_WRITE);
	put_row("INSERT INTO remap VALUES (30000, 1, 1, 1, 1, NULL, 'x')");
	committer_enter(&volume->committer);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, move_one, &w[i]), 0);
	for (int tries = 0; tries < 500 && changes_waiting() < 2; tries++)
		pause_ms(20);
	assert_int_equal(changes_waiting(), 2);
	keep_an_event();
	committer_leave(&volume->committer);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(rows_of(w[i].start), w[i].rc == 0);
	assert_int_equal((w[0].rc == 0) + (w[1].rc == 0), 1);
	assert_int_equal(ask_number("SELECT count(*) FROM history WHERE detail = 'kept'"), 1);
}

/* ---- descriptors that could not be cleared ------------------------------------------- */

static void one_that_could_not_be_read_once_is_cleared_later(void **state)
{
	const struct disruption once = {.file = "/spare1", .calls = DISRUPT_READ, .error = EIO,
					.times = 1};

	(void)state;
	assert_written(10, 32, 1);
	bad_sectors(10, 32, FAULT_ON_WRITE);
	assert_int_equal(failed_move((struct writing){10, 32, 2, 0}, begin_disruption, &once), -EIO);
	assert_int_equal(disrupt_end(), 1);
	clear_faults();
	assert_written(10, 32, 3);
	assert_int_equal(volume_flush(volume), 0);
	close_volume();
	rebuild();
	open_volume();
	assert_read(10, 32, 3);
}

static void one_that_stays_holds_back_what_it_would_outlive(void **state)
{
	const struct disruption read_only = {.file = "/spare1", .calls = DISRUPT_WRITE, .error = EIO};

	(void)state;
	assert_written(10, 1, 1);
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_int_equal(failed_move((struct writing){10, 1, 2, 0}, begin_disruption, &read_only), -EIO);
	clear_faults();
	/* Main would take it, but a rebuild would not find that. */
	assert_int_equal(write_sectors_of(10, 1, 3), -EIO);
	volume_close(volume);
	volume = NULL;
	disrupt_end();
	/* The next opening compares, and clears it. */
	open_volume();
	assert_written(10, 1, 3);
	assert_int_equal(volume_flush(volume), 0);
	close_volume();
	rebuild();
	open_volume();
	assert_read(10, 1, 3);
}

static void with_room_elsewhere_a_newer_one_outvotes_it(void **state)
{
	const struct disruption dead = {.file = "/spare1", .calls = DISRUPT_ALL, .error = EIO};

	(void)state;
	assert_written(10, 1, 1);
	bad_sectors(10, 1, FAULT_ON_BOTH);
	assert_lost(10, 1);
	assert_int_equal(failed_move((struct writing){10, 1, 2, 0}, begin_disruption, &dead), -EIO);
	clear_faults();
	assert_written(10, 1, 3);
	assert_int_equal(ask_number("SELECT spare_id FROM remap WHERE main_sector = 10"), 2);
	assert_read(10, 1, 3);
	volume_close(volume);
	volume = NULL;
	disrupt_end();
	open_volume();
	assert_read(10, 1, 3);
}

static void break_table(const void *context)
{
	const struct spare_layout l = spare_layout(1 * MiB, 512);
	const struct fault f = {.id = 3, .spare = 1, .start = l.table_offset / 512, .count = 1,
				.on = FAULT_ON_WRITE, .error = EIO};

	(void)context;
	fault_device_set(spare_device(volume->spares.all[0]), 1, &f, 1);
}

/* Nothing can be confirmed, so each write finds a new place: and gives back the former one. */
static void slots_that_cannot_be_confirmed_are_not_used_up(void **state)
{
	uint64_t before, after;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	bad_sectors(50, 1, FAULT_ON_WRITE);
	assert_int_equal(failed_move((struct writing){10, 1, 2, 0}, break_table, NULL), -EIO);
	assert_written(50, 1, 1);
	before = spare_counts(volume->spares.all[0]).free;
	atomic_store(&volume->in_doubt, false); /* of the move that failed */
	for (int i = 0; i < 100; i++)
		assert_written(50, 1, (uint8_t)(i | 1));
	after = spare_counts(volume->spares.all[0]).free;
	assert_true(after + 2 > before);
	assert_read(50, 1, 99);
	/* The descriptors in the slots that it left are past: the next opening has to look. */
	assert_true(atomic_load(&volume->in_doubt));
	fault_device_set(spare_device(volume->spares.all[0]), 1, NULL, 0);
	reopen_volume();
	assert_read(50, 1, 99);
}

static uint64_t slot_of(sector_t sector)
{
	char query[100];

	snprintf(query, sizeof(query), "SELECT slot FROM remap WHERE main_sector = %llu",
		 (unsigned long long)sector);
	return ask_number(query);
}

static void one_that_is_outvoted_holds_nothing_back(void **state)
{
	uint64_t slot;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	bad_sectors(50, 1, FAULT_ON_WRITE);
	assert_int_equal(failed_move((struct writing){10, 1, 2, 0}, break_table, NULL), -EIO);
	/* To where the table can be written: newer than what is left. */
	assert_written(10, 1, 3);
	assert_written(50, 1, 1);
	slot = slot_of(50);
	for (int i = 0; i < 5; i++)
		assert_written(50, 1, (uint8_t)(i | 1));
	assert_int_equal(slot_of(50), slot);
	close_volume();
	rebuild();
	open_volume();
	assert_read(10, 1, 3);
}

/* Of five that are left the middle one is outvoted: the others are cleared before main counts. */
static void one_that_is_outvoted_in_part(void **state)
{
	(void)state;
	assert_written(10, 5, 1);
	bad_sectors(10, 5, FAULT_ON_WRITE);
	assert_int_equal(failed_move((struct writing){10, 5, 2, 0}, break_table, NULL), -EIO);
	assert_written(12, 1, 3);
	fault_device_set(spare_device(volume->spares.all[0]), 1, NULL, 0);
	clear_faults();
	assert_written(10, 2, 4);
	assert_written(13, 2, 4);
	assert_int_equal(volume_flush(volume), 0);
	close_volume();
	rebuild();
	open_volume();
	assert_read(10, 2, 4);
	assert_read(12, 1, 3);
	assert_read(13, 2, 4);
}

/* ---- commits in doubt ------------------------------------------------------------------ */

static void what_was_moved_stays_readable(void **state)
{
	const struct disruption second = {.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO,
					  .after = 1, .times = 1};

	(void)state;
	bad_sectors(100, 4, FAULT_ON_WRITE);
	assert_written(100, 4, 7);
	disrupt(&second);
	assert_int_equal(volume_retire_spare(volume, 1, false, &err), 0);
	for (int ms = 0; !ask_number("SELECT state = 'retired' FROM spare WHERE id = 1"); ms += 20) {
		if (ms > 20000)
			fail_msg("spare 1 does not leave: %s", status_now().stuck);
		pause_ms(20);
	}
	assert_int_equal(disrupt_end(), 1);
	assert_read(100, 4, 7);
}

/* ---- a flush that failed for another one ------------------------------------------------- */

struct life {
	char volume[4096];
	atomic_bool *flush_failed;
};

/* Leaves an overwritten slot in the cache of a spare whose flush then fails for a commit. */
static int live_and_die(void *context)
{
	const struct disruption once = {.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO,
					.times = 1};
	struct life *life = context;
	const struct volume_options o = {.opener = "one", .flush_failed = life->flush_failed};

	if (volume_open(life->volume, &o, &volume, &err) < 0 || write_sectors_of(10, 1, 1) < 0 ||
	    volume_flush(volume) < 0 || write_sectors_of(10, 1, 2) < 0 ||
	    write_sectors_of(10, 1, 3) < 0)
		_exit(1);
	disrupt(&once);
	write_sectors_of(20, 1, 1);
	_exit(disrupt_end() == 1 ? 0 : 2);
}

static void a_successor_knows_of_it(void **state)
{
	struct life life = {.flush_failed = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
						 MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
	const struct volume_options o = {.opener = "two", .flush_failed = life.flush_failed};

	(void)state;
	assert_ptr_not_equal(life.flush_failed, MAP_FAILED);
	snprintf(life.volume, sizeof(life.volume), "%s", at("volume"));
	bad_sectors(10, 1, FAULT_ON_WRITE);
	bad_sectors(20, 1, FAULT_ON_WRITE);
	close_volume();
	assert_int_equal(in_child(live_and_die, &life), 0);
	open_volume_with(&o);
	assert_int_equal(volume_flush(volume), -EIO);
	volume_close(volume);
	volume = NULL;
	munmap(life.flush_failed, 4096);
}

/* ---- what a look finds, without an opening ------------------------------------------------ */

static int look(const char *name)
{
	struct troubles found = {.count = 0};
	char since[32] = "";
	struct store *s;

	assert_int_equal(store_open(at(name), STORE_READ, &s, &err), 0);
	volume_look(s, &found, since);
	store_close(s);
	snprintf(err.text, sizeof(err.text), "%.500s", trouble_text(&found, 0).text);
	return troubles_state(&found) == VOLUME_FAILED ? -EUCLEAN : 0;
}

static void an_older_copy_is_told_from_the_database(void **state)
{
	char command[9000];

	(void)state;
	close_volume();
	snprintf(command, sizeof(command), "cp %s %s", at("volume"), at("copy"));
	assert_int_equal(system(command), 0);
	assert_int_equal(look("copy"), 0);
	open_volume();
	/* In use: nobody is disturbed. */
	assert_int_equal(look("copy"), 0);
	close_volume();
	assert_int_equal(look("volume"), 0);
	assert_int_equal(look("copy"), -EUCLEAN);
}

static void another_spare_is_told_from_the_own_one(void **state)
{
	char command[9000];

	(void)state;
	close_volume();
	snprintf(command, sizeof(command), "cp %s %s", at("spare2"), at("spare1"));
	assert_int_equal(system(command), 0);
	assert_int_equal(look("volume"), -EUCLEAN);
	assert_non_null(strstr(err.text, "another spare"));
}

/* ---- what holds something is not prepared ------------------------------------------------ */

static void a_spare_that_was_left_out_is_not_overwritten(void **state)
{
	const struct part_spec both[] = {{.path = at("spare1")}, {.path = at("spare2")}};
	struct rebuild_options o = {.path = at("volume"), .main = {.path = at("main")},
				    .spares = &both[1], .spare_count = 1, .force = true,
				    .partial = true};
	const struct prepare_options again = {.path = at("volume"), .spare = {.path = at("spare1")}};
	struct store_spare info = {0};
	struct rebuild_result result;
	struct error warning = {""};

	(void)state;
	bad_sectors(10, 4, FAULT_ON_WRITE);
	assert_written(10, 4, 7);
	close_volume();
	assert_int_equal(volume_rebuild(&o, &result, &err), 0);
	assert_int_equal(volume_prepare_spare(&again, &info, &warning, &err), -EEXIST);
	o.path = at("again");
	o.spares = both;
	o.spare_count = 2;
	o.partial = false;
	assert_int_equal(volume_rebuild(&o, &result, &err), 0);
	assert_int_equal(result.remapped, 4);
}

#define PLAIN(test) cmocka_unit_test_setup_teardown(test, volume_setup, volume_teardown)
#define SMALL(test) cmocka_unit_test_setup_teardown(test, volume_setup_small_spare, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PLAIN(one_that_cannot_be_recorded_is_alone),
		PLAIN(one_that_could_not_be_read_once_is_cleared_later),
		PLAIN(one_that_stays_holds_back_what_it_would_outlive),
		SMALL(with_room_elsewhere_a_newer_one_outvotes_it),
		PLAIN(slots_that_cannot_be_confirmed_are_not_used_up),
		PLAIN(one_that_is_outvoted_holds_nothing_back),
		PLAIN(one_that_is_outvoted_in_part),
		SMALL(what_was_moved_stays_readable),
		PLAIN(a_successor_knows_of_it),
		PLAIN(an_older_copy_is_told_from_the_database),
		SMALL(another_spare_is_told_from_the_own_one),
		SMALL(a_spare_that_was_left_out_is_not_overwritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
