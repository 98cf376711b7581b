/* Which disk main is: what is refused, what is told, and what is left out. */
#include "own_device.h"

#include <endian.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/check.h"

#define PLACE (64 * KiB)

static struct error err;

/* ---- opening -------------------------------------------------------------------- */

static void main_is(const char *hardware, const char *file)
{
	struct device_identity id = {0};

	snprintf(id.hardware, sizeof(id.hardware), "%s", hardware);
	snprintf(id.file, sizeof(id.file), "%s", file);
	set_main_identity(&id);
}

static int try_open(void)
{
	const struct volume_options o = {.opener = "a test", .parts = &own_parts};

	err.text[0] = 0;
	return volume_open(at("volume"), &o, &volume, &err);
}

static void count_finding(void *context, const struct finding *f)
{
	*(unsigned *)context += f->kind == FINDING_MAIN;
}

/* What check says of main: how many findings, or its error. */
static int try_check(void)
{
	unsigned findings = 0;
	const struct check_options o = {.path = at("volume"), .found = count_finding,
					.context = &findings, .parts = &own_parts};
	struct check_result result;
	int rc = volume_check(&o, &result, &err);

	return rc < 0 ? rc : (int)findings;
}

static void assert_refused(const char *why)
{
	uint64_t rows = ask_number("SELECT count(*) FROM history");

	assert_int_equal(try_check(), -EBADMSG);
	assert_non_null(strstr(err.text, why));
	assert_int_equal(try_open(), -EBADMSG);
	if (!strstr(err.text, why))
		fail_msg("no '%s' in: %s", why, err.text);
	assert_non_null(strstr(err.text, "; "));
	assert_int_equal(ask_number("SELECT count(*) FROM history"), rows);
}

/* Told once, and in order after the next close. */
static void assert_told(void)
{
	uint64_t before = events("main_changed");

	assert_int_equal(try_check(), 1);
	assert_int_equal(try_open(), 0);
	assert_int_equal(events("main_changed"), before + 1);
	assert_int_equal(ask_number("SELECT count(*) FROM main_identity WHERE changed_since = (SELECT at FROM "
				    "history WHERE event = 'closed' ORDER BY id DESC LIMIT 1)"), 1);
	close_volume();
	assert_int_equal(ask_number("SELECT count(*) FROM main_identity WHERE changed_since IS NULL"), 1);
}

static void assert_in_order(void)
{
	uint64_t before = events("main_changed");

	assert_int_equal(try_check(), 0);
	if (try_open() < 0)
		fail_msg("%s", err.text);
	assert_int_equal(events("main_changed"), before);
	close_volume();
}

static void put_row(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Behind the engine's back. */
static void scribble(uint64_t offset, uint8_t tag)
{
	uint8_t junk[32];

	memset(junk, tag, sizeof(junk));
	put_bytes(at("main"), offset, junk, sizeof(junk));
}

/* Closed, as a volume that knows its main by these. */
static void begin_as(const char *hardware, const char *file)
{
	close_volume();
	put_row("DELETE FROM main_identity; DELETE FROM main_place");
	main_is(hardware, file);
	assert_int_equal(try_open(), 0);
	close_volume();
}

/* The same as "disk-1", with something in each of the first 16 places. */
static void begin(void)
{
	close_volume();
	for (uint64_t i = 0; i < 16; i++)
		scribble(i * PLACE, 1);
	open_volume();
	begin_as("disk-1", "");
}

/* ---- by number ------------------------------------------------------------------ */

static void by_its_number(void **state)
{
	(void)state;
	begin();
	assert_in_order();
	scribble(5 * PLACE, 2);
	assert_told();
	main_is("disk-2", "");
	assert_refused("seems to be a copy");
	scribble(6 * PLACE, 2);
	assert_refused("with other content");
	main_is("disk-1", "");
	assert_told();
	assert_in_order();
}

static void a_blank_disk_is_no_reason(void **state)
{
	(void)state;
	begin_as("disk-1", "");
	assert_in_order();
	main_is("disk-2", "");
	assert_refused("and blank where it can be compared");
}

/* A container that shows no sysfs. */
static void a_number_that_is_not_shown(void **state)
{
	(void)state;
	begin();
	main_is("", "");
	assert_in_order();
	main_is("disk-2", "");
	assert_refused("seems to be a copy");
	main_is("disk-1", "");
	assert_in_order();
}

/* ---- by other things ------------------------------------------------------------- */

static void by_content_alone(void **state)
{
	(void)state;
	begin();
	main_is("", "");
	for (uint64_t i = 0; i < 8; i++)
		scribble(i * PLACE, 2);
	assert_told();
	for (uint64_t i = 0; i < 9; i++)
		scribble(i * PLACE, 3);
	assert_refused("with other content");
}

static void by_its_file(void **state)
{
	(void)state;
	begin_as("", "inode 1 born 1.000000001");
	scribble(0, 1);
	assert_told();
	main_is("", "inode 2 born 1.000000001");
	assert_in_order();
	scribble(0, 2);
	assert_told();
	main_is("", "inode 3 born 1.000000001");
	scribble(0, 3);
	assert_refused("with other content");
	main_is("disk-1", "");
	assert_refused("with other content");
}

/* What leads elsewhere after each start says less, and is believed only with what is there. */
static void by_what_does_not_last(void **state)
{
	(void)state;
	begin_as("", "loop inode 1 offset 0");
	scribble(0, 1);
	assert_told();
	main_is("", "loop inode 2 offset 0");
	assert_in_order();
	main_is("", "loop inode 3 offset 0");
	scribble(0, 2);
	assert_refused("with other content");
}

/* ---- ends that are not orderly ------------------------------------------------------ */

static int die_with_it_open(void *context)
{
	(void)context;
	return try_open() < 0 ? 1 : write_sectors_of(0, 100, 7) == 0 ? 0 : 2;
}

/* die: what the volume was last used with, and what it holds, is not what was recorded. */
static void die(const char *hardware, const char *file)
{
	main_is(hardware, file);
	assert_int_equal(in_child(die_with_it_open, NULL), 0);
}

static void after_a_death(void **state)
{
	(void)state;
	begin();
	die("disk-1", "");
	scribble(3 * PLACE, 9);
	assert_in_order();
	die("disk-1", "");
	main_is("disk-2", "");
	assert_refused("not closed in order");
	main_is("", "");
	assert_in_order();
}

/* What opening found out is known also when that life does not end in order. */
static void a_number_that_was_shown_late(void **state)
{
	(void)state;
	begin_as("", "");
	die("disk-1", "");
	main_is("disk-2", "");
	assert_refused("not closed in order");
}

/* A copy that was opened once is main from then on, however that ended. */
static void after_the_death_of_a_copy(void **state)
{
	(void)state;
	begin_as("", "inode 1 born 1.000000001");
	scribble(0, 1);
	assert_told();
	die("", "inode 2 born 2.000000001");
	assert_in_order();
	die("", "inode 2 born 2.000000001");
	main_is("", "inode 1 born 1.000000001");
	assert_refused("not closed in order");
	die("", "inode 2 born 2.000000001");
	main_is("", "loop inode 1 offset 0");
	assert_in_order();
}

/* What was told of one life stays told until an orderly close. */
static void told_until_the_close(void **state)
{
	uint64_t before;

	(void)state;
	begin();
	before = events("main_changed");
	scribble(5 * PLACE, 2);
	die("disk-1", "");
	assert_int_equal(events("main_changed"), before + 1);
	assert_int_equal(try_open(), 0);
	assert_int_equal(events("main_changed"), before + 1);
	assert_int_equal(ask_number("SELECT count(*) FROM main_identity WHERE changed_since IS NOT NULL"), 1);
	close_volume();
	assert_int_equal(ask_number("SELECT count(*) FROM main_identity WHERE changed_since IS NULL"), 1);
}

/* ---- what is left out ---------------------------------------------------------------- */

static atomic_uint failed_reads;
static _Atomic(sector_t) first_bad, end_of_bad;
static atomic_int slow_ms;

static int some_fail(const char *name, enum device_call call, sector_t start, uint64_t count)
{
	if (strcmp(name, "main") != 0 || call != CALL_READ || start >= end_of_bad ||
	    start + count <= first_bad)
		return 0;
	atomic_fetch_add(&failed_reads, 1);
	pause_ms(slow_ms);
	return -EIO;
}

static void fail_reads(sector_t start, sector_t end, int ms)
{
	first_bad = start;
	end_of_bad = end;
	slow_ms = ms;
	failed_reads = 0;
	set_rule(some_fail);
}

/* It cannot be read when closing, or when opening, or sometimes. */
static void what_cannot_be_read(void **state)
{
	(void)state;
	begin();
	fail_reads(130, 131, 0);
	assert_in_order();
	scribble(1 * PLACE, 5);
	set_rule(NULL);
	assert_in_order();
	fail_reads(130, 131, 0);
	scribble(1 * PLACE, 6);
	assert_in_order();
	scribble(2 * PLACE, 6);
	assert_told();
	set_rule(NULL);
}

static void a_dying_disk_is_not_asked_for_long(void **state)
{
	(void)state;
	begin();
	fail_reads(0, UINT64_MAX, 0);
	assert_int_equal(try_open(), 0);
	assert_true(failed_reads <= 3);
	set_rule(NULL);
	close_volume();
	fail_reads(0, UINT64_MAX, 1100);
	assert_int_equal(try_open(), 0);
	assert_int_equal(failed_reads, 1);
	fail_reads(0, UINT64_MAX, 1100);
	close_volume();
	assert_int_equal(failed_reads, 1);
	set_rule(NULL);
	assert_int_equal(ask_number("SELECT count(*) FROM main_place"), 0);
	assert_in_order();
}

static void sectors_that_are_elsewhere(void **state)
{
	(void)state;
	begin();
	assert_int_equal(try_open(), 0);
	bad_sectors(10, 4, FAULT_ON_BOTH);
	assert_int_equal(write_sectors_of(10, 2, 1), 0);
	assert_lost(12, 2);
	close_volume();
	for (sector_t s = 10; s < 14; s++)
		scribble(s * 512, 9);
	assert_in_order();
	scribble(14 * 512, 9);
	assert_told();
}

/* A fault that strikes so often is not used up by looking who main is. */
static void simulated_faults_are_not_spent(void **state)
{
	(void)state;
	begin();
	assert_int_equal(try_open(), 0);
	add_fault((struct fault){.start = 3, .count = 1, .on = FAULT_ON_BOTH, .error = EIO,
				 .life = FAULT_TIMES, .times = 1});
	close_volume();
	assert_in_order();
	assert_int_equal(ask_number("SELECT count(*) FROM fault"), 1);
}

/* ---- which places ----------------------------------------------------------------------- */

#define PARTITION (9 * MiB + 192 * KiB) /* in none of the places that are spread */

static void put_le(uint64_t offset, uint64_t value, size_t length)
{
	value = htole64(value);
	put_bytes(at("main"), offset, &value, length);
}

static void put_mbr(void)
{
	put_le(446 + 4, 0x83, 1);
	put_le(446 + 8, PARTITION / 512, 4);
	put_le(446 + 12, 1000, 4);
	put_le(510, 0xaa55, 2);
}

static void put_gpt(uint64_t block)
{
	put_bytes(at("main"), block, "EFI PART", 8);
	put_le(block + 72, 2, 8);
	put_le(block + 80, 128, 4);
	put_le(block + 84, 128, 4);
	put_le(2 * block + 128 + 32, PARTITION / block, 8);
}

static void assert_partition_is_looked_at(uint8_t tag)
{
	assert_told();
	assert_int_equal(ask_number("SELECT count(*) FROM main_place WHERE \"offset\" = 9633792"), 1);
	scribble(PARTITION + 1024, tag);
	assert_told();
}

static void assert_not_looked_at(void)
{
	assert_told();
	assert_int_equal(ask_number("SELECT count(*) FROM main_place WHERE \"offset\" = 9633792"), 0);
}

static void partitions(void **state)
{
	(void)state;
	begin();
	put_mbr();
	assert_partition_is_looked_at(6);
	put_le(510, 0, 2);
	assert_not_looked_at();
	put_gpt(512);
	assert_partition_is_looked_at(7);
	put_le(512, 0, 8);
	assert_not_looked_at();
	put_gpt(4096);
	assert_partition_is_looked_at(8);
}

/* A table that somebody made to lead nowhere. */
static void tables_that_lead_nowhere(void **state)
{
	(void)state;
	begin();
	put_gpt(512);
	put_le(512 + 72, UINT64_MAX / 512, 8);
	assert_told();
	put_le(512 + 72, 2, 8);
	put_le(512 + 80, UINT32_MAX, 4);
	put_le(512 + 84, UINT32_MAX, 4);
	assert_told();
	put_le(512 + 72, PLACE / 512 - 1, 8);
	put_le(512 + 84, 4096, 4);
	assert_told();
	put_le(512 + 72, 2, 8);
	put_le(512 + 84, 128, 4);
	put_le(2 * 512 + 32, UINT64_MAX, 8);
	put_le(2 * 512 + 128 + 32, 16 * MiB / 512 - 1, 8);
	assert_told();
	assert_in_order();
}

/* Rows that somebody made are not read beyond main. */
static void places_that_are_none(void **state)
{
	(void)state;
	begin();
	put_row("INSERT INTO main_place VALUES (9223372036854710272, 7), (16777216, 7), (3, 7)");
	assert_in_order();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(by_its_number),
		TEST(a_blank_disk_is_no_reason),
		TEST(a_number_that_is_not_shown),
		TEST(by_content_alone),
		TEST(by_its_file),
		TEST(by_what_does_not_last),
		TEST(after_a_death),
		TEST(a_number_that_was_shown_late),
		TEST(after_the_death_of_a_copy),
		TEST(told_until_the_close),
		TEST(what_cannot_be_read),
		TEST(a_dying_disk_is_not_asked_for_long),
		TEST(sectors_that_are_elsewhere),
		TEST(simulated_faults_are_not_spent),
		TEST(partitions),
		TEST(tables_that_lead_nowhere),
		TEST(places_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
