/*
 * include/remapfs/volume.h: what a volume does when spares, main, the database
 * or fsync fail it.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/spare.h"
#include "spare/format.h"
#include "volume/volume_impl.h"

static uint64_t free_slots(void)
{
	uint64_t in_database = ask_number("SELECT sum(free) FROM spare_usage");

	assert_int_equal(status_now().free_slots, in_database);
	return in_database;
}

static uint64_t bad_slot_count(void)
{
	return ask_number("SELECT coalesce(sum(slots), 0) FROM bad_slot");
}

/* ---- scenario 9: the spares are full -------------------------------------------- */

static void full_spares_fail_the_write_and_nothing_else(void **state)
{
	uint64_t slots = free_slots();

	(void)state;
	assert_written(0, 300, 1);
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots - 2, 2);
	assert_int_equal(free_slots(), 2);
	/* Three sectors for two slots: all or nothing, and no slot is lost. */
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(write_sectors_of(200, 3, 3), -EIO);
	assert_int_equal(free_slots(), 2);
	assert_counts(slots - 2, 0);
	assert_read(200, 3, 1);
	assert_int_equal(events("spares_full"), 1);
	assert_true(events("write_failed") > 0);
	assert_written(200, 2, 4);
	assert_int_equal(free_slots(), 0);
	assert_int_equal(write_sectors_of(202, 1, 5), -EIO);
	assert_read(202, 1, 1);
	assert_read(0, slots - 2, 2);
	assert_written(0, slots - 2, 6);
	assert_read(0, slots - 2, 6);
	assert_true(trouble_now()[0]);
	reopen_volume();
	assert_int_equal(free_slots(), 0);
	assert_read(0, slots - 2, 6);
	assert_read(200, 2, 4);
	assert_read(202, 1, 1);
	assert_int_equal(write_sectors_of(202, 1, 5), -EIO);
}

/* Good sectors around the one that cannot be kept are written, or not: never mixed up. */
/* Of two slots the first is bad, and there is no other: the second is given back. */
static void half_of_a_move_gives_back_the_other_half(void **state)
{
	uint64_t slots = free_slots();

	(void)state;
	assert_written(0, 300, 1);
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots - 2, 2);
	bad_slots(2, ask_number("SELECT used FROM spare_usage WHERE id = 2"), 1, FAULT_ON_WRITE);
	assert_int_equal(write_sectors_of(200, 2, 3), -EIO);
	assert_int_equal(status_now().free_slots, 1);
	assert_written(200, 1, 4);
	assert_read(200, 1, 4);
	assert_read(201, 1, 1);
}

static void a_failed_write_leaves_old_or_new(void **state)
{
	uint64_t slots = free_slots();

	(void)state;
	assert_written(500, 8, 1);
	bad_sectors(0, slots, FAULT_ON_WRITE);
	assert_written(0, slots, 1);
	bad_sectors(503, 1, FAULT_ON_WRITE);
	assert_int_equal(write_sectors_of(500, 8, 2), -EIO);
	assert_read(503, 1, 1);
	for (sector_t s = 500; s < 508; s++) {
		assert_int_equal(volume_read(volume, buffer, sector_size, s * sector_size), 0);
		assert_true(buffer[100] == 1 || buffer[100] == 2);
		assert_read(s, 1, buffer[100]);
	}
}

static void both_spares_are_used(void **state)
{
	(void)state;
	bad_sectors(0, 100, FAULT_ON_WRITE);
	assert_written(0, 100, 1);
	assert_int_equal(ask_number("SELECT count(DISTINCT spare_id) FROM remap"), 2);
	assert_read(0, 100, 1);
	reopen_volume();
	assert_read(0, 100, 1);
}

/* ---- scenario 10: bad slots ----------------------------------------------------- */

static void a_slot_that_fails_on_write_is_passed_over(void **state)
{
	(void)state;
	bad_slots(1, 0, 2, FAULT_ON_WRITE);
	bad_slots(1, 5, 1, FAULT_ON_WRITE);
	bad_sectors(10, 6, FAULT_ON_WRITE);
	assert_written(8, 10, 1);
	assert_counts(6, 0);
	assert_int_equal(bad_slot_count(), 3);
	assert_int_equal(events("slot_bad"), 3);
	assert_read(8, 10, 1);
	reopen_volume();
	assert_read(8, 10, 1);
	assert_int_equal(free_slots(), ask_number("SELECT sum(slots) FROM spare") - 9);
	/* Bad for good, also when the fault is gone. */
	clear_faults();
	bad_sectors(100, 100, FAULT_ON_WRITE);
	assert_written(100, 100, 2);
	assert_int_equal(bad_slot_count(), 3);
}

static void a_used_slot_that_fails_on_write_is_left(void **state)
{
	(void)state;
	bad_sectors(10, 4, FAULT_ON_WRITE);
	assert_written(10, 4, 1);
	bad_slots(1, ask_number("SELECT slot FROM remap WHERE main_sector = 10") + 1, 1,
		  FAULT_ON_WRITE);
	assert_written(10, 4, 2);
	assert_read(10, 4, 2);
	assert_counts(4, 0);
	assert_int_equal(bad_slot_count(), 1);
	assert_int_equal(events("moved"), 1);
	assert_int_equal(free_slots(), ask_number("SELECT sum(slots) FROM spare") - 5);
	reopen_volume();
	assert_read(10, 4, 2);
}

/* Main holds older data of these sectors: it must never be served again. */
static void a_slot_that_fails_on_read_loses_its_sector(void **state)
{
	slot_t slot;

	(void)state;
	assert_written(10, 4, 1);
	bad_sectors(10, 4, FAULT_ON_WRITE);
	assert_written(10, 4, 2);
	slot = ask_number("SELECT slot FROM remap WHERE main_sector = 10") + 2;
	bad_slots(1, slot, 1, FAULT_ON_READ);
	assert_lost(12, 1);
	assert_read(10, 2, 2);
	assert_read(13, 1, 2);
	assert_counts(3, 1);
	assert_int_equal(ask_number("SELECT slot FROM pending WHERE sector = 12 AND spare_id = 1"),
			 slot);
	clear_faults();
	assert_lost(12, 1);
	reopen_volume();
	assert_lost(12, 1);
	assert_counts(3, 1);
	assert_written(12, 1, 3);
	assert_read(12, 1, 3);
	assert_read(10, 2, 2);
	reopen_volume();
	assert_read(12, 1, 3);
	assert_int_equal(bad_slot_count(), 1);
	assert_int_equal(ask_number("SELECT count(*) FROM remap WHERE slot = 2"), 0);
}

/* Until it is found: read errors of a slot while the write of others fails. */
static void a_failing_table_sector_is_passed_over(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);

	(void)state;
	add_fault((struct fault){.spare = 1, .start = l.table_offset / 512, .count = 1,
				 .on = FAULT_ON_WRITE, .error = EIO});
	bad_sectors(10, 4, FAULT_ON_WRITE);
	assert_written(10, 4, 1);
	assert_counts(4, 0);
	assert_read(10, 4, 1);
	assert_true(ask_number("SELECT min(slot) FROM remap") >= 512 / 32);
	free_slots();
	reopen_volume();
	assert_read(10, 4, 1);
}

static void assert_bad_slots(slot_t first, uint64_t count)
{
	assert_int_equal(ask_number("SELECT min(slot) FROM bad_slot"), first);
	assert_int_equal(ask_number("SELECT max(slot + slots) FROM bad_slot"), first + count);
	assert_int_equal(bad_slot_count(), count);
}

/* The second of three that have the descriptors of one extent. */
static void the_table_sector_of_a_long_extent_is_given_up(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);

	(void)state;
	add_fault((struct fault){.spare = 1, .start = l.table_offset / 512 + 1, .count = 1,
				 .on = FAULT_ON_WRITE, .error = EIO});
	bad_sectors(0, 48, FAULT_ON_WRITE);
	assert_written(0, 48, 1);
	assert_counts(48, 0);
	assert_read(0, 48, 1);
	assert_bad_slots(16, 16);
}

/* Descriptors of one change in two table sectors: the second is in order. */
static void the_table_sector_that_fails_is_given_up(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);

	(void)state;
	bad_sectors(0, 100, FAULT_ON_WRITE);
	assert_written(0, 15, 1);
	bad_sectors(200, 1, FAULT_ON_WRITE);
	bad_sectors(210, 1, FAULT_ON_WRITE);
	add_fault((struct fault){.spare = 1, .start = l.table_offset / 512, .count = 1,
				 .on = FAULT_ON_WRITE, .error = EIO});
	assert_written(195, 20, 2);
	assert_counts(17, 0);
	assert_read(195, 20, 2);
	assert_bad_slots(15, 1);
}

static void *write_own_sector(void *arg)
{
	sector_t sector = *(sector_t *)arg;
	uint8_t *own = aligned_buffer(512);

	memset(own, (int)sector, 512);
	assert_int_equal(volume_write(volume, own, 512, sector * 512), 0);
	free(own);
	return NULL;
}

static unsigned waiting_changes(void)
{
	unsigned count = 0;

	pthread_mutex_lock(&volume->committer.lock);
	for (struct change *c = volume->committer.waiting; c; c = c->next)
		count++;
	pthread_mutex_unlock(&volume->committer.lock);
	return count;
}

/* Their descriptors are written at once, so all of them lose their slots. */
static void a_failing_table_sector_is_passed_over_by_all_of_a_round(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);
	sector_t sectors[] = {10, 20, 30};
	pthread_t threads[ARRAY_SIZE(sectors)];

	(void)state;
	add_fault((struct fault){.spare = 1, .start = l.table_offset / 512, .count = 1,
				 .on = FAULT_ON_WRITE, .error = EIO});
	bad_sectors(10, 1, FAULT_ON_WRITE);
	bad_sectors(20, 1, FAULT_ON_WRITE);
	bad_sectors(30, 1, FAULT_ON_WRITE);
	committer_enter(&volume->committer);
	for (unsigned i = 0; i < ARRAY_SIZE(sectors); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_own_sector, &sectors[i]),
				 0);
	for (unsigned ms = 0; ms < 10000 && waiting_changes() < ARRAY_SIZE(sectors); ms++)
		usleep(1000);
	assert_int_equal(waiting_changes(), ARRAY_SIZE(sectors));
	committer_leave(&volume->committer);
	for (unsigned i = 0; i < ARRAY_SIZE(sectors); i++)
		pthread_join(threads[i], NULL);
	assert_counts(3, 0);
	assert_true(ask_number("SELECT min(slot) FROM remap") >= 512 / 32);
	free_slots();
	reopen_volume();
	for (unsigned i = 0; i < ARRAY_SIZE(sectors); i++) {
		assert_int_equal(volume_read(volume, buffer, 512, sectors[i] * 512), 0);
		assert_int_equal(buffer[0], sectors[i]);
		assert_int_equal(buffer[511], sectors[i]);
	}
}

/* The first spare is gone as a whole: the next one takes over. */
static void a_spare_that_is_gone_is_not_used(void **state)
{
	const struct disruption gone = {.file = "/spare1", .calls = DISRUPT_ALL, .error = EIO};

	(void)state;
	bad_sectors(10, 4, FAULT_ON_WRITE);
	disrupt(&gone);
	assert_written(10, 4, 1);
	assert_counts(4, 0);
	assert_int_equal(ask_number("SELECT min(spare_id) FROM remap"), 2);
	assert_int_equal(bad_slot_count(), 0);
	assert_true(events("device_failed") > 0);
	disrupt_end();
	assert_read(10, 4, 1);
}

/* What it held is not lost sector by sector: it may come back. */
static void a_spare_that_is_gone_loses_nothing_for_good(void **state)
{
	const struct disruption gone = {.file = "/spare1", .calls = DISRUPT_ALL, .error = EIO};

	(void)state;
	bad_sectors(10, 4, FAULT_ON_WRITE);
	assert_written(10, 4, 1);
	disrupt(&gone);
	assert_lost(10, 4);
	assert_counts(4, 0);
	disrupt_end();
	assert_read(10, 4, 1);
}

/* ---- the database --------------------------------------------------------------- */

/* Contract 10: a rebuild must not find what was never acknowledged. */
static void assert_slot_table_empty(void)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);
	size_t length = l.slots_offset - l.table_offset;
	uint8_t *table = malloc(length);

	assert_non_null(table);
	get_bytes(at("spare1"), l.table_offset, table, length);
	/* Nothing, or a descriptor that was revoked. */
	for (size_t i = 0; i < length; i++)
		assert_true(table[i] == 0 || table[i - i % DESCRIPTOR_BYTES + 20] == 1);
	free(table);
}

static void a_locked_database_fails_the_move_only(void **state)
{
	uint64_t slots = free_slots();
	time_t start = time(NULL);
	sqlite3 *db;

	(void)state;
	assert_written(0, 20, 1);
	bad_sectors(10, 1, FAULT_ON_WRITE);
	db = hold_write_lock();
	assert_int_equal(write_sectors_of(10, 1, 2), -EIO);
	assert_true(time(NULL) - start <= 3 * STORE_BUSY_MS / 1000 + 5);
	assert_true(status_now().commit_failed);
	assert_slot_table_empty();
	assert_read(10, 1, 1);
	assert_written(5, 5, 3);
	release_write_lock(db);
	assert_written(10, 1, 4);
	assert_false(status_now().commit_failed);
	assert_read(10, 1, 4);
	assert_counts(1, 0);
	assert_int_equal(free_slots(), slots - 1);
	assert_true(events("commit_failed") > 0);
}

/* A slot fails while the database is locked: it is still used by its row. */
static void a_move_that_was_not_committed_leaves_the_slot(void **state)
{
	uint64_t slots;
	sqlite3 *db;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(10, 1, 1);
	slots = free_slots();
	/* Its slot, and the one that would be next. */
	bad_slots(1, ask_number("SELECT slot FROM remap"), 2, FAULT_ON_WRITE);
	db = hold_write_lock();
	assert_int_equal(write_sectors_of(10, 1, 2), -EIO);
	assert_read(10, 1, 1);
	release_write_lock(db);
	assert_written(10, 1, 3);
	assert_read(10, 1, 3);
	/* The slot that failed on the way is bad, and recorded as such. */
	assert_int_equal(free_slots(), slots - 2);
	assert_int_equal(bad_slot_count(), 2);
	reopen_volume();
	assert_int_equal(free_slots(), slots - 2);
	assert_read(10, 1, 3);
}

/* What was lost while nothing could be recorded is recorded afterwards. */
static void pending_sectors_are_recorded_later(void **state)
{
	sqlite3 *db;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_READ);
	db = hold_write_lock();
	assert_lost(10, 1);
	release_write_lock(db);
	reopen_volume();
	assert_counts(0, 1);
	clear_faults();
	assert_lost(10, 1);
}

static bool is_recorded(sector_t sector)
{
	char query[100];

	snprintf(query, sizeof(query), "SELECT count(*) FROM pending WHERE sector = %llu",
		 (unsigned long long)sector);
	return ask_number(query) == 1;
}

/*
 * Something that somebody made with sqlite3 stands in the way of one of several changes
 * that wait, and then the disk is full for the next: the one after it waits on.
 */
static void what_waits_behind_a_failed_change_is_not_dropped(void **state)
{
	const struct disruption full = {.file = "/volume-wal", .calls = DISRUPT_WRITE,
					.error = ENOSPC};
	sqlite3 *db;

	(void)state;
	bad_sectors(0, 40, FAULT_ON_READ);
	db = hold_write_lock();
	for (sector_t s = 10; s <= 30; s += 10)
		assert_lost(s, 1);
	assert_int_equal(sqlite3_exec(db, "CREATE TRIGGER mine BEFORE INSERT ON pending"
				      " WHEN NEW.sector = 10 BEGIN SELECT RAISE(ABORT, 'no'); END;"
				      "COMMIT", NULL, NULL, NULL), SQLITE_OK);
	disrupt(&full);
	release_write_lock(db);
	/* Each second it is tried again. */
	pause_ms(2500);
	assert_true(disrupt_end() > 0);
	for (int ms = 0; ms < 20000 && !is_recorded(30); ms += 100)
		pause_ms(100);
	assert_true(is_recorded(20));
	assert_true(is_recorded(30));
	assert_false(is_recorded(10));
}

/*
 * In WAL mode a commit is durable only where the log is synced each time. One that
 * failed is in doubt, and another one that succeeds settles that.
 */
static void a_move_waits_for_the_log(void **state)
{
	struct disruption d = {.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO, .times = 1};

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 2, 1);
	disrupt(&d);
	assert_written(10, 1, 1);
	assert_int_equal(disrupt_end(), 1);
	d.times = 0;
	bad_sectors(20, 1, FAULT_ON_WRITE);
	disrupt(&d);
	assert_int_equal(write_sectors_of(20, 1, 1), -EIO);
	assert_true(disrupt_end() > 1);
	assert_written(20, 1, 2);
	assert_read(20, 1, 2);
	assert_read(10, 1, 1);
}

/* A full disk under the database: contract 4. */
static void a_full_disk_under_the_database(void **state)
{
	const struct disruption full = {.file = "/volume-wal", .calls = DISRUPT_WRITE,
					.error = ENOSPC};
	uint64_t slots = free_slots();

	(void)state;
	assert_written(0, 20, 1);
	bad_sectors(10, 2, FAULT_ON_WRITE);
	disrupt(&full);
	assert_int_equal(write_sectors_of(10, 2, 2), -EIO);
	assert_true(status_now().commit_failed);
	assert_true(disrupt_end() > 0);
	assert_int_equal(events("spares_full"), 0);
	assert_read(10, 2, 1);
	assert_written(10, 2, 3);
	assert_read(10, 2, 3);
	assert_counts(2, 0);
	assert_int_equal(free_slots(), slots - 2);
}

/* The same for the index of its log, which is made at each start. */
static void no_room_for_the_index_of_the_log(void **state)
{
	struct error err;

	(void)state;
	close_volume();
	disrupt(&(struct disruption){.file = "/volume-shm", .calls = DISRUPT_WRITE,
				     .error = ENOSPC});
	assert_int_equal(volume_open(at("volume"), &(struct volume_options){0}, &volume, &err),
			 -ENOSPC);
	assert_true(disrupt_end() > 0);
	assert_non_null(strstr(err.text, "no room for the index"));
	volume = NULL;
	open_volume();
}

/* ---- main as a whole: contract 7 ------------------------------------------------ */

static void assert_main_given_up(int error)
{
	const struct disruption gone = {.file = "/main", .calls = DISRUPT_ALL, .error = error};

	assert_written(0, 64, 1);
	disrupt(&gone);
	assert_int_equal(write_sectors_of(10, 4, 2), -EIO);
	assert_lost(10, 4);
	assert_true(status_now().main_failed);
	assert_true(trouble_now()[0]);
	assert_counts(0, 0);
	disrupt_end();
	assert_counts(0, 0);
	/* That it takes no writes, and that it takes no reads. */
	assert_int_equal(events("device_failed"), 2);
	assert_read(20, 20, 1);
	assert_true(status_now().main_failed);
	assert_written(20, 20, 2);
	assert_false(status_now().main_failed);
	assert_int_equal(read_sectors_of(10, 4, 1), 0);
	reopen_volume();
	assert_counts(0, 0);
	assert_int_equal(events("device_works"), 2);
}

static void a_dead_main_is_no_bad_sector(void **state)
{
	(void)state;
	assert_main_given_up(EIO);
}

static void a_removed_main_is_no_bad_sector(void **state)
{
	(void)state;
	assert_main_given_up(ENXIO);
}

static void other_errors_move_nothing(void **state)
{
	static const int errors[] = {ETIMEDOUT, ENODEV, EINVAL, EROFS};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		const struct disruption odd = {.file = "/main", .calls = DISRUPT_WRITE,
					       .error = errors[i]};

		disrupt(&odd);
		assert_int_equal(write_sectors_of(10, 4, 2), -EIO);
		disrupt_end();
		assert_counts(0, 0);
		assert_written(10, 4, 3);
	}
}

static void a_full_file_system_is_no_bad_sector(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		const struct disruption full = {.file = "/main", .calls = DISRUPT_WRITE,
						.error = errors[i]};

		disrupt(&full);
		assert_int_equal(write_sectors_of(10, 4, 2), -ENOSPC);
		disrupt_end();
		assert_counts(0, 0);
		assert_read(10, 4, i ? 3 : 0);
		assert_written(10, 4, 3);
	}
}

/* The same by simulated faults: all of main fails. */
static void all_sectors_bad_at_once(void **state)
{
	(void)state;
	assert_written(0, 64, 1);
	bad_sectors(0, MAIN_BYTES / 512, FAULT_ON_BOTH);
	assert_int_equal(write_sectors_of(10, 4, 2), -EIO);
	assert_lost(10, 4);
	assert_counts(0, 0);
	clear_faults();
	assert_read(0, 64, 1);
}

/* A disk that turned read-only still reads: its write errors move nothing. */
static void a_main_that_only_reads(void **state)
{
	(void)state;
	assert_written(0, 64, 1);
	bad_sectors(0, MAIN_BYTES / 512, FAULT_ON_WRITE);
	assert_int_equal(write_sectors_of(10, 4, 2), -EIO);
	assert_counts(0, 0);
	assert_read(0, 64, 1);
}

static void a_cut_main_gives_errors_not_zeros(void **state)
{
	(void)state;
	assert_written(1000, 64, 1);
	assert_int_equal(truncate(at("main"), 1010 * 512), 0);
	assert_read(1000, 10, 1);
	assert_lost(1010, 4);
	assert_int_equal(read_sectors_of(1005, 20, 0), -EIO);
	assert_counts(0, 0);
}

/* ---- fsync: contract 5 ---------------------------------------------------------- */

static void close_badly(void)
{
	struct volume *v = volume;

	volume = NULL;
	assert_true(volume_close(v) < 0);
}

static void assert_flush_failure_sticks(void)
{
	assert_int_equal(volume_flush(volume), -EIO);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_true(status_now().flush_failed);
	assert_true(trouble_now()[0]);
	close_badly();
	open_volume();
	assert_int_equal(events("flush_failed"), 1);
	assert_int_equal(volume_flush(volume), 0);
	assert_false(status_now().flush_failed);
}

static void a_failed_flush_of_main_sticks(void **state)
{
	const struct disruption once = {.file = "/main", .calls = DISRUPT_SYNC, .error = EIO,
					.times = 1};

	(void)state;
	assert_int_equal(volume_flush(volume), 0);
	assert_written(0, 10, 1);
	disrupt(&once);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_int_equal(disrupt_end(), 1);
	assert_flush_failure_sticks();
}

static void a_failed_flush_of_a_spare_sticks(void **state)
{
	const struct disruption once = {.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO,
					.times = 1};

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(10, 1, 1);
	assert_written(10, 1, 2); /* in its slot: durable at the next fsync */
	disrupt(&once);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_int_equal(disrupt_end(), 1);
	assert_flush_failure_sticks();
}

/*
 * Curing a sector flushes main. When that fails, what others wrote before may
 * be lost, and their fsync must say so.
 */
static void a_flush_that_fails_within_a_cure_sticks(void **state)
{
	const struct disruption once = {.file = "/main", .calls = DISRUPT_SYNC, .error = EIO,
					.times = 1};

	(void)state;
	add_fault((struct fault){.start = 10, .count = 1, .on = FAULT_ON_READ, .error = EIO,
				 .life = FAULT_UNTIL_REWRITTEN});
	assert_lost(10, 1);
	assert_written(100, 10, 1);
	disrupt(&once);
	write_sectors_of(10, 1, 2);
	assert_int_equal(disrupt_end(), 1);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_flush_failure_sticks();
}

/* The same for the flush that a remap waits for: sectors already there may be lost. */
static void a_flush_that_fails_within_a_remap_sticks(void **state)
{
	const struct disruption once = {.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO,
					.times = 1};

	(void)state;
	bad_sectors(10, 2, FAULT_ON_WRITE);
	assert_written(10, 1, 1);
	assert_written(10, 1, 2);
	disrupt(&once);
	write_sectors_of(11, 1, 3);
	assert_int_equal(disrupt_end(), 1);
	assert_int_equal(volume_flush(volume), -EIO);
	assert_flush_failure_sticks();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TEST_SMALL(f) cmocka_unit_test_setup_teardown(f, volume_setup_small_spare, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST_SMALL(full_spares_fail_the_write_and_nothing_else),
		TEST_SMALL(half_of_a_move_gives_back_the_other_half),
		TEST_SMALL(a_failed_write_leaves_old_or_new),
		TEST_SMALL(both_spares_are_used),
		TEST(a_slot_that_fails_on_write_is_passed_over),
		TEST(a_used_slot_that_fails_on_write_is_left),
		TEST(a_slot_that_fails_on_read_loses_its_sector),
		TEST(a_failing_table_sector_is_passed_over),
		TEST(the_table_sector_of_a_long_extent_is_given_up),
		TEST(the_table_sector_that_fails_is_given_up),
		TEST(a_failing_table_sector_is_passed_over_by_all_of_a_round),
		TEST_SMALL(a_spare_that_is_gone_is_not_used),
		TEST(a_spare_that_is_gone_loses_nothing_for_good),
		TEST(a_locked_database_fails_the_move_only),
		TEST(a_move_that_was_not_committed_leaves_the_slot),
		TEST(pending_sectors_are_recorded_later),
		TEST(what_waits_behind_a_failed_change_is_not_dropped),
		TEST(a_move_waits_for_the_log),
		TEST(a_full_disk_under_the_database),
		TEST(no_room_for_the_index_of_the_log),
		TEST(a_dead_main_is_no_bad_sector),
		TEST(a_removed_main_is_no_bad_sector),
		TEST(other_errors_move_nothing),
		TEST(a_full_file_system_is_no_bad_sector),
		TEST(all_sectors_bad_at_once),
		TEST(a_main_that_only_reads),
		TEST(a_cut_main_gives_errors_not_zeros),
		TEST(a_failed_flush_of_main_sticks),
		TEST(a_failed_flush_of_a_spare_sticks),
		TEST(a_flush_that_fails_within_a_cure_sticks),
		TEST(a_flush_that_fails_within_a_remap_sticks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
