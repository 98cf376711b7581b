/* src/volume/reconcile.c: what is brought in order when a volume is opened. */
#include "volume_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/spare.h"
#include "spare/format.h"
#include "volume/volume_impl.h"

#define TABLE SPARE_BLOCK /* bytes: where the slot table is */

static void copy_file(const char *from, const char *to)
{
	char command[9000];

	snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
	assert_int_equal(system(command), 0);
}

/* As who forges a file: the rules of the schema do not hold him up. */
static void sql(const char *text)
{
	char *message = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	sqlite3_close(db);
}

/* As after a crash: no "closed" is the last that history says. */
static void forget_the_end(void)
{
	sql("DELETE FROM history WHERE event = 'closed'");
}

static struct spare_identity id_of_spare(void)
{
	struct file_device_options o = {.role = "spare"};
	struct spare_identity id;
	struct device *d;

	assert_int_equal(file_device_open(at("spare1"), &o, &d, NULL), 0);
	assert_int_equal(spare_probe(d, &id), 0);
	device_close(d);
	return id;
}

static int descriptor_at(slot_t slot, struct descriptor *ret)
{
	struct spare_identity id = id_of_spare();
	uint8_t raw[DESCRIPTOR_BYTES];

	get_bytes(at("spare1"), TABLE + slot * DESCRIPTOR_BYTES, raw, sizeof(raw));
	return descriptor_decode(raw, &id, slot, ret);
}

static void put_descriptor(slot_t slot, sector_t sector, uint64_t sequence)
{
	struct spare_identity id = id_of_spare();
	struct descriptor d = {.sector = sector, .sequence = sequence};
	uint8_t raw[DESCRIPTOR_BYTES];

	descriptor_encode(raw, &id, slot, &d);
	put_bytes(at("spare1"), TABLE + slot * DESCRIPTOR_BYTES, raw, sizeof(raw));
}

static void assert_refused_with(const char *remedy)
{
	const struct volume_options o = {.opener = "a test"};
	struct error err = {""};
	uint64_t events_before = ask_number("SELECT count(*) FROM history");
	struct volume *v;

	assert_int_equal(volume_open(at("volume"), &o, &v, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, remedy));
	assert_int_equal(ask_number("SELECT count(*) FROM history"), events_before);
}

static void assert_refused(void)
{
	assert_refused_with("remapctl rebuild");
}

/* Sectors 100 to 109 on slots 0 to 9; closed, and as if it had crashed. */
static void make_remaps(void)
{
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 5);
	close_volume();
	forget_the_end();
}

/* The confirmed sequence and above: of this life, and never committed. */
static uint64_t next_sequence(void)
{
	return ((ask_number("SELECT opens FROM volume") << 40) | 0xffff);
}

/* Parts of the table are compared as a whole first: see src/volume/accord.h. */
static void every_part_of_a_large_table(void **state)
{
	static const slot_t slots[] = {0, 1023, 1024, 1500, 1799};
	static const uint8_t nothing[DESCRIPTOR_BYTES];
	struct descriptor before, after;

	(void)state;
	bad_sectors(1000, 1800, FAULT_ON_WRITE);
	/* A row each for slots 1023 and 1024, where parts meet. */
	assert_written(1000, 1023, 5);
	assert_written(2023, 1, 5);
	assert_written(2024, 1, 5);
	assert_written(2025, 775, 5);
	close_volume();
	for (unsigned i = 0; i < ARRAY_SIZE(slots); i++) {
		forget_the_end();
		assert_int_equal(descriptor_at(slots[i], &before), 0);
		put_bytes(at("spare1"), TABLE + slots[i] * DESCRIPTOR_BYTES, nothing,
			  sizeof(nothing));
		put_descriptor(1850 + i, 777, next_sequence());
		open_volume();
		assert_counts(1800, 0);
		close_volume();
		assert_int_equal(events("repaired"), i + 1);
		assert_int_equal(descriptor_at(slots[i], &after), 0);
		assert_true(after.sector == before.sector && after.sequence == before.sequence &&
			    after.data_sum == before.data_sum);
		assert_int_equal(descriptor_at(1850 + i, &after), -ENOENT);
	}
	/* The same descriptors in each other's place. */
	forget_the_end();
	assert_int_equal(descriptor_at(1500, &before), 0);
	assert_int_equal(descriptor_at(1501, &after), 0);
	put_descriptor(1500, after.sector, after.sequence);
	put_descriptor(1501, before.sector, before.sequence);
	assert_refused();
}

static void what_was_never_committed_is_cleared(void **state)
{
	struct descriptor d;

	(void)state;
	make_remaps();
	put_descriptor(50, 777, next_sequence());
	open_volume();
	assert_counts(10, 0);
	close_volume();
	assert_int_equal(descriptor_at(50, &d), -ENOENT);
	assert_int_equal(descriptor_at(9, &d), 0);
}

static void a_table_that_was_lost_comes_back(void **state)
{
	static const uint8_t patterns[] = {0x00, 0xff, 0x5a};

	(void)state;
	make_remaps();
	for (unsigned i = 0; i < ARRAY_SIZE(patterns); i++) {
		uint8_t junk[4096];
		struct descriptor d;

		memset(junk, patterns[i], sizeof(junk));
		put_bytes(at("spare1"), TABLE, junk, sizeof(junk));
		open_volume();
		assert_read(100, 10, 5);
		close_volume();
		for (slot_t slot = 0; slot < 10; slot++) {
			assert_int_equal(descriptor_at(slot, &d), 0);
			assert_int_equal(d.sector, 100 + slot);
			fill_sectors(100 + slot, 1, 5);
			assert_int_equal(d.data_sum, spare_data_sum(buffer, 512));
		}
		assert_int_equal(descriptor_at(10, &d), -ENOENT);
		assert_int_equal(events("repaired"), i + 1);
		sql("DELETE FROM history WHERE event = 'closed'");
	}
}

/* After an orderly end only check looks at the table. */
static void an_orderly_end_is_believed(void **state)
{
	struct descriptor d;

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 5);
	close_volume();
	put_descriptor(50, 777, next_sequence());
	open_volume();
	close_volume();
	assert_int_equal(descriptor_at(50, &d), 0);
	open_volume();
}

static void one_that_says_something_else_is_refused(void **state)
{
	(void)state;
	make_remaps();
	put_descriptor(3, 999, 1);
	assert_refused();
	/* Nothing was changed: not even what could have been repaired. */
	put_descriptor(50, 777, next_sequence());
	assert_refused();
	{
		struct descriptor d;

		assert_int_equal(descriptor_at(50, &d), 0);
	}
}

static void a_remap_that_the_database_lost_is_refused(void **state)
{
	(void)state;
	make_remaps();
	put_descriptor(50, 777, (ask_number("SELECT opens FROM volume") << 40) - 5);
	assert_refused();
}

/* Put back though the volume was used since, and closed in order both times. */
static void an_older_copy_is_refused(void **state)
{
	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 4, 5);
	close_volume();
	copy_file(at("volume"), at("copy"));
	open_volume();
	assert_written(104, 4, 6);
	close_volume();
	copy_file(at("copy"), at("volume"));
	assert_refused();
}

/* What was acknowledged since is not on it. */
static void an_older_copy_of_a_spare_is_refused(void **state)
{
	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 4, 5);
	close_volume();
	copy_file(at("spare1"), at("copy"));
	open_volume();
	assert_written(100, 4, 6);
	close_volume();
	copy_file(at("spare1"), at("last"));
	copy_file(at("copy"), at("spare1"));
	assert_refused_with("older copy");
	copy_file(at("last"), at("spare1"));
	open_volume();
	assert_read(100, 4, 6);
}

static void a_flipped_row_is_refused(void **state)
{
	static const char *const flips[] = {
		"UPDATE remap SET slot = slot + 16",
		"UPDATE remap SET main_sector = main_sector + 64",
		"UPDATE remap SET sectors = sectors - 1",
		"DELETE FROM remap",
	};

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 5);
	close_volume();
	copy_file(at("volume"), at("copy"));
	for (unsigned i = 0; i < ARRAY_SIZE(flips); i++) {
		copy_file(at("copy"), at("volume"));
		sql(flips[i]);
		assert_refused();
	}
}

static void either_superblock_is_written_anew(void **state)
{
	uint64_t where[] = {0, spare_layout(1 * MiB, 512).backup_offset};
	struct file_device_options o = {.role = "spare"};
	uint8_t zeros[4096] = {0};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct spare_copy copy[2];
		struct device *d;

		close_volume();
		put_bytes(at("spare1"), where[i], zeros, sizeof(zeros));
		open_volume();
		close_volume();
		assert_int_equal(file_device_open(at("spare1"), &o, &d, NULL), 0);
		assert_int_equal(spare_inspect(d, copy), 0);
		assert_int_equal(copy[0].error, 0);
		assert_int_equal(copy[1].error, 0);
		device_close(d);
		assert_int_equal(events("repaired"), i + 1);
		open_volume();
	}
}

/* The commit failed and may turn out durable or not: row and descriptor agree. */
static int die_uncertain(void *path)
{
	const struct volume_options o = {.opener = "who dies"};
	const struct disruption d = {.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO};
	struct error err;

	if (volume_open(path, &o, &volume, &err) < 0)
		return 1;
	disrupt(&d);
	return write_sectors_of(100, 4, 7) == -EIO ? 0 : 2;
}

static void an_uncertain_commit(void **state)
{
	uint64_t rows;
	struct descriptor d;
	char path[4096];

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	close_volume();
	snprintf(path, sizeof(path), "%s", at("volume"));
	assert_int_equal(in_child(die_uncertain, path), 0);
	assert_int_equal(descriptor_at(0, &d), -ECANCELED);
	open_volume();
	rows = ask_number("SELECT coalesce(sum(sectors), 0) FROM remap");
	assert_true(rows == 0 || rows == 4);
	assert_counts(rows, 0);
	if (rows)
		assert_read(100, 4, 7);
	close_volume();
	assert_int_equal(descriptor_at(0, &d), rows ? 0 : -ECANCELED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_part_of_a_large_table),
		TEST(what_was_never_committed_is_cleared),
		TEST(a_table_that_was_lost_comes_back),
		TEST(an_orderly_end_is_believed),
		TEST(one_that_says_something_else_is_refused),
		TEST(a_remap_that_the_database_lost_is_refused),
		TEST(an_older_copy_is_refused),
		TEST(an_older_copy_of_a_spare_is_refused),
		TEST(a_flipped_row_is_refused),
		TEST(either_superblock_is_written_anew),
		TEST(an_uncertain_commit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
