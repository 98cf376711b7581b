/* src/volume/range_lock.h */
#include "fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "volume/range_lock.h"

static struct range_locks locks;

static int setup(void **state)
{
	(void)state;
	range_locks_init(&locks);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	range_locks_destroy(&locks);
	return 0;
}

/* ---- one thread asks, and waits or not ------------------------------------------ */

struct asker {
	pthread_t thread;
	struct range_ticket ticket;
	sector_t start;
	uint64_t count;
	bool own;
	atomic_bool granted, let_go;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	if (a->own)
		range_own(&locks, &a->ticket, a->start, a->count);
	else
		range_share(&locks, &a->ticket, a->start, a->count);
	atomic_store(&a->granted, true);
	while (!atomic_load(&a->let_go))
		pause_ms(1);
	range_unlock(&locks, &a->ticket);
	return NULL;
}

static void start_asker(struct asker *a, bool own, sector_t start, uint64_t count)
{
	*a = (struct asker){.start = start, .count = count, .own = own};
	assert_int_equal(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void assert_granted(struct asker *a)
{
	for (unsigned i = 0; i < 10000 && !atomic_load(&a->granted); i++)
		pause_ms(1);
	assert_true(atomic_load(&a->granted));
}

/* Long enough that a thread that need not wait would have been seen. */
static void assert_waits(struct asker *a)
{
	pause_ms(30);
	assert_false(atomic_load(&a->granted));
}

static void end_asker(struct asker *a)
{
	atomic_store(&a->let_go, true);
	pthread_join(a->thread, NULL);
}

static void readers_share(void **state)
{
	struct asker a, b;

	(void)state;
	start_asker(&a, false, 0, 10);
	assert_granted(&a);
	start_asker(&b, false, 5, 10);
	assert_granted(&b);
	end_asker(&a);
	end_asker(&b);
}

static void an_owner_waits_for_readers_and_readers_for_it(void **state)
{
	struct asker reader, owner, later;

	(void)state;
	start_asker(&reader, false, 0, 10);
	assert_granted(&reader);
	start_asker(&owner, true, 9, 2);
	assert_waits(&owner);
	/* It came after the owner: served before, owners would starve. */
	start_asker(&later, false, 10, 1);
	assert_waits(&later);
	end_asker(&reader);
	assert_granted(&owner);
	assert_waits(&later);
	end_asker(&owner);
	assert_granted(&later);
	end_asker(&later);
}

static void neighbours_do_not_touch(void **state)
{
	struct asker a, b, c;

	(void)state;
	start_asker(&a, true, 10, 10);
	assert_granted(&a);
	start_asker(&b, true, 20, 1);
	assert_granted(&b);
	start_asker(&c, true, 9, 1);
	assert_granted(&c);
	end_asker(&a);
	end_asker(&b);
	end_asker(&c);
}

/* Waiting for something else holds up nobody. */
static void a_waiter_blocks_only_its_own_range(void **state)
{
	struct asker holder, waiter, other;

	(void)state;
	start_asker(&holder, true, 0, 5);
	assert_granted(&holder);
	start_asker(&waiter, true, 4, 5);
	assert_waits(&waiter);
	start_asker(&other, true, 20, 5);
	assert_granted(&other);
	end_asker(&other);
	end_asker(&holder);
	assert_granted(&waiter);
	end_asker(&waiter);
}

static void one_release_wakes_all_that_can_go(void **state)
{
	struct asker holder, readers[5];

	(void)state;
	start_asker(&holder, true, 0, 100);
	assert_granted(&holder);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
		start_asker(&readers[i], false, 10 * i, 20);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
		assert_waits(&readers[i]);
	end_asker(&holder);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
		assert_granted(&readers[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(readers); i++)
		end_asker(&readers[i]);
}

static void trying_never_waits(void **state)
{
	struct range_ticket a, b, c;

	(void)state;
	range_share(&locks, &a, 0, 10);
	assert_false(range_try_own(&locks, &b, 9, 1, NULL));
	assert_true(range_try_own(&locks, &b, 10, 5, NULL));
	assert_false(range_try_own(&locks, &c, 0, 100, NULL));
	range_unlock(&locks, &a);
	assert_true(range_try_own(&locks, &c, 0, 10, NULL));
	range_unlock(&locks, &b);
	range_unlock(&locks, &c);
	assert_true(range_try_own(&locks, &a, 0, 1000, NULL));
	range_unlock(&locks, &a);
}

static void a_failed_try_leaves_nothing(void **state)
{
	struct range_ticket held, failed;
	struct asker reader;

	(void)state;
	range_share(&locks, &held, 0, 10);
	assert_false(range_try_own(&locks, &failed, 0, 10, NULL));
	start_asker(&reader, false, 0, 10);
	assert_granted(&reader);
	end_asker(&reader);
	range_unlock(&locks, &held);
	assert_null(locks.first);
	assert_null(locks.last);
}

/* ---- many threads --------------------------------------------------------------- */

#define SECTORS 32

static atomic_int holders[SECTORS]; /* readers; -1000: an owner */

static void enter(sector_t start, uint64_t count, bool own)
{
	for (sector_t s = start; s < start + count; s++) {
		int before = atomic_fetch_add(&holders[s], own ? -1000 : 1);

		assert_true(own ? before == 0 : before >= 0);
	}
}

static void leave(sector_t start, uint64_t count, bool own)
{
	for (sector_t s = start; s < start + count; s++)
		atomic_fetch_add(&holders[s], own ? 1000 : -1);
}

static void *hold_at_random(void *seed_arg)
{
	uint64_t seed = *(uint64_t *)seed_arg;

	for (unsigned i = 0; i < 20000; i++) {
		sector_t start = random_below(&seed, SECTORS);
		uint64_t count = 1 + random_below(&seed, SECTORS - start);
		uint64_t kind = random_below(&seed, 5);
		struct range_ticket t;

		if (kind == 0) {
			if (!range_try_own(&locks, &t, start, count, NULL))
				continue;
		} else if (kind == 1) {
			range_own(&locks, &t, start, count);
		} else {
			range_share(&locks, &t, start, count);
		}
		enter(start, count, kind < 2);
		leave(start, count, kind < 2);
		range_unlock(&locks, &t);
	}
	return NULL;
}

static void owners_are_alone(void **state)
{
	pthread_t threads[8];
	uint64_t seeds[8];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++) {
		seeds[i] = i + 1;
		assert_int_equal(pthread_create(&threads[i], NULL, hold_at_random, &seeds[i]), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_null(locks.first);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(readers_share),
		TEST(an_owner_waits_for_readers_and_readers_for_it),
		TEST(neighbours_do_not_touch),
		TEST(a_waiter_blocks_only_its_own_range),
		TEST(one_release_wakes_all_that_can_go),
		TEST(trying_never_waits),
		TEST(a_failed_try_leaves_nothing),
		TEST(owners_are_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
