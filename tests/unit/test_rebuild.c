/* include/remapfs/rebuild.h: the map from the spares alone. */
#include "volume_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/rebuild.h"
#include "remapfs/spare.h"
#include "spare/format.h"
#include "volume/volume_impl.h"

static struct part_spec spares[2];
static struct rebuild_result result;
static struct error err;

static struct rebuild_options options(size_t spare_count)
{
	spares[0] = (struct part_spec){.path = at("spare1")};
	spares[1] = (struct part_spec){.path = at("spare2")};
	return (struct rebuild_options){
		.path = at("volume"),
		.main = {.path = at("main")},
		.spares = spares,
		.spare_count = spare_count,
	};
}

static int rebuild(size_t spare_count)
{
	const struct rebuild_options o = options(spare_count);

	err.text[0] = 0;
	return volume_rebuild(&o, &result, &err);
}

static void assert_rebuilt(size_t spare_count)
{
	if (rebuild(spare_count) < 0)
		fail_msg("%s", err.text);
}

/* As it is after a disk that held only the database is gone. */
static void lose_database(void)
{
	unlink(at("volume"));
	unlink(at("volume-wal"));
	unlink(at("volume-shm"));
}

static void assert_not_rebuilt(const struct rebuild_options *o, int code)
{
	err.text[0] = 0;
	assert_int_equal(volume_rebuild(o, &result, &err), -code);
	assert_true(err.text[0] != 0);
	assert_null(strchr(err.text, '\n'));
	assert_non_null(strchr(err.text, ';'));
}

static struct spare_identity id_of(const char *name)
{
	struct file_device_options o = {.role = "spare"};
	struct spare_identity id;
	struct device *d;

	assert_int_equal(file_device_open(at(name), &o, &d, NULL), 0);
	assert_int_equal(spare_probe(d, &id), 0);
	device_close(d);
	return id;
}

static void put_descriptor(slot_t slot, const struct descriptor *d)
{
	struct spare_identity id = id_of("spare1");
	uint8_t raw[DESCRIPTOR_BYTES];

	descriptor_encode(raw, &id, slot, d);
	put_bytes(at("spare1"), SPARE_BLOCK + slot * DESCRIPTOR_BYTES, raw, sizeof(raw));
}

static uint64_t slot_offset(slot_t slot)
{
	return spare_layout(1 * MiB, 512).slots_offset + slot * 512;
}

/* ---- what is found again ---------------------------------------------------------- */

/* What is read of them may be in a cache alone. */
static void spares_are_flushed_first(void **state)
{
	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(10, 1, 1);
	close_volume();
	lose_database();
	disrupt(&(struct disruption){.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO});
	assert_int_equal(rebuild(1), -EIO);
	assert_int_equal(disrupt_end(), 1);
	assert_non_null(strstr(err.text, "cannot be flushed"));
	assert_false(path_exists(at("volume")));
	assert_rebuilt(1);
	open_volume();
	assert_read(10, 1, 1);
}

/* Many lives, moves and overwrites; then the rows are compared one by one. */
static void every_remap_is_found_again(void **state)
{
	/* One number for all of it, sector by sector, since rows may be cut differently. */
	static const char each_sector[] =
		"WITH RECURSIVE e(m, n, sp, sl, q) AS (SELECT main_sector, sectors, spare_id, slot,"
		" sequence FROM remap UNION ALL SELECT m + 1, n - 1, sp, sl + 1, q FROM e WHERE"
		" n > 1) SELECT sum((m * 1009 + sl * 7919 + sp * 31 + q % 1000003) * (m % 97 + 1))"
		" FROM e";
	uint64_t seed = test_seed(), remapped, fingerprint;

	(void)state;
	bad_sectors(1000, 600, FAULT_ON_WRITE);
	for (unsigned i = 0; i < 300; i++) {
		sector_t start = 1000 + random_below(&seed, 590);

		assert_written(start, 1 + random_below(&seed, 10), (uint8_t)(1 + i % 200));
		if (i % 40 == 17)
			bad_slots(1, random_below(&seed, 400), 2, FAULT_ON_WRITE);
		if (i % 60 == 30)
			reopen_volume();
	}
	remapped = status_now().remapped_sectors;
	close_volume();
	fingerprint = ask_number(each_sector);
	lose_database();
	assert_rebuilt(1);
	assert_int_equal(result.remapped, remapped);
	assert_int_equal(result.pending, 0);
	assert_int_equal(result.passed_over, 0);
	assert_int_equal(ask_number(each_sector), fingerprint);
	assert_int_equal(events("rebuilt"), 1);
	assert_int_equal(events("created"), 0);
	open_volume();
	assert_counts(remapped, 0);
}

static void content_is_the_same(void **state)
{
	(void)state;
	bad_sectors(100, 50, FAULT_ON_WRITE);
	assert_written(90, 70, 1);
	assert_written(110, 20, 2); /* in place, after it was confirmed */
	reopen_volume();
	assert_written(120, 5, 3);
	bad_slots(1, 3, 2, FAULT_ON_WRITE); /* of 103 and 104 */
	assert_written(103, 2, 4);
	close_volume();
	lose_database();
	assert_rebuilt(1);
	open_volume();
	assert_read(90, 13, 1);
	assert_read(103, 2, 4);
	assert_read(105, 5, 1);
	assert_read(110, 10, 2);
	assert_read(120, 5, 3);
	assert_read(125, 5, 2);
	assert_read(130, 30, 1);
	assert_counts(50, 0);
	/* And it goes on living. */
	assert_written(90, 70, 9);
	reopen_volume();
	assert_read(90, 70, 9);
}

/* Overwritten at once, then killed: nothing but the confirmed sequence tells. */
static int overwrite_and_die(void *path)
{
	const struct volume_options o = {.opener = "who dies"};
	struct error e;

	if (volume_open(path, &o, &volume, &e) < 0)
		return 1;
	return write_sectors_of(100, 8, 1) || write_sectors_of(100, 8, 2) ||
	       write_sectors_of(110, 1, 3);
}

static void an_overwritten_slot_after_a_crash(void **state)
{
	char path[4096];

	(void)state;
	bad_sectors(100, 20, FAULT_ON_WRITE);
	close_volume();
	snprintf(path, sizeof(path), "%s", at("volume"));
	assert_int_equal(in_child(overwrite_and_die, path), 0);
	lose_database();
	assert_rebuilt(1);
	assert_int_equal(result.remapped, 9);
	assert_int_equal(result.passed_over, 0);
	open_volume();
	assert_read(100, 8, 2);
	assert_read(110, 1, 3);
}

/* Cut off before its data was whole: what the sector was before still counts. */
static void a_write_that_was_cut_off(void **state)
{
	struct descriptor d = {.sector = 100, .data_sum = 12345};

	(void)state;
	bad_sectors(100, 1, FAULT_ON_WRITE);
	assert_written(100, 1, 1);
	assert_written(200, 1, 2);
	close_volume();
	d.sequence = (ask_number("SELECT opens FROM volume") << 40) + 0xffff;
	put_descriptor(50, &d);
	d.sector = 200;
	put_descriptor(51, &d);
	lose_database();
	assert_rebuilt(1);
	assert_int_equal(result.passed_over, 2);
	assert_int_equal(result.remapped, 1);
	open_volume();
	assert_read(100, 1, 1);
	assert_read(200, 1, 2);
	reopen_volume();
	assert_counts(1, 0);
}

/* Whole, though not known to be acknowledged: it may be served. */
static void a_write_that_was_whole(void **state)
{
	struct descriptor d = {.sector = 100};

	(void)state;
	assert_written(100, 1, 1);
	close_volume();
	fill_sectors(100, 1, 2);
	put_bytes(at("spare1"), slot_offset(50), buffer, 512);
	d.data_sum = spare_data_sum(buffer, 512);
	d.sequence = (ask_number("SELECT opens FROM volume") << 40) + 0xffff;
	put_descriptor(50, &d);
	lose_database();
	assert_rebuilt(1);
	assert_int_equal(result.remapped, 1);
	open_volume();
	assert_read(100, 1, 2);
}

/* Whether it was acknowledged cannot be known: better no answer than what main holds. */
static void a_write_that_cannot_be_read(void **state)
{
	struct descriptor d = {.sector = 100};
	struct disruption reads = {.file = "/spare1", .calls = DISRUPT_READ, .error = EIO};
	int rc = -1;

	(void)state;
	assert_written(100, 1, 1);
	close_volume();
	d.sequence = (ask_number("SELECT opens FROM volume") << 40) + 0xffff;
	put_descriptor(50, &d);
	lose_database();
	/* The slot is what is read last. */
	for (; rc < 0; reads.after++) {
		assert_true(reads.after < 100);
		disrupt(&reads);
		rc = rebuild(1);
		if (disrupt_end() == 0)
			fail_msg("nothing failed: the slot was not read");
	}
	assert_int_equal(result.pending, 1);
	assert_int_equal(result.remapped, 0);
	open_volume();
	assert_lost(100, 1);
	assert_int_equal(ask_number("SELECT sum(slots) FROM bad_slot WHERE slot = 50"), 1);
	assert_written(100, 1, 3);
	reopen_volume();
	assert_read(100, 1, 3);
}

static void a_lost_log_is_set_aside(void **state)
{
	uint8_t junk[100] = {1, 2, 3};

	(void)state;
	bad_sectors(100, 4, FAULT_ON_WRITE);
	assert_written(100, 4, 1);
	close_volume();
	lose_database();
	make_file(at("volume-wal"), 100);
	put_bytes(at("volume-wal"), 0, junk, sizeof(junk));
	assert_rebuilt(1);
	assert_true(path_exists(at("volume.old-wal")));
	open_volume();
	assert_read(100, 4, 1);
}

static void an_old_database_is_kept(void **state)
{
	struct rebuild_options o;

	(void)state;
	bad_sectors(100, 4, FAULT_ON_WRITE);
	assert_written(100, 4, 1);
	o = options(1);
	o.force = true;
	assert_not_rebuilt(&o, EBUSY); /* it is open */
	close_volume();
	o.force = false;
	assert_not_rebuilt(&o, EEXIST);
	o.force = true;
	assert_int_equal(volume_rebuild(&o, &result, &err), 0);
	assert_true(path_exists(at("volume.old")));
	assert_not_rebuilt(&o, EEXIST); /* that one is not overwritten */
	open_volume();
	assert_read(100, 4, 1);
}

/* ---- what is refused ---------------------------------------------------------------- */

static void spares_that_do_not_belong_together(void **state)
{
	struct rebuild_options o;

	(void)state;
	assert_written(0, 10, 1);
	close_volume();
	assert_int_equal(rename(at("volume"), at("own")), 0);
	o = options(1);
	assert_not_rebuilt(&o, EBADMSG); /* the second is missing */
	spares[0].path = at("spare2");
	assert_not_rebuilt(&o, EBADMSG); /* the first is */
	spares[1].path = at("spare2");
	o.spare_count = 2;
	assert_not_rebuilt(&o, EINVAL); /* one twice */
	o = options(2);
	o.main.path = at("spare1");
	assert_not_rebuilt(&o, EINVAL);
	make_file(at("file"), MAIN_BYTES - 512);
	o.main.path = at("file");
	assert_not_rebuilt(&o, EBADMSG);
	spares[1].path = at("file");
	o.main.path = at("main");
	assert_not_rebuilt(&o, EBADMSG);
	{
		struct part_spec other = {.path = at("other"), .size = 1 * MiB};
		struct create_options c = {.path = at("another"),
					   .main = {.path = at("another.main"), .size = MAIN_BYTES},
					   .spares = &other, .spare_count = 1, .sector_size = 512};
		struct error warning;

		assert_int_equal(volume_create(&c, &warning, &err), 0);
	}
	spares[1].path = at("other");
	assert_not_rebuilt(&o, EBADMSG);
	assert_false(path_exists(at("volume")));
	/* In any order, they are as good. */
	spares[1].path = at("spare1");
	spares[0].path = at("spare2");
	assert_int_equal(volume_rebuild(&o, &result, &err), 0);
	open_volume();
	assert_read(0, 10, 1);
}

static void damaged_descriptors_are_told(void **state)
{
	struct rebuild_options o;
	uint8_t junk[512];

	(void)state;
	bad_sectors(100, 32, FAULT_ON_WRITE);
	assert_written(100, 32, 1);
	close_volume();
	lose_database();
	memset(junk, 0x5a, sizeof(junk));
	put_bytes(at("spare1"), SPARE_BLOCK, junk, sizeof(junk));
	o = options(1);
	assert_not_rebuilt(&o, EBADMSG);
	assert_false(path_exists(at("volume")));
	o.partial = true;
	assert_int_equal(volume_rebuild(&o, &result, &err), 0);
	assert_int_equal(result.damaged, 16);
	assert_int_equal(result.remapped, 16);
	open_volume();
	assert_read(116, 16, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(spares_are_flushed_first),
		TEST(every_remap_is_found_again),
		TEST(content_is_the_same),
		TEST(an_overwritten_slot_after_a_crash),
		TEST(a_write_that_was_cut_off),
		TEST(a_write_that_was_whole),
		TEST(a_write_that_cannot_be_read),
		TEST(a_lost_log_is_set_aside),
		TEST(an_old_database_is_kept),
		cmocka_unit_test_setup_teardown(spares_that_do_not_belong_together,
						volume_setup_small_spare, volume_teardown),
		TEST(damaged_descriptors_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
