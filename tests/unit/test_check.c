/* include/remapfs/check.h: what a check finds, and what it can repair. */
#include "volume_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/check.h"
#include "remapfs/spare.h"
#include "spare/format.h"

static unsigned counts[16], fates[3];
static uint64_t slots[16];
static struct check_result result;
static struct error err;

static void count_finding(void *context, const struct finding *f)
{
	(void)context;
	counts[f->kind]++;
	fates[f->fate]++;
	slots[f->kind] += f->count;
}

static int check(bool repair)
{
	const struct check_options o = {.path = at("volume"), .repair = repair,
					.found = count_finding};

	memset(counts, 0, sizeof(counts));
	memset(slots, 0, sizeof(slots));
	memset(fates, 0, sizeof(fates));
	err.text[0] = 0;
	return volume_check(&o, &result, &err);
}

static void assert_clean(void)
{
	if (check(false) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(result.left, 0);
	assert_int_equal(result.repaired, 0);
}

static void assert_found(enum finding_kind kind, uint64_t slot_count)
{
	assert_int_equal(check(false), 0);
	assert_true(counts[kind] > 0);
	assert_int_equal(slots[kind], slot_count);
	assert_int_equal(result.repaired, 0);
	assert_true(result.left > 0);
}

static void assert_repaired(enum finding_kind kind, uint64_t slot_count)
{
	assert_found(kind, slot_count);
	assert_int_equal(fates[FINDING_LEFT], 0);
	assert_int_equal(check(true), 0);
	assert_true(counts[kind] > 0);
	assert_int_equal(result.left, 0);
	assert_true(result.repaired > 0);
	assert_clean();
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

/* In a file of their own: nothing else may be in a volume. */
static void keep_rows(void)
{
	char text[512];

	snprintf(text, sizeof(text), "ATTACH '%s' AS k; CREATE TABLE k.remap AS SELECT * FROM "
		 "main.remap; CREATE TABLE k.opens AS SELECT opens FROM volume", at("kept"));
	sql(text);
}

static void restore_rows(void)
{
	char text[512];

	snprintf(text, sizeof(text), "ATTACH '%s' AS k; DELETE FROM main.remap; DELETE FROM "
		 "pending; DELETE FROM bad_slot; INSERT INTO main.remap SELECT * FROM k.remap;"
		 "UPDATE volume SET opens = (SELECT * FROM k.opens)", at("kept"));
	sql(text);
}

static void damage(uint64_t offset, size_t length, int byte)
{
	uint8_t junk[4096];

	memset(junk, byte, sizeof(junk));
	put_bytes(at("spare1"), offset, junk, length);
}

/* Sectors 100 to 139 on slots 0 to 39; closed. */
static void make_remaps(void)
{
	bad_sectors(100, 40, FAULT_ON_WRITE);
	assert_written(100, 40, 5);
	close_volume();
}

static void a_sound_volume_is_clean(void **state)
{
	(void)state;
	assert_int_equal(check(false), -EBUSY); /* it is open */
	assert_int_equal(check(true), -EBUSY);
	make_remaps();
	assert_clean();
	open_volume();
	bad_sectors(200, 3, FAULT_ON_BOTH);
	assert_lost(200, 3);
	bad_slots(1, 3, 2, FAULT_ON_WRITE);
	assert_written(100, 10, 6);
	bad_slots(1, 8, 1, FAULT_ON_READ);
	assert_lost(108, 1);
	close_volume();
	clear_faults();
	assert_clean();
}

static void any_part_of_the_table(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);

	(void)state;
	make_remaps();
	damage(l.table_offset, 4096, 0);
	assert_repaired(FINDING_MISSING, 40);
	damage(l.table_offset, 512, 0xff);
	assert_repaired(FINDING_DAMAGED, 16);
	damage(l.table_offset + 10 * 32 + 7, 1, 0x77);
	assert_repaired(FINDING_DAMAGED, 1);
	damage(l.slots_offset - 4096, 2048, 0x11);
	assert_repaired(FINDING_GARBAGE, 64);
	assert_int_equal(events("repaired"), 4);
	open_volume();
	assert_read(100, 40, 5);
}

static void superblocks(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);

	(void)state;
	make_remaps();
	damage(0, 4096, 0);
	assert_repaired(FINDING_SUPERBLOCK, 0);
	damage(l.backup_offset + 80, 1, 0x5a);
	assert_repaired(FINDING_SUPERBLOCK, 0);
	/* The version: no newer remapfs would have left the other one valid. */
	damage(10, 1, 'x');
	assert_repaired(FINDING_SUPERBLOCK, 0);
	damage(l.backup_offset + 10, 1, 'x');
	assert_repaired(FINDING_SUPERBLOCK, 0);
	/* Both: what the database says of the spare is all that is left. */
	damage(0, 4096, 0);
	damage(l.backup_offset, 4096, 0x5a);
	assert_repaired(FINDING_SUPERBLOCKS, 0);
	open_volume();
	assert_read(100, 40, 5);
}

/* Writes both superblocks as check --repair does where they are lost, and is ended then. */
static void break_off_a_repair(void)
{
	struct file_device_options o = {.role = "spare"};
	struct spare_identity id;
	struct spare_copy copy[2];
	struct device *d;

	assert_int_equal(file_device_open(at("spare1"), &o, &d, NULL), 0);
	assert_int_equal(spare_inspect(d, copy), 0);
	assert_int_equal(spare_probe(d, &id), 0);
	assert_int_equal(spare_write_superblocks(d, &id, 0, copy[0].stamp.number), 0);
	device_close(d);
}

static uint64_t confirmed_on_spare(void)
{
	struct file_device_options o = {.role = "spare", .read_only = true};
	struct spare_copy copy[2];
	struct device *d;

	assert_int_equal(file_device_open(at("spare1"), &o, &d, NULL), 0);
	assert_int_equal(spare_inspect(d, copy), 0);
	device_close(d);
	return copy[0].confirmed > copy[1].confirmed ? copy[0].confirmed : copy[1].confirmed;
}

static void a_repair_that_broke_off(void **state)
{
	(void)state;
	make_remaps();
	break_off_a_repair();
	open_volume();
	assert_read(100, 40, 5);
	close_volume();
	break_off_a_repair();
	assert_clean();
	assert_int_equal(check(true), 0);
	assert_true(confirmed_on_spare() > 0);
	open_volume();
	assert_read(100, 40, 5);
	close_volume();
	/* What is missing in the table then makes it an older copy, as before. */
	break_off_a_repair();
	damage(spare_layout(1 * MiB, 512).table_offset, 4096, 0);
	assert_int_equal(volume_open(at("volume"), &(struct volume_options){0}, &volume, NULL), -EUCLEAN);
}

static void contradictions_are_left(void **state)
{
	static const char *const changes[] = {
		"UPDATE remap SET slot = slot + 100",
		"UPDATE remap SET main_sector = main_sector + 1",
		"DELETE FROM remap",
		"UPDATE volume SET opens = 0",
	};

	(void)state;
	make_remaps();
	keep_rows();
	for (unsigned i = 0; i < ARRAY_SIZE(changes); i++) {
		uint8_t before[4096], after[4096];

		get_bytes(at("spare1"), 4096, before, sizeof(before));
		sql(changes[i]);
		assert_int_equal(check(true), 0);
		assert_true(result.left > 0);
		assert_int_equal(result.repaired, 0);
		get_bytes(at("spare1"), 4096, after, sizeof(after));
		assert_memory_equal(before, after, sizeof(before));
		restore_rows();
	}
	assert_clean();
}

/* The rows are sound, and a descriptor says something else: it may be the spare that is right. */
static void nothing_is_repaired_beside_a_contradiction(void **state)
{
	struct file_device_options o = {.role = "spare"};
	struct descriptor d = {.sector = 999, .sequence = 1};
	uint8_t raw[DESCRIPTOR_BYTES], before[4096], after[4096];
	struct spare_identity id;
	struct device *device;

	(void)state;
	make_remaps();
	assert_int_equal(file_device_open(at("spare1"), &o, &device, NULL), 0);
	assert_int_equal(spare_probe(device, &id), 0);
	device_close(device);
	descriptor_encode(raw, &id, 3, &d);
	put_bytes(at("spare1"), 4096 + 3 * DESCRIPTOR_BYTES, raw, sizeof(raw));
	damage(4096 + 20 * DESCRIPTOR_BYTES, 32, 0x5a);
	get_bytes(at("spare1"), 4096, before, sizeof(before));
	assert_int_equal(check(true), 0);
	assert_int_equal(slots[FINDING_CONTRADICTION], 1);
	assert_int_equal(slots[FINDING_DAMAGED], 1);
	assert_int_equal(result.repaired, 0);
	assert_int_equal(result.left, 2);
	get_bytes(at("spare1"), 4096, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
}

static void rows_that_break_the_rules(void **state)
{
	static const char *const wrong[] = {
		"INSERT INTO remap VALUES (110, 4, 1, 200, 1, NULL, 'x')",
		"INSERT INTO remap VALUES (300, 4, 1, 38, 1, NULL, 'x')",
		"INSERT INTO remap VALUES (32766, 5, 1, 300, 1, NULL, 'x')",
		"INSERT INTO remap VALUES (300, 4, 1, 1000000, 1, NULL, 'x')",
		"INSERT INTO pending VALUES (110, 1, NULL, NULL, NULL, 'x')",
		"INSERT INTO bad_slot VALUES (1, 10, 1, NULL, 'x')",
	};

	(void)state;
	make_remaps();
	keep_rows();
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		sql(wrong[i]);
		assert_int_equal(check(true), 0);
		/* The broken rule, and that the sum of the map is another one. */
		assert_true(counts[FINDING_DATABASE] >= (i < 5 ? 2 : 1));
		restore_rows();
	}
	assert_clean();
}

static void slots_that_cannot_be_read(void **state)
{
	(void)state;
	bad_slots(1, 7, 3, FAULT_ON_READ);
	make_remaps();
	assert_found(FINDING_UNREADABLE, 3);
	assert_int_equal(check(true), 0);
	assert_int_equal(result.left, 3);
}

static void the_spare_of_another_volume(void **state)
{
	struct part_spec other = {.path = at("other"), .size = 1 * MiB};
	struct create_options c = {.path = at("another"),
				   .main = {.path = at("another.main"), .size = MAIN_BYTES},
				   .spares = &other, .spare_count = 1, .sector_size = 512};
	struct error warning;
	uint8_t before[4096], after[4096];

	(void)state;
	make_remaps();
	assert_int_equal(volume_create(&c, &warning, &err), 0);
	assert_int_equal(rename(at("spare1"), at("own")), 0);
	assert_int_equal(rename(at("other"), at("spare1")), 0);
	get_bytes(at("spare1"), 0, before, sizeof(before));
	assert_int_equal(check(true), -EBADMSG);
	get_bytes(at("spare1"), 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	assert_int_equal(rename(at("own"), at("spare1")), 0);
	assert_clean();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_sound_volume_is_clean),
		TEST(any_part_of_the_table),
		TEST(superblocks),
		TEST(a_repair_that_broke_off),
		TEST(contradictions_are_left),
		TEST(nothing_is_repaired_beside_a_contradiction),
		TEST(rows_that_break_the_rules),
		TEST(slots_that_cannot_be_read),
		TEST(the_spare_of_another_volume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
