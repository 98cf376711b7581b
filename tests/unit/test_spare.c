/* include/remapfs/spare.h: how a spare is laid out, and what it says it is. */
#include "spare_fixture.h"

#include <errno.h>
#include <string.h>

#include "spare/format.h"

/* ---- layout --------------------------------------------------------------------- */

static void check_layout(uint64_t bytes, uint32_t sector_size)
{
	struct spare_layout l = spare_layout(bytes, sector_size);

	if (l.slots == 0) {
		assert_true(bytes < spare_bytes_min(sector_size));
		return;
	}
	/* Superblock, table, slots, superblock; nothing overlaps or sticks out. */
	assert_true(l.table_offset >= SPARE_BLOCK);
	assert_true(l.slots_offset >= l.table_offset + l.slots * DESCRIPTOR_BYTES);
	assert_true(l.backup_offset >= l.slots_offset + l.slots * sector_size);
	assert_true(l.backup_offset + SPARE_BLOCK <= bytes);
	assert_int_equal(l.table_offset % SPARE_BLOCK, 0);
	assert_int_equal(l.slots_offset % SPARE_BLOCK, 0);
	assert_int_equal(l.backup_offset % SPARE_BLOCK, 0);
	/* Little is wasted: rounding, thrice. */
	assert_true(bytes - l.slots * (sector_size + DESCRIPTOR_BYTES) < 7 * SPARE_BLOCK);
}

static void layouts_hold_together(void **state)
{
	static const uint32_t sizes[] = {512, 4096};
	uint64_t seed = test_seed();

	(void)state;
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (uint64_t bytes = 0; bytes < 2 * MiB; bytes += 512)
			check_layout(bytes, sizes[s]);
		for (unsigned i = 0; i < 1000; i++)
			check_layout(random_below(&seed, UINT64_C(1) << (20 + i % 20)), sizes[s]);
	}
}

static void the_least_spare_holds_the_least_slots(void **state)
{
	static const uint32_t sizes[] = {512, 4096};

	(void)state;
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint64_t least = spare_bytes_min(sizes[s]);

		assert_true(spare_layout(least, sizes[s]).slots >= SPARE_SLOTS_MIN);
		assert_true(spare_layout(least - 512, sizes[s]).slots < SPARE_SLOTS_MIN);
	}
	assert_int_equal(spare_layout(0, 512).slots, 0);
	assert_int_equal(spare_layout(8192, 512).slots, 0);
}

/* ---- identity ------------------------------------------------------------------- */

static void assert_same_identity(const struct spare_identity *a, const struct spare_identity *b)
{
	assert_memory_equal(a->volume, b->volume, sizeof(uuid_t));
	assert_memory_equal(a->spare, b->spare, sizeof(uuid_t));
	assert_int_equal(a->id, b->id);
	assert_int_equal(a->sector_size, b->sector_size);
	assert_int_equal(a->main_sectors, b->main_sectors);
}

static void probe_reads_what_format_wrote(void **state)
{
	struct device *d = new_device();
	struct spare_identity found;

	(void)state;
	assert_int_equal(spare_probe(d, &found), -ENOENT);
	assert_int_equal(spare_format(d, &identity), 0);
	assert_true(ram->calls[RAM_FLUSH] > 0);
	assert_int_equal(spare_probe(d, &found), 0);
	assert_same_identity(&found, &identity);
	device_close(d);
}

static void format_reports_errors_of_the_device(void **state)
{
	struct device *d = new_device();

	(void)state;
	ram->fail_to = SPARE_BYTES;
	ram->fail_error[RAM_WRITE] = -EIO;
	assert_int_equal(spare_format(d, &identity), -EIO);
	ram->fail_error[RAM_WRITE] = 0;
	ram->fail_error[RAM_FLUSH] = -ENODEV;
	assert_int_equal(spare_format(d, &identity), -ENODEV);
	device_close(d);
}

/* Wherever formatting fails, the spare is none of ours afterwards, or whole. */
static void a_failed_format_is_no_spare(void **state)
{
	struct spare_layout l = spare_layout(SPARE_BYTES, 512);
	struct device *d = new_device();
	struct spare_identity found;

	(void)state;
	ram->fail_from = l.slots_offset - 512;
	ram->fail_to = l.slots_offset;
	ram->fail_error[RAM_WRITE] = -EIO;
	assert_int_equal(spare_format(d, &identity), -EIO);
	assert_int_equal(spare_probe(d, &found), -ENOENT);
	device_close(d);
}

static void damage(uint64_t offset)
{
	ram->data[offset + 20] ^= 0x40;
}

static void one_damaged_superblock_is_told(void **state)
{
	uint64_t where[] = {0, spare_layout(SPARE_BYTES, 512).backup_offset};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct device *d = new_device();
		struct spare_identity found;
		struct spare *s;
		bool damaged = false;

		assert_int_equal(spare_format(d, &identity), 0);
		damage(where[i]);
		assert_int_equal(spare_probe(d, &found), 0);
		assert_same_identity(&found, &identity);
		assert_int_equal(spare_open(d, &identity, &s, &damaged, NULL), 0);
		assert_true(damaged);
		assert_int_equal(spare_alive(s, false), 0);
		spare_close(s);
	}
}

static void one_unreadable_superblock_is_told(void **state)
{
	struct device *d = new_device();
	struct spare *s;
	bool damaged = false;

	(void)state;
	assert_int_equal(spare_format(d, &identity), 0);
	ram->fail_to = 512;
	ram->fail_error[RAM_READ] = -EIO;
	assert_int_equal(spare_open(d, &identity, &s, &damaged, NULL), 0);
	assert_true(damaged);
	assert_int_equal(spare_alive(s, false), 0);
	ram->fail_to = SPARE_BYTES;
	assert_true(spare_alive(s, false) < 0);
	spare_close(s);
}

/* A device that turned read-only still reads: only writing tells. */
static void a_spare_that_cannot_be_written(void **state)
{
	struct device *d = new_device();
	struct spare_identity found;
	struct spare *s;
	bool damaged;

	(void)state;
	assert_int_equal(spare_format(d, &identity), 0);
	assert_int_equal(spare_open(d, &identity, &s, &damaged, NULL), 0);
	assert_int_equal(spare_alive(s, true), 0);
	ram->fail_to = SPARE_BYTES;
	ram->fail_error[RAM_WRITE] = -EIO;
	assert_int_equal(spare_alive(s, false), 0);
	assert_int_equal(spare_alive(s, true), -EIO);
	/* One place that cannot be written is a bad sector, no dead spare. */
	ram->fail_to = 512;
	assert_int_equal(spare_alive(s, true), 0);
	assert_int_equal(spare_probe(d, &found), 0);
	assert_same_identity(&found, &identity);
	spare_close(s);
}

/* Opens d, which must be refused with code; d is closed by that. */
static void assert_refused(struct device *d, const struct spare_identity *id, int code)
{
	struct spare *untouched = (struct spare *)d, *s = untouched;
	struct error err = {""};
	bool closed = false, damaged = false;

	ram->closed = &closed;
	assert_int_equal(spare_open(d, id, &s, &damaged, &err), -code);
	assert_true(err.text[0] != 0);
	assert_true(closed);
	assert_ptr_equal(s, untouched);
}

static void both_superblocks_damaged(void **state)
{
	struct device *d = new_device();
	struct spare_identity found;

	(void)state;
	assert_int_equal(spare_format(d, &identity), 0);
	damage(0);
	damage(spare_layout(SPARE_BYTES, 512).backup_offset);
	assert_int_equal(spare_probe(d, &found), -ENOENT);
	assert_refused(d, &identity, EBADMSG);
}

/* Every bit of the 96 bytes of a superblock counts. */
static void any_flipped_bit_is_damage(void **state)
{
	struct device *d = new_device();
	struct spare_identity found;

	(void)state;
	assert_int_equal(spare_format(d, &identity), 0);
	damage(spare_layout(SPARE_BYTES, 512).backup_offset);
	for (unsigned bit = 0; bit < 8 * 96; bit++) {
		int rc;

		ram->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		rc = spare_probe(d, &found);
		/* A flip in the version number may look like a newer one. */
		assert_true(rc == -ENOENT || (rc == -EPROTO && bit / 8 >= 8 && bit / 8 < 12));
		ram->data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	assert_int_equal(spare_probe(d, &found), 0);
	device_close(d);
}

static void not_a_spare(void **state)
{
	(void)state;
	assert_refused(new_device(), &identity, EBADMSG);
	ram = ram_device_new(4096, 512);
	assert_refused(&ram->device, &identity, EBADMSG);
}

static void another_spare_or_volume(void **state)
{
	struct spare_identity other[5];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(other); i++)
		other[i] = identity;
	other[0].volume[15] ^= 1;
	other[1].spare[0] ^= 1;
	other[2].id++;
	other[3].sector_size = 4096;
	other[4].main_sectors--;
	for (unsigned i = 0; i < ARRAY_SIZE(other); i++) {
		struct device *d = new_device();

		assert_int_equal(spare_format(d, &identity), 0);
		assert_refused(d, &other[i], EBADMSG);
	}
}

/* Contract 12: to write ours anew would let both serve. */
static void another_spare_over_one_end_is_refused(void **state)
{
	struct spare_identity other = identity;
	struct device *d = new_device();
	uint64_t backup = spare_layout(SPARE_BYTES, 512).backup_offset;
	uint8_t kept[SPARE_BLOCK];

	(void)state;
	other.spare[3] = 99;
	assert_int_equal(spare_format(d, &other), 0);
	memcpy(kept, ram->data + backup, sizeof(kept));
	assert_int_equal(spare_format(d, &identity), 0);
	memcpy(ram->data + backup, kept, sizeof(kept));
	assert_refused(d, &identity, EBADMSG);
}

/* Its first superblock stands in the middle of ours, and it goes on past our end. */
static void another_spare_from_the_middle_on_is_refused(void **state)
{
	struct spare_identity other = identity;
	struct device *d = new_device();
	uint64_t backup = spare_layout(SPARE_BYTES, 512).backup_offset;
	uint8_t first[SPARE_BLOCK];

	(void)state;
	other.spare[3] = 99;
	assert_int_equal(spare_format(d, &other), 0);
	memcpy(first, ram->data, sizeof(first));
	assert_int_equal(spare_format(d, &identity), 0);
	memcpy(ram->data + backup / 2 / 512 * 512, first, sizeof(first));
	memset(ram->data + backup, 0x5a, SPARE_BLOCK);
	assert_refused(d, &identity, EBADMSG);
}

/* One that ends in the middle of ours. */
static void another_spare_up_to_the_middle_is_refused(void **state)
{
	struct spare_identity other = identity;
	struct device *d = new_device();
	uint64_t backup = spare_layout(SPARE_BYTES, 512).backup_offset;
	uint8_t last[SPARE_BLOCK];

	(void)state;
	other.spare[3] = 99;
	assert_int_equal(spare_format(d, &other), 0);
	memcpy(last, ram->data + backup, sizeof(last));
	assert_int_equal(spare_format(d, &identity), 0);
	memcpy(ram->data + backup / 2 / 512 * 512, last, sizeof(last));
	memset(ram->data, 0x5a, SPARE_BLOCK);
	assert_refused(d, &identity, EBADMSG);
}

static void a_newer_format_is_refused(void **state)
{
	struct device *d = new_device();
	struct spare_identity found;

	(void)state;
	assert_int_equal(spare_format(d, &identity), 0);
	ram->data[8]++;
	ram->data[spare_layout(SPARE_BYTES, 512).backup_offset + 8]++;
	assert_int_equal(spare_probe(d, &found), -EPROTO);
	assert_refused(d, &identity, EPROTO);
}

/* Who knows the sum can write any: found by tests/fuzz. */
static void impossible_superblocks(void **state)
{
	struct spare_identity wrong[] = {identity, identity, identity, identity, identity, identity};
	struct spare_identity found;

	(void)state;
	wrong[0].sector_size = 0;
	wrong[1].sector_size = 1024;
	wrong[2].main_sectors = 0;
	wrong[3].main_sectors = SECTOR_MAX + 1;
	wrong[4].id = 0;
	wrong[5].id = SPARE_ID_MAX + 1;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct device *d = new_device();

		assert_int_equal(spare_write_superblocks(d, &wrong[i], 0, 0), 0);
		assert_int_equal(spare_probe(d, &found), -ENOENT);
		device_close(d);
	}
}

static void a_resized_region_is_refused(void **state)
{
	struct device *d = new_device();

	(void)state;
	assert_int_equal(spare_format(d, &identity), 0);
	d->geometry.size -= 64 * KiB;
	assert_refused(d, &identity, EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_hold_together),
		cmocka_unit_test(the_least_spare_holds_the_least_slots),
		cmocka_unit_test(probe_reads_what_format_wrote),
		cmocka_unit_test(format_reports_errors_of_the_device),
		cmocka_unit_test(a_failed_format_is_no_spare),
		cmocka_unit_test(one_damaged_superblock_is_told),
		cmocka_unit_test(one_unreadable_superblock_is_told),
		cmocka_unit_test(a_spare_that_cannot_be_written),
		cmocka_unit_test(both_superblocks_damaged),
		cmocka_unit_test(any_flipped_bit_is_damage),
		cmocka_unit_test(not_a_spare),
		cmocka_unit_test(another_spare_or_volume),
		cmocka_unit_test(another_spare_over_one_end_is_refused),
		cmocka_unit_test(another_spare_from_the_middle_on_is_refused),
		cmocka_unit_test(another_spare_up_to_the_middle_is_refused),
		cmocka_unit_test(a_newer_format_is_refused),
		cmocka_unit_test(impossible_superblocks),
		cmocka_unit_test(a_resized_region_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
