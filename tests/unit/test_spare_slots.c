/* include/remapfs/spare.h: the slots of an open spare, their data and their table. */
#include "spare_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "spare/format.h"

static void assert_counts(struct spare *s, slot_t used, slot_t bad)
{
	struct spare_counts c = spare_counts(s);

	assert_int_equal(c.used, used);
	assert_int_equal(c.bad, bad);
	assert_int_equal(c.free, c.slots - used - bad);
}

/* ---- allocation ----------------------------------------------------------------- */

static void a_new_spare_is_free(void **state)
{
	struct spare *s = open_formatted(&identity);

	(void)state;
	assert_counts(s, 0, 0);
	assert_int_equal(spare_counts(s).slots, spare_layout(SPARE_BYTES, 512).slots);
	assert_int_equal(spare_id(s), 7);
	assert_ptr_equal(spare_device(s), &ram->device);
	spare_close(s);
	spare_close(NULL);
}

static void slots_come_in_order(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t a, b, c;

	(void)state;
	assert_int_equal(spare_allocate(s, 3, &a), 3);
	assert_int_equal(spare_allocate(s, 1, &b), 1);
	assert_int_equal(b, a + 3);
	/* What was just given back is not the next to be used. */
	spare_release(s, b, 1);
	assert_int_equal(spare_allocate(s, 2, &c), 2);
	assert_int_equal(c, b + 1);
	assert_counts(s, 5, 0);
	spare_close(s);
}

static void a_run_ends_at_what_is_taken(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t first;

	(void)state;
	assert_int_equal(spare_take(s, 5, 2), 0);
	spare_mark_bad(s, 10, 1);
	assert_int_equal(spare_allocate(s, 100, &first), 5);
	assert_int_equal(first, 0);
	assert_int_equal(spare_allocate(s, 100, &first), 3);
	assert_int_equal(first, 7);
	assert_int_equal(spare_allocate(s, 100, &first), 100);
	assert_int_equal(first, 11);
	assert_counts(s, 110, 1);
	spare_close(s);
}

static void every_slot_is_given_out_once(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t slots = spare_counts(s).slots, first, total = 0;
	bool *seen = calloc(slots, sizeof(*seen));
	uint64_t n, seed = test_seed();

	(void)state;
	assert_int_equal(spare_take(s, slots - 1, 1), 0);
	while ((n = spare_allocate(s, 1 + random_below(&seed, 90), &first)) > 0) {
		assert_true(first + n <= slots);
		for (slot_t i = first; i < first + n; i++) {
			assert_false(seen[i]);
			seen[i] = true;
		}
		total += n;
	}
	assert_int_equal(total, slots - 1);
	assert_int_equal(spare_allocate(s, 1, &first), 0);
	/* One that is given back is found, wherever it is. */
	for (unsigned i = 0; i < 50; i++) {
		slot_t given = random_below(&seed, slots);

		spare_release(s, given, 1);
		assert_int_equal(spare_allocate(s, 9, &first), 1);
		assert_int_equal(first, given);
	}
	free(seen);
	spare_close(s);
}

static void take_refuses_what_is_not_free(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t slots = spare_counts(s).slots;

	(void)state;
	assert_int_equal(spare_take(s, slots, 1), -ERANGE);
	assert_int_equal(spare_take(s, slots - 1, 2), -ERANGE);
	assert_int_equal(spare_take(s, UINT64_MAX, 2), -ERANGE);
	assert_int_equal(spare_take(s, 5, UINT64_MAX), -ERANGE);
	assert_int_equal(spare_take(s, 10, 4), 0);
	assert_int_equal(spare_take(s, 8, 3), -EEXIST);
	assert_int_equal(spare_take(s, 13, 1), -EEXIST);
	spare_mark_bad(s, 20, 1);
	assert_int_equal(spare_take(s, 20, 1), -EEXIST);
	/* A refusal takes nothing. */
	assert_int_equal(spare_take(s, 8, 2), 0);
	assert_counts(s, 6, 1);
	spare_close(s);
}

static void bad_slots_are_not_given_out(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t slots = spare_counts(s).slots, first;

	(void)state;
	assert_int_equal(spare_allocate(s, 4, &first), 4);
	spare_mark_bad(s, first, 4);
	assert_counts(s, 0, 4);
	spare_mark_bad(s, first, 4);
	assert_counts(s, 0, 4);
	spare_mark_bad(s, 0, slots);
	assert_counts(s, 0, slots);
	assert_int_equal(spare_allocate(s, 1, &first), 0);
	spare_release(s, 3, 1);
	assert_int_equal(spare_allocate(s, 1, &first), 1);
	assert_int_equal(first, 3);
	spare_close(s);
}

static void a_failed_spare_gives_nothing_and_serves_on(void **state)
{
	struct spare *s = open_formatted(&identity);
	uint8_t *buf = aligned_buffer(512);
	slot_t first;

	(void)state;
	memset(buf, 3, 512);
	assert_false(spare_failed(s));
	assert_int_equal(spare_write(s, buf, 9, 1), 0);
	assert_true(spare_fail(s, SPARE_FAILING, EIO));
	assert_false(spare_fail(s, SPARE_FAILING, EIO));
	assert_true(spare_failed(s));
	assert_int_equal(spare_allocate(s, 1, &first), 0);
	assert_int_equal(spare_read(s, buf, 9, 1), 0);
	assert_int_equal(buf[511], 3);
	free(buf);
	spare_close(s);
}

/* ---- data ----------------------------------------------------------------------- */

static void slots_hold_data(void **state)
{
	struct spare_identity id = identity;
	uint8_t *a = aligned_buffer(3 * 4096), *b = aligned_buffer(3 * 4096);
	struct spare *s;
	slot_t slots;

	(void)state;
	id.sector_size = 4096;
	s = open_formatted(&id);
	slots = spare_counts(s).slots;
	memset(a, 0x77, 3 * 4096);
	assert_int_equal(spare_write(s, a, 0, 3), 0);
	memset(a, 0x78, 3 * 4096);
	assert_int_equal(spare_write(s, a, slots - 1, 1), 0);
	assert_int_equal(spare_read(s, b, slots - 1, 1), 0);
	assert_memory_equal(a, b, 4096);
	assert_int_equal(spare_read(s, b, 1, 2), 0);
	assert_int_equal(b[0], 0x77);
	assert_int_equal(b[2 * 4096 - 1], 0x77);
	assert_int_equal(spare_flush(s), 0);
	/* The format around the slots is whole. */
	assert_int_equal(spare_probe(spare_device(s), &id), 0);
	ram->fail_to = SPARE_BYTES;
	ram->fail_error[RAM_READ] = -EILSEQ;
	ram->fail_error[RAM_WRITE] = -ENODEV;
	ram->fail_error[RAM_FLUSH] = -EIO;
	assert_int_equal(spare_read(s, b, 0, 1), -EILSEQ);
	assert_int_equal(spare_write(s, b, 0, 1), -ENODEV);
	/* Nothing of it can have been written. */
	assert_int_equal(spare_flush(s), 0);
	ram->fail_error[RAM_WRITE] = -EIO;
	assert_int_equal(spare_write(s, b, 0, 1), -EIO);
	assert_int_equal(spare_flush(s), -EIO);
	free(a);
	free(b);
	spare_close(s);
}

static void sums_tell_data_apart(void **state)
{
	uint8_t sector[512] = {0};
	uint32_t zero = spare_data_sum(sector, 512);

	(void)state;
	assert_int_equal(spare_data_sum(sector, 512), zero);
	for (unsigned i = 0; i < 512; i++) {
		sector[i] = 1;
		assert_int_not_equal(spare_data_sum(sector, 512), zero);
		sector[i] = 0;
	}
}

/* ---- the table ------------------------------------------------------------------ */

/* Reads the descriptor from the medium, not from what the spare remembers. */
static int descriptor_of(slot_t slot, struct descriptor *ret)
{
	struct spare_layout l = spare_layout(SPARE_BYTES, identity.sector_size);

	return descriptor_decode(ram->data + l.table_offset + slot * DESCRIPTOR_BYTES, &identity,
				 slot, ret);
}

static int described(struct spare *s, slot_t first, uint64_t count, sector_t sector,
		     uint64_t sequence, const uint32_t *sums)
{
	int rc = spare_describe(s, first, count, sector, sequence, sums);

	return rc < 0 ? rc : spare_save_table(s);
}

static void descriptors_say_what_slots_hold(void **state)
{
	struct spare *s = open_formatted(&identity);
	uint32_t sums[100];
	struct descriptor d;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sums); i++)
		sums[i] = 1000 + i;
	assert_int_equal(described(s, 3, 100, 5000, 42, sums), 0);
	for (slot_t slot = 3; slot < 103; slot++) {
		assert_int_equal(descriptor_of(slot, &d), 0);
		assert_int_equal(d.sector, 5000 + slot - 3);
		assert_int_equal(d.sequence, 42);
		assert_int_equal(d.data_sum, 1000 + slot - 3);
	}
	assert_int_equal(descriptor_of(2, &d), -ENOENT);
	assert_int_equal(descriptor_of(103, &d), -ENOENT);
	assert_int_equal(spare_clear_sequence(s, 4, 50, 41), 0);
	assert_int_equal(descriptor_of(4, &d), 0);
	assert_int_equal(spare_clear_sequence(s, 4, 50, 42), 0);
	assert_int_equal(descriptor_of(3, &d), 0);
	/* What was there can still be seen. */
	assert_int_equal(descriptor_of(4, &d), -ECANCELED);
	assert_true(d.revoked && d.sector == 5001 && d.sequence == 42);
	assert_int_equal(descriptor_of(53, &d), -ECANCELED);
	assert_int_equal(descriptor_of(54, &d), 0);
	assert_int_equal(spare_describe(s, 4, 1, 9000, 43, sums), 0);
	assert_int_equal(spare_save_table(s), 0);
	assert_int_equal(descriptor_of(4, &d), 0);
	assert_true(!d.revoked && d.sector == 9000);
	spare_close(s);
}

static void a_table_sector_is_written_once_for_all(void **state)
{
	struct spare *s = open_formatted(&identity);
	uint32_t sums[4] = {0};
	unsigned writes = ram->calls[RAM_WRITE];
	struct descriptor d;

	(void)state;
	for (slot_t slot = 4; slot < 8; slot++)
		assert_int_equal(spare_describe(s, slot, 1, 100, 1, sums), 0);
	assert_int_equal(ram->calls[RAM_WRITE], writes);
	assert_int_equal(spare_save_table(s), 0);
	assert_int_equal(spare_save_table(s), 0);
	assert_int_equal(ram->calls[RAM_WRITE], writes + 1);
	for (slot_t slot = 4; slot < 8; slot++)
		assert_int_equal(descriptor_of(slot, &d), 0);
	/* Nothing is forgotten where another sector comes between. */
	assert_int_equal(spare_describe(s, 8, 1, 100, 2, sums), 0);
	assert_int_equal(spare_clear_sequence(s, 40, 1, 7), 0);
	assert_int_equal(descriptor_of(8, &d), 0);
	spare_close(s);
}

static void the_last_descriptor_stays_in_the_table(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t last = spare_counts(s).slots - 1;
	uint8_t *buf = aligned_buffer(512);
	uint32_t sum = 9;
	struct descriptor d;

	(void)state;
	memset(buf, 0x33, 512);
	assert_int_equal(spare_write(s, buf, 0, 1), 0);
	assert_int_equal(described(s, last, 1, 77, 1, &sum), 0);
	assert_int_equal(descriptor_of(last, &d), 0);
	assert_int_equal(spare_read(s, buf, 0, 1), 0);
	assert_int_equal(buf[0], 0x33);
	assert_int_equal(buf[511], 0x33);
	free(buf);
	spare_close(s);
}

static void a_descriptor_is_of_one_slot_of_one_spare(void **state)
{
	struct spare_identity other = identity;
	struct descriptor d = {.sector = 12, .sequence = 3, .data_sum = 4}, found;
	uint8_t raw[DESCRIPTOR_BYTES];

	(void)state;
	other.spare[9] ^= 1;
	descriptor_encode(raw, &identity, 8, &d);
	assert_int_equal(descriptor_decode(raw, &identity, 8, &found), 0);
	assert_int_equal(descriptor_decode(raw, &identity, 9, &found), -EBADMSG);
	assert_int_equal(descriptor_decode(raw, &other, 8, &found), -EBADMSG);
	for (unsigned bit = 0; bit < 8 * DESCRIPTOR_BYTES; bit++) {
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(descriptor_decode(raw, &identity, 8, &found), -EBADMSG);
		raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static void groups_share_a_table_sector(void **state)
{
	struct spare *s = open_formatted(&identity);
	slot_t slots = spare_counts(s).slots, first;
	uint64_t count;

	(void)state;
	for (slot_t slot = 0; slot < slots; slot++) {
		spare_table_group(s, slot, &first, &count);
		assert_true(first <= slot && slot < first + count);
		assert_int_equal(first * DESCRIPTOR_BYTES % 512, 0);
		assert_true(count == 512 / DESCRIPTOR_BYTES || first + count == slots);
	}
	spare_close(s);
}

static void table_errors_are_told_and_not_remembered(void **state)
{
	struct spare *s = open_formatted(&identity);
	struct spare_layout l = spare_layout(SPARE_BYTES, 512);
	uint32_t sums[40] = {0};
	struct descriptor d;
	slot_t first;
	uint64_t count;

	(void)state;
	assert_int_equal(described(s, 0, 1, 100, 1, sums), 0);
	spare_table_group(s, 16, &first, &count);
	ram->fail_from = l.table_offset + first * DESCRIPTOR_BYTES;
	ram->fail_to = ram->fail_from + count * DESCRIPTOR_BYTES;
	ram->fail_error[RAM_WRITE] = -EIO;
	assert_int_equal(described(s, 17, 1, 200, 2, sums), -EIO);
	assert_int_equal(described(s, 10, 20, 300, 3, sums), -EIO);
	assert_int_equal(described(s, 1, 1, 400, 4, sums), 0);
	ram->fail_error[RAM_WRITE] = 0;
	assert_int_equal(described(s, 20, 1, 500, 5, sums), 0);
	assert_int_equal(descriptor_of(0, &d), 0);
	assert_int_equal(descriptor_of(1, &d), 0);
	/* What failed to be written before is not carried along now. */
	assert_int_equal(descriptor_of(17, &d), -ENOENT);
	assert_int_equal(descriptor_of(20, &d), 0);
	ram->fail_error[RAM_READ] = -ENODATA;
	assert_int_equal(described(s, 0, 1, 100, 6, sums), 0);
	assert_int_equal(described(s, 16, 1, 100, 7, sums), -ENODATA);
	spare_close(s);
}

/* ---- threads -------------------------------------------------------------------- */

static struct spare *shared;
static unsigned owners[8192];

static void *allocate_and_release(void *seed_arg)
{
	uint64_t seed = *(uint64_t *)seed_arg;

	for (unsigned i = 0; i < 5000; i++) {
		slot_t first;
		uint64_t n = spare_allocate(shared, 1 + random_below(&seed, 40), &first);

		for (slot_t slot = first; n > 0 && slot < first + n; slot++)
			assert_int_equal(__atomic_add_fetch(&owners[slot], 1, __ATOMIC_SEQ_CST), 1);
		for (slot_t slot = first; n > 0 && slot < first + n; slot++)
			__atomic_sub_fetch(&owners[slot], 1, __ATOMIC_SEQ_CST);
		if (n > 0)
			spare_release(shared, first, n);
	}
	return NULL;
}

static void no_slot_has_two_owners(void **state)
{
	pthread_t threads[4];
	uint64_t seeds[4] = {1, 2, 3, 4};

	(void)state;
	shared = open_formatted(&identity);
	assert_true(spare_counts(shared).slots <= ARRAY_SIZE(owners));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_release, &seeds[i]),
				 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_counts(shared, 0, 0);
	spare_close(shared);
}

/* A flush that begins while a write is under way does not cover it. */
static const struct device_ops *ram_ops;
static struct spare *flushed_meanwhile;

static int write_after_a_flush(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	assert_int_equal(spare_flush(flushed_meanwhile), 0);
	return ram_ops->write(d, buf, length, offset);
}

static void a_write_is_flushed_by_what_begins_after_it(void **state)
{
	struct spare *s = open_formatted(&identity);
	struct device_ops ops = *ram->device.ops;
	uint8_t sector[512] = {1};
	unsigned flushes;

	(void)state;
	assert_int_equal(spare_flush(s), 0);
	ram_ops = ram->device.ops;
	ops.write = write_after_a_flush;
	flushed_meanwhile = s;
	ram->device.ops = &ops;
	assert_int_equal(spare_write(s, sector, 0, 1), 0);
	ram->device.ops = ram_ops;
	flushes = ram->calls[RAM_FLUSH];
	assert_int_equal(spare_flush(s), 0);
	assert_int_equal(ram->calls[RAM_FLUSH], flushes + 1);
	spare_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_spare_is_free),
		cmocka_unit_test(slots_come_in_order),
		cmocka_unit_test(a_run_ends_at_what_is_taken),
		cmocka_unit_test(every_slot_is_given_out_once),
		cmocka_unit_test(take_refuses_what_is_not_free),
		cmocka_unit_test(bad_slots_are_not_given_out),
		cmocka_unit_test(a_failed_spare_gives_nothing_and_serves_on),
		cmocka_unit_test(slots_hold_data),
		cmocka_unit_test(sums_tell_data_apart),
		cmocka_unit_test(descriptors_say_what_slots_hold),
		cmocka_unit_test(a_table_sector_is_written_once_for_all),
		cmocka_unit_test(the_last_descriptor_stays_in_the_table),
		cmocka_unit_test(a_descriptor_is_of_one_slot_of_one_spare),
		cmocka_unit_test(groups_share_a_table_sector),
		cmocka_unit_test(table_errors_are_told_and_not_remembered),
		cmocka_unit_test(no_slot_has_two_owners),
		cmocka_unit_test(a_write_is_flushed_by_what_begins_after_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
