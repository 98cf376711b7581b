/*
 * include/remapfs/spare.h and src/volume/commit.h: what a spare confirms, and
 * that no slot is written again before it is.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "disrupt.h"
#include "remapfs/spare.h"
#include "spare/spare_impl.h"
#include "spare_fixture.h"
#include "starve.h"
#include "volume/volume_impl.h"

#define MAKE_SURE(call) assert_int_equal(call, 0)

/* What a rebuild would find of it: the greater of the two. */
static uint64_t on_medium(struct device *d)
{
	struct spare_copy copy[2];

	MAKE_SURE(spare_inspect(d, copy));
	assert_true(copy[0].error == 0 || copy[1].error == 0);
	if (copy[0].error || (copy[1].error == 0 && copy[1].confirmed > copy[0].confirmed))
		return copy[1].confirmed;
	return copy[0].confirmed;
}

static void superblocks_take_turns(void **state)
{
	struct spare *s = open_formatted(&identity);
	struct spare_copy copy[2];

	(void)state;
	assert_int_equal(spare_confirmed(s), 0);
	for (uint64_t w = 1; w < 10; w++) {
		MAKE_SURE(spare_confirm(s, w));
		assert_int_equal(spare_confirmed(s), w - 1); /* not yet durable */
		MAKE_SURE(spare_flush(s));
		assert_int_equal(spare_confirmed(s), w);
		MAKE_SURE(spare_inspect(spare_device(s), copy));
		assert_int_equal(copy[0].confirmed + copy[1].confirmed, 2 * w - 1);
	}
	/* It never goes back. */
	MAKE_SURE(spare_confirm(s, 3));
	MAKE_SURE(spare_flush(s));
	assert_int_equal(on_medium(spare_device(s)), 9);
	spare_close(s);
}

static void a_lost_copy_is_written_first(void **state)
{
	uint64_t where[] = {0, spare_layout(SPARE_BYTES, 512).backup_offset};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct device *d = new_device();
		struct spare_copy copy[2];
		struct spare *s;
		bool damaged;

		MAKE_SURE(spare_format(d, &identity));
		ram->data[where[i] + 20] ^= 0x40;
		MAKE_SURE(spare_open(d, &identity, &s, &damaged, NULL));
		MAKE_SURE(spare_confirm(s, 5));
		MAKE_SURE(spare_inspect(d, copy));
		assert_int_equal(copy[0].error, 0);
		assert_int_equal(copy[1].error, 0);
		assert_int_equal(copy[i].confirmed, 5);
		assert_int_equal(copy[!i].confirmed, 0);
		spare_close(s);
	}
}

/* One that cannot be written: the other one takes it. */
static void a_superblock_that_cannot_be_written(void **state)
{
	struct spare *s = open_formatted(&identity);

	(void)state;
	ram->fail_to = 512;
	ram->fail_error[RAM_WRITE] = -EIO;
	for (uint64_t w = 1; w < 4; w++)
		MAKE_SURE(spare_confirm(s, w));
	assert_int_equal(on_medium(spare_device(s)), 3);
	ram->fail_to = SPARE_BYTES;
	assert_int_equal(spare_confirm(s, 4), -EIO);
	assert_int_equal(on_medium(spare_device(s)), 3);
	spare_close(s);
}

static void slots_are_unconfirmed_until_a_flush(void **state)
{
	struct spare *s = open_formatted(&identity);
	uint32_t sums[8] = {0};

	(void)state;
	assert_false(spare_unconfirmed(s, 0, 100));
	MAKE_SURE(spare_describe(s, 10, 4, 100, 1, sums));
	MAKE_SURE(spare_describe(s, 20, 2, 200, 2, sums));
	assert_false(spare_unconfirmed(s, 0, 10));
	assert_false(spare_unconfirmed(s, 14, 6));
	assert_true(spare_unconfirmed(s, 13, 1));
	assert_true(spare_unconfirmed(s, 5, 6));
	MAKE_SURE(spare_flush(s));
	assert_true(spare_unconfirmed(s, 10, 1));
	MAKE_SURE(spare_confirm(s, 1));
	assert_true(spare_unconfirmed(s, 10, 1));
	MAKE_SURE(spare_flush(s));
	assert_false(spare_unconfirmed(s, 10, 4));
	assert_true(spare_unconfirmed(s, 21, 1));
	MAKE_SURE(spare_confirm(s, 2));
	ram->fail_error[RAM_FLUSH] = -EIO;
	assert_int_equal(spare_flush(s), -EIO);
	assert_true(spare_unconfirmed(s, 21, 1));
	spare_close(s);
}

/* A rebuild does not find what is taken out and cannot be put back: it must not change. */
static void put_back_in_vain(bool without_memory)
{
	struct spare *s = open_formatted(&identity);
	uint32_t sums[8] = {0};
	void *taken = NULL;

	MAKE_SURE(spare_describe(s, 10, 4, 100, 1, sums));
	MAKE_SURE(spare_save_table(s));
	MAKE_SURE(spare_confirm(s, 1));
	MAKE_SURE(spare_flush(s));
	/* So many that one more note needs memory. */
	for (slot_t slot = 100; slot < 116; slot++)
		MAKE_SURE(spare_describe(s, slot, 1, 500, 2, sums));
	MAKE_SURE(spare_take_out(s, 10, 4, &taken));
	assert_false(spare_unconfirmed(s, 10, 4));
	ram->fail_error[RAM_WRITE] = -EIO;
	ram->fail_to = SPARE_BYTES;
	if (without_memory)
		starve(0);
	assert_int_equal(spare_put_back(s, 10, 4, taken), -EIO);
	assert_int_equal(starve_end(), without_memory);
	free(taken);
	for (slot_t slot = 10; slot < 14; slot++)
		assert_true(spare_unconfirmed(s, slot, 1));
	assert_int_equal(spare_unconfirmed(s, 20, 1), without_memory);
	spare_close(s);
}

static void what_cannot_be_put_back_is_not_overwritten(void **state)
{
	(void)state;
	put_back_in_vain(false);
	put_back_in_vain(true);
}

static void only_the_named_sequence_is_cleared(void **state)
{
	struct spare *s = open_formatted(&identity);
	uint32_t sums[40] = {0};
	uint8_t *table = ram->data + spare_layout(SPARE_BYTES, 512).table_offset;

	(void)state;
	MAKE_SURE(spare_describe(s, 0, 40, 100, 1, sums));
	MAKE_SURE(spare_describe(s, 5, 20, 300, 2, sums));
	MAKE_SURE(spare_save_table(s));
	MAKE_SURE(spare_clear_sequence(s, 0, 40, 1));
	for (unsigned slot = 0; slot < 40; slot++)
		assert_int_equal(table[slot * 32 + 20] == 0, slot >= 5 && slot < 25); /* revoked */
	spare_close(s);
}

/* What is written while a flush goes on may not be part of it. */
static struct spare *flushed;
static int (*flush_of_device)(struct device *);

static int flush_while_confirmed(struct device *d)
{
	int rc = flush_of_device(d);

	MAKE_SURE(spare_confirm(flushed, 2));
	return rc;
}

static void a_flush_is_of_what_was_written_before(void **state)
{
	struct device *d;
	const struct device_ops *plain;
	struct device_ops own;

	(void)state;
	flushed = open_formatted(&identity);
	d = &ram->device;
	plain = d->ops;
	own = *plain;
	flush_of_device = plain->flush;
	own.flush = flush_while_confirmed;
	MAKE_SURE(spare_confirm(flushed, 1));
	d->ops = &own;
	MAKE_SURE(spare_flush(flushed));
	d->ops = plain;
	assert_int_equal(spare_confirmed(flushed), 1);
	MAKE_SURE(spare_flush(flushed));
	assert_int_equal(spare_confirmed(flushed), 2);
	spare_close(flushed);
}

static void the_other_superblock_says_that_all_have_the_stamp(void **state)
{
	struct spare *s = open_formatted(&identity);
	struct spare_copy copy[2];

	(void)state;
	MAKE_SURE(spare_stamp(s, 9, 5));
	MAKE_SURE(spare_stamp_other(s, true));
	MAKE_SURE(spare_inspect(spare_device(s), copy));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(copy[i].stamp.number, 9);
	assert_int_equal(copy[0].stamp.everywhere + copy[1].stamp.everywhere, 1);
	spare_close(s);
}

/* Asking whether a spare is alive puts back what is there, not what was. */
static struct spare *shared;
static atomic_bool asked_enough;

static void *ask_again_and_again(void *unused)
{
	(void)unused;
	while (!atomic_load(&asked_enough))
		assert_int_equal(spare_alive(shared, true), 0);
	return NULL;
}

static void being_asked_does_not_set_it_back(void **state)
{
	pthread_t thread;

	(void)state;
	shared = open_formatted(&identity);
	atomic_store(&asked_enough, false);
	assert_int_equal(pthread_create(&thread, NULL, ask_again_and_again, NULL), 0);
	for (uint64_t w = 1; w < 20000; w++) {
		MAKE_SURE(spare_confirm(shared, w));
		pthread_mutex_lock(&shared->superblocks);
		assert_int_equal(on_medium(spare_device(shared)), w);
		pthread_mutex_unlock(&shared->superblocks);
	}
	atomic_store(&asked_enough, true);
	pthread_join(thread, NULL);
	assert_int_equal(on_medium(spare_device(shared)), 19999);
	spare_close(shared);
}

/* ---- in a volume ------------------------------------------------------------------ */

static struct spare *first_spare(void)
{
	return volume_spare(volume, 1);
}

static bool slot_unconfirmed(sector_t sector)
{
	struct extent e = map_get(volume->map, sector, 1);

	assert_int_equal(e.state, SECTOR_REMAPPED);
	return spare_unconfirmed(first_spare(), e.slot, 1);
}

static uint64_t sequence_of(sector_t sector)
{
	char query[100];

	snprintf(query, sizeof(query), "SELECT sequence FROM remap WHERE main_sector = %llu",
		 (unsigned long long)sector);
	return ask_number(query);
}

static void rounds_confirm_those_before(void **state)
{
	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 1, 1);
	assert_true(slot_unconfirmed(100));
	assert_true(spare_confirmed(first_spare()) < sequence_of(100));
	assert_written(102, 1, 1);
	assert_false(slot_unconfirmed(100));
	assert_true(slot_unconfirmed(102));
	assert_true(spare_confirmed(first_spare()) >= sequence_of(100));
	assert_true(spare_confirmed(first_spare()) < sequence_of(102));
	assert_int_equal(on_medium(spare_device(first_spare())), spare_confirmed(first_spare()));
}

static void a_slot_is_confirmed_before_it_is_overwritten(void **state)
{
	uint64_t commits;

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 1, 1);
	commits = status_now().commits;
	assert_true(slot_unconfirmed(100));
	assert_written(100, 1, 2);
	assert_false(slot_unconfirmed(100));
	assert_true(on_medium(spare_device(first_spare())) >= sequence_of(100));
	/* Without a transaction: a locked database does not stop it. */
	assert_int_equal(status_now().commits, commits);
	assert_read(100, 1, 2);
}

/* One extent of slots that were filled in two rounds: only the first is confirmed. */
static void all_slots_of_an_extent_are_confirmed(void **state)
{
	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 1, 1);
	assert_written(101, 1, 1);
	assert_int_equal(map_get(volume->map, 100, 2).count, 2);
	assert_false(slot_unconfirmed(100));
	assert_true(slot_unconfirmed(101));
	assert_written(100, 2, 2);
	assert_false(slot_unconfirmed(101));
	assert_true(on_medium(spare_device(first_spare())) >= sequence_of(101));
}

/* It cannot be had: the slot keeps what it has, the sector moves. */
static void a_slot_that_cannot_be_confirmed_is_left(void **state)
{
	const struct disruption flush = {.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO};

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 1, 1);
	disrupt(&flush);
	assert_int_equal(write_sectors_of(100, 1, 2), -EIO);
	disrupt_end();
	assert_read(100, 1, 1);
}

/* What was described but not recorded is not confirmed before it is durably cleared. */
static void what_was_not_recorded_is_not_confirmed(void **state)
{
	const struct disruption full = {.file = "/volume-wal", .calls = DISRUPT_WRITE,
					.error = ENOSPC};
	uint64_t lost;

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 1, 1);
	disrupt(&full);
	assert_int_equal(write_sectors_of(102, 1, 1), -EIO);
	disrupt_end();
	lost = volume->committer.sequence;
	assert_true(volume->committer.stale_count > 0);
	assert_written(104, 1, 1);
	/* That flush made it durable that 102 was cleared: the next may confirm. */
	assert_int_equal(volume->committer.stale_count, 0);
	assert_true(spare_confirmed(first_spare()) < lost);
	assert_written(106, 1, 1);
	assert_true(spare_confirmed(first_spare()) >= sequence_of(104));
}

/*
 * A commit in doubt leaves a whole descriptor: a rebuild must not find it once
 * main holds the sector again.
 */
static void a_cure_waits_until_that_is_cleared(void **state)
{
	const struct disruption doubt = {.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO};
	const struct disruption flush = {.file = "/spare1", .calls = DISRUPT_SYNC, .error = EIO};

	(void)state;
	bad_sectors(100, 1, FAULT_ON_WRITE);
	disrupt(&doubt);
	assert_int_equal(write_sectors_of(100, 1, 1), -EIO);
	disrupt_end();
	assert_lost(100, 1);
	clear_faults();
	assert_true(volume->committer.stale_count > 0);
	assert_written(100, 1, 2);
	assert_int_equal(volume->committer.stale_count, 0);
	assert_counts(0, 0);
	bad_sectors(103, 1, FAULT_ON_WRITE);
	disrupt(&doubt);
	assert_int_equal(write_sectors_of(103, 1, 1), -EIO);
	disrupt_end();
	clear_faults();
	disrupt(&flush);
	assert_int_equal(write_sectors_of(103, 1, 2), -EIO);
	disrupt_end();
	assert_lost(103, 1);
}

static void everything_is_confirmed_at_the_end(void **state)
{
	struct file_device_options o = {.role = "spare"};
	struct device *d;
	uint64_t sequence;

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 1);
	sequence = sequence_of(100);
	close_volume();
	MAKE_SURE(file_device_open(at("spare1"), &o, &d, NULL));
	assert_true(on_medium(d) >= sequence);
	device_close(d);
	open_volume();
	assert_true(spare_confirmed(first_spare()) > sequence);
}

/* That fails the request, which gives its slots back. */
static void a_move_without_memory_fails(void **state)
{
	uint64_t slots = status_now().free_slots;
	struct spare *s = first_spare();

	(void)state;
	bad_sectors(100, 1, FAULT_ON_WRITE);
	fill_sectors(100, 1, 1);
	for (unsigned n = 0;; n++) {
		int rc;

		starve(n);
		rc = volume_write(volume, buffer, 512, 100 * 512);
		if (!starve_end()) {
			assert_int_equal(rc, 0);
			break;
		}
		/* Memory for what is only told may be missing. */
		if (rc == 0)
			break;
		assert_true(rc == -EIO || rc == -ENOMEM);
		assert_int_equal(status_now().remapped_sectors, 0);
		assert_int_equal(status_now().free_slots, slots);
	}
	assert_true(spare_unconfirmed(s, 0, SPARE_SLOTS_MIN));
	assert_read(100, 1, 1);
}

/* Somebody is in the middle of its superblocks, on a device that does not answer. */
static void who_leaves_waits_for_a_second(void **state)
{
	struct spare *s = open_formatted(&identity);
	struct timespec begin, end;
	int64_t took;

	(void)state;
	pthread_mutex_lock(&s->superblocks);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	assert_false(spare_leave(s));
	clock_gettime(CLOCK_MONOTONIC, &end);
	took = (end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000;
	assert_true(took >= 900 && took < 5000);
	assert_false(s->left);
	pthread_mutex_unlock(&s->superblocks);
	assert_true(spare_leave(s));
	assert_int_equal(spare_flush(s), 0);
	assert_int_equal(spare_look(s), 0);
	spare_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(superblocks_take_turns),
		cmocka_unit_test(a_lost_copy_is_written_first),
		cmocka_unit_test(a_superblock_that_cannot_be_written),
		cmocka_unit_test(slots_are_unconfirmed_until_a_flush),
		cmocka_unit_test(what_cannot_be_put_back_is_not_overwritten),
		cmocka_unit_test(only_the_named_sequence_is_cleared),
		cmocka_unit_test(being_asked_does_not_set_it_back),
		cmocka_unit_test(who_leaves_waits_for_a_second),
		cmocka_unit_test(a_flush_is_of_what_was_written_before),
		cmocka_unit_test(the_other_superblock_says_that_all_have_the_stamp),
		TEST(rounds_confirm_those_before),
		TEST(a_slot_is_confirmed_before_it_is_overwritten),
		TEST(all_slots_of_an_extent_are_confirmed),
		TEST(a_slot_that_cannot_be_confirmed_is_left),
		TEST(what_was_not_recorded_is_not_confirmed),
		TEST(a_cure_waits_until_that_is_cleared),
		TEST(everything_is_confirmed_at_the_end),
		TEST(a_move_without_memory_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
