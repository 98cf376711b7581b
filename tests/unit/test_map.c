/* include/remapfs/map.h, against a plain array of sectors. */
#include "fixture.h"

#include "remapfs/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define REGION ((uint64_t)1 << 16)
#define SECTORS (4 * REGION + 1000)

/* ---- the naive model ------------------------------------------------------------ */

struct place {
	enum sector_state state;
	spare_id_t spare;
	slot_t slot;
};

static struct place place_of(const struct extent *e, sector_t sector)
{
	struct extent one = extent_part(*e, sector, 1);

	return (struct place){one.state, one.spare, one.slot};
}

static bool same_place(struct place a, struct place b)
{
	return a.state == b.state && a.spare == b.spare && a.slot == b.slot;
}

/* Whether two neighbouring sectors belong to one extent. */
static bool continues(struct place a, struct place b)
{
	if (a.spare != ON_MAIN)
		a.slot++;
	return same_place(a, b);
}

static void naive_set(struct place *naive, const struct extent *e)
{
	for (sector_t s = e->start; s < extent_end(e); s++)
		naive[s] = place_of(e, s);
}

static void check_get(struct map *map, const struct place *naive, sector_t start, uint64_t count)
{
	struct extent e = map_get(map, start, count);
	sector_t end = extent_end(&e);

	assert_int_equal(e.start, start);
	assert_true(e.count > 0 && e.count <= count);
	for (sector_t s = start; s < end; s++)
		assert_true(same_place(place_of(&e, s), naive[s]));
	/* The longest there is, but for the boundary of a region. */
	if (e.count < count && end % REGION != 0)
		assert_false(continues(naive[end - 1], naive[end]));
}

static void check_next_special(struct map *map, const struct place *naive, sector_t start)
{
	sector_t expected = start;

	while (expected < SECTORS && naive[expected].state == SECTOR_GOOD)
		expected++;
	assert_int_equal(map_next_special(map, start), expected);
}

static struct map_counts naive_counts(const struct place *naive)
{
	struct map_counts c = {0};

	for (sector_t s = 0; s < SECTORS; s++) {
		c.remapped += naive[s].state == SECTOR_REMAPPED;
		c.pending += naive[s].state == SECTOR_PENDING;
		c.extents += naive[s].state != SECTOR_GOOD &&
			     (s % REGION == 0 || !continues(naive[s - 1], naive[s]));
	}
	return c;
}

static void check_all(struct map *map, const struct place *naive)
{
	struct map_counts expected = naive_counts(naive), counts = map_counts(map);

	assert_int_equal(counts.remapped, expected.remapped);
	assert_int_equal(counts.pending, expected.pending);
	assert_int_equal(counts.extents, expected.extents);
	for (sector_t s = 0; s < SECTORS;) {
		struct extent e = map_get(map, s, SECTORS - s);

		check_get(map, naive, s, SECTORS - s);
		s += e.count;
	}
}

/* Half of all lie around the boundary of a region, where code goes wrong. */
static sector_t random_start(uint64_t *seed)
{
	if (random_below(seed, 2))
		return random_below(seed, SECTORS);
	return (1 + random_below(seed, 4)) * REGION - 40 + random_below(seed, 80);
}

static struct extent random_extent(uint64_t *seed)
{
	static const uint64_t longest[] = {1, 4, 64, 5000, 2 * REGION + 7};
	struct extent e = {.start = random_start(seed)};

	e.count = 1 + random_below(seed, longest[random_below(seed, ARRAY_SIZE(longest))]);
	if (e.count > SECTORS - e.start)
		e.count = SECTORS - e.start;
	e.state = (enum sector_state)random_below(seed, 3);
	if (e.state == SECTOR_REMAPPED || (e.state == SECTOR_PENDING && random_below(seed, 2)))
		e.spare = 1 + (spare_id_t)random_below(seed, 2);
	/* Few distances between slot and sector, so that extents meet and merge. */
	if (e.spare != ON_MAIN)
		e.slot = e.start + 100 * random_below(seed, 2);
	return e;
}

static void random_operations_as_the_naive_model(void **state)
{
	uint64_t seed = test_seed();
	struct place *naive = calloc(SECTORS, sizeof(*naive));
	struct map *map;

	(void)state;
	assert_non_null(naive);
	assert_int_equal(map_new(SECTORS, &map), 0);
	for (unsigned i = 0; i < 12000; i++) {
		struct extent e = random_extent(&seed);
		sector_t from = random_start(&seed);
		bool reserve = random_below(&seed, 2);

		if (reserve)
			assert_int_equal(map_reserve(map, e.start, e.count), 0);
		assert_int_equal(map_set(map, &e), 0);
		if (reserve)
			map_unreserve(map, e.start, e.count);
		naive_set(naive, &e);
		check_get(map, naive, from, 1 + random_below(&seed, SECTORS - from));
		check_next_special(map, naive, random_start(&seed));
		if (i % 500 == 0)
			check_all(map, naive);
	}
	check_all(map, naive);
	map_free(map);
	free(naive);
}

/* ---- examples ------------------------------------------------------------------- */

static struct extent remapped(sector_t start, uint64_t count, spare_id_t spare, slot_t slot)
{
	return (struct extent){start, count, SECTOR_REMAPPED, spare, slot};
}

static void set(struct map *map, struct extent e)
{
	assert_int_equal(map_set(map, &e), 0);
}

static void assert_extent(struct extent got, struct extent expected)
{
	assert_int_equal(got.start, expected.start);
	assert_int_equal(got.count, expected.count);
	assert_int_equal(got.state, expected.state);
	assert_int_equal(got.spare, expected.spare);
	assert_int_equal(got.slot, expected.slot);
}

static void a_new_map_is_good(void **state)
{
	static const sector_t sizes[] = {1, 2, REGION - 1, REGION, REGION + 1, 10 * REGION};
	struct map *map;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(map_new(sizes[i], &map), 0);
		assert_int_equal(map_next_special(map, 0), sizes[i]);
		assert_int_equal(map_next_special(map, sizes[i] - 1), sizes[i]);
		assert_extent(map_get(map, sizes[i] - 1, 1),
			      (struct extent){.start = sizes[i] - 1, .count = 1});
		assert_int_equal(map_counts(map).remapped, 0);
		assert_int_equal(map_counts(map).extents, 0);
		map_free(map);
	}
	map_free(NULL);
}

static void the_last_sector_can_be_special(void **state)
{
	struct map *map;

	(void)state;
	assert_int_equal(map_new(REGION + 1, &map), 0);
	set(map, remapped(REGION, 1, 1, 9));
	assert_int_equal(map_next_special(map, 0), REGION);
	assert_int_equal(map_next_special(map, REGION), REGION);
	assert_extent(map_get(map, REGION, 1), remapped(REGION, 1, 1, 9));
	map_free(map);
}

/* 16 TiB of 512-byte sectors: good sectors must cost nearly nothing. */
static void a_large_main_costs_little(void **state)
{
	sector_t sectors = (sector_t)1 << 35;
	struct map *map;

	(void)state;
	assert_int_equal(map_new(sectors, &map), 0);
	assert_true(map_counts(map).bytes < 64 * MiB);
	set(map, remapped(sectors - 3, 3, 1, 0));
	assert_int_equal(map_next_special(map, 0), sectors - 3);
	map_free(map);
}

static void neighbours_that_continue_each_other_merge(void **state)
{
	struct map *map;

	(void)state;
	assert_int_equal(map_new(1000, &map), 0);
	set(map, remapped(10, 1, 1, 5));
	set(map, remapped(12, 1, 1, 7));
	assert_int_equal(map_counts(map).extents, 2);
	set(map, remapped(11, 1, 1, 6));
	assert_int_equal(map_counts(map).extents, 1);
	assert_extent(map_get(map, 10, 500), remapped(10, 3, 1, 5));
	assert_extent(map_get(map, 11, 1), remapped(11, 1, 1, 6));
	map_free(map);
}

static void neighbours_elsewhere_do_not_merge(void **state)
{
	struct map *map;

	(void)state;
	assert_int_equal(map_new(1000, &map), 0);
	set(map, remapped(10, 2, 1, 5));
	set(map, remapped(12, 2, 2, 7));
	set(map, remapped(14, 2, 2, 20));
	set(map, (struct extent){16, 2, SECTOR_PENDING, 2, 22});
	set(map, (struct extent){18, 2, SECTOR_PENDING, ON_MAIN, 0});
	set(map, (struct extent){20, 2, SECTOR_PENDING, ON_MAIN, 0});
	assert_int_equal(map_counts(map).extents, 5);
	assert_int_equal(map_counts(map).remapped, 6);
	assert_int_equal(map_counts(map).pending, 6);
	assert_extent(map_get(map, 18, 100), (struct extent){18, 4, SECTOR_PENDING, ON_MAIN, 0});
	map_free(map);
}

static void a_hole_splits_an_extent(void **state)
{
	struct extent good = {.start = 15, .count = 2};
	struct map *map;

	(void)state;
	assert_int_equal(map_new(1000, &map), 0);
	set(map, remapped(10, 20, 1, 100));
	set(map, good);
	assert_extent(map_get(map, 10, 990), remapped(10, 5, 1, 100));
	assert_extent(map_get(map, 15, 985), good);
	assert_extent(map_get(map, 17, 983), remapped(17, 13, 1, 107));
	assert_int_equal(map_next_special(map, 15), 17);
	assert_int_equal(map_counts(map).remapped, 18);
	map_free(map);
}

static void an_extent_crosses_regions(void **state)
{
	struct map *map;

	(void)state;
	assert_int_equal(map_new(4 * REGION, &map), 0);
	set(map, remapped(REGION - 2, 2 * REGION + 4, 1, 50));
	assert_int_equal(map_counts(map).remapped, 2 * REGION + 4);
	for (sector_t s = REGION - 2; s < 3 * REGION + 2; s++)
		assert_extent(map_get(map, s, 1), remapped(s, 1, 1, 50 + s - (REGION - 2)));
	set(map, (struct extent){.start = 0, .count = 4 * REGION});
	assert_int_equal(map_next_special(map, 0), 4 * REGION);
	assert_int_equal(map_counts(map).extents, 0);
	map_free(map);
}

static void an_extent_costs_little(void **state)
{
	struct map *map;
	uint64_t empty, full;

	(void)state;
	assert_int_equal(map_new(REGION, &map), 0);
	empty = map_counts(map).bytes;
	for (sector_t s = 0; s < REGION; s += 2)
		set(map, remapped(s, 1, 1, s));
	full = map_counts(map).bytes;
	assert_true(full > empty);
	assert_true(full - empty < REGION / 2 * 128);
	map_free(map);
}

/* ---- reserve -------------------------------------------------------------------- */

static void reservations_add_up(void **state)
{
	struct map *map;

	(void)state;
	assert_int_equal(map_new(2 * REGION, &map), 0);
	/* Many writers may hold one range's region reserved at once. */
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(map_reserve(map, REGION - 100 + i, 1), 0);
	for (unsigned i = 0; i < 200; i++)
		set(map, remapped(REGION - 100 + i, 1, 1, 7 * i));
	for (unsigned i = 0; i < 200; i++)
		map_unreserve(map, REGION - 100 + i, 1);
	assert_int_equal(map_counts(map).remapped, 200);
	assert_int_equal(map_counts(map).extents, 200);
	map_free(map);
}

static void a_reservation_may_go_unused(void **state)
{
	struct map *map;

	(void)state;
	assert_int_equal(map_new(2 * REGION, &map), 0);
	assert_int_equal(map_reserve(map, 5, 2 * REGION - 10), 0);
	map_unreserve(map, 5, 2 * REGION - 10);
	assert_int_equal(map_counts(map).remapped, 0);
	assert_int_equal(map_next_special(map, 0), 2 * REGION);
	map_free(map);
}

/* ---- threads -------------------------------------------------------------------- */

#define THREADS 4
#define LANE 64 /* sectors that one thread owns */

struct lane {
	struct map *map;
	sector_t start;
	uint64_t seed;
};

static void *run_lane(void *arg)
{
	struct lane *lane = arg;
	struct place naive[LANE] = {0};

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t at_sector = random_below(&lane->seed, LANE);
		struct extent e = {.start = lane->start + at_sector};
		sector_t s;

		e.count = 1 + random_below(&lane->seed, LANE - at_sector);
		e.state = (enum sector_state)random_below(&lane->seed, 3);
		if (e.state == SECTOR_REMAPPED) {
			e.spare = 1;
			e.slot = e.start;
		}
		assert_int_equal(map_reserve(lane->map, e.start, e.count), 0);
		assert_int_equal(map_set(lane->map, &e), 0);
		map_unreserve(lane->map, e.start, e.count);
		for (s = e.start; s < extent_end(&e); s++)
			naive[s - lane->start] = place_of(&e, s);
		s = lane->start + random_below(&lane->seed, LANE);
		e = map_get(lane->map, s, 1);
		assert_true(same_place(place_of(&e, s), naive[s - lane->start]));
		assert_true(map_next_special(lane->map, s) >= s);
		if (i % 64 == 0)
			assert_true(map_counts(lane->map).remapped <= THREADS * LANE);
	}
	return NULL;
}

/* Each thread owns its range; some share a region, some straddle two. */
static void run_lanes(sector_t distance)
{
	pthread_t threads[THREADS];
	struct lane lanes[THREADS];
	struct map *map;

	assert_int_equal(map_new(8 * REGION, &map), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		lanes[i] = (struct lane){map, REGION - LANE / 2 + i * distance, i + 1};
		assert_int_equal(pthread_create(&threads[i], NULL, run_lane, &lanes[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	map_free(map);
}

static void distinct_ranges_of_one_region_at_once(void **state)
{
	(void)state;
	run_lanes(LANE);
}

static void distinct_regions_at_once(void **state)
{
	(void)state;
	run_lanes(2 * REGION);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_map_is_good),
		cmocka_unit_test(the_last_sector_can_be_special),
		cmocka_unit_test(a_large_main_costs_little),
		cmocka_unit_test(neighbours_that_continue_each_other_merge),
		cmocka_unit_test(neighbours_elsewhere_do_not_merge),
		cmocka_unit_test(a_hole_splits_an_extent),
		cmocka_unit_test(an_extent_crosses_regions),
		cmocka_unit_test(an_extent_costs_little),
		cmocka_unit_test(reservations_add_up),
		cmocka_unit_test(a_reservation_may_go_unused),
		cmocka_unit_test(random_operations_as_the_naive_model),
		cmocka_unit_test(distinct_ranges_of_one_region_at_once),
		cmocka_unit_test(distinct_regions_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
