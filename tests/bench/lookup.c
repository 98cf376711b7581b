/*
 * How long the map takes to answer, and what it holds:
 *
 *     bench_lookup COUNT RUN STRIDE
 *
 * COUNT sectors are remapped in runs of RUN, at random places, on average one
 * run every STRIDE sectors.
 * Prints one line of JSON: nanoseconds of one look-up at a random sector of the
 * whole map and at a random sector that is remapped, the same of one set, and
 * the bytes that the map holds for each remapped sector.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "remapfs/error.h"
#include "remapfs/map.h"
#include "remapfs/parse.h"

#define LOOKUPS (1u << 21)

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Where the runs are; the gaps between them are as those of random places. */
static sector_t *place_runs(uint64_t runs, uint64_t run, uint64_t stride)
{
	sector_t *at = malloc((runs + 1) * sizeof(*at)), next = 0;
	uint64_t state = 88172645463325252u;

	for (uint64_t i = 0; at && i < runs; i++) {
		double chance = ((double)(next_random(&state) >> 11) + 1) / (1ull << 53);

		next += (sector_t)(-log(chance) * (double)(stride - run));
		at[i] = next;
		next += run;
	}
	if (at)
		at[runs] = next;
	return at;
}

/* Slots are scattered, so that no two runs become one extent. */
static int fill(struct map *map, const sector_t *runs, uint64_t count, uint64_t run)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		struct extent e = {runs[i], run, SECTOR_REMAPPED, 1,
				   (i * 2654435761u) % (SLOT_MAX / 2)};

		rc = map_set(map, &e);
	}
	return rc;
}

static double look_up(struct map *map, const sector_t *at)
{
	double start = now_ns();

	for (size_t i = 0; i < LOOKUPS; i++)
		map_get(map, at[i], 8);
	return (now_ns() - start) / LOOKUPS;
}

/* At random sectors of the whole map, or at those of random runs. */
static void draw(sector_t *at, const sector_t *runs, uint64_t of)
{
	uint64_t state = 2463534242u;

	for (size_t i = 0; i < LOOKUPS; i++) {
		at[i] = next_random(&state) % of;
		at[i] = runs ? runs[at[i]] : at[i];
	}
}

static int measure(struct map *map, const sector_t *runs, uint64_t count, uint64_t run)
{
	CLEANUP_FREE sector_t *at = malloc(LOOKUPS * sizeof(*at));
	double set = now_ns(), anywhere, remapped = 0;
	uint64_t held;

	if (!at || fill(map, runs, count / run, run) < 0)
		return -ENOMEM;
	set = now_ns() - set;
	draw(at, NULL, runs[count / run] + 1);
	look_up(map, at);
	anywhere = look_up(map, at);
	if (count) {
		draw(at, runs, count / run);
		remapped = look_up(map, at);
	}
	held = map_counts(map).bytes;
	printf("{\"remaps\": %llu, \"run\": %llu, \"lookup_ns\": %.1f, \"lookup_remapped_ns\": %.1f, "
	       "\"set_ns\": %.1f, \"map_bytes\": %llu, \"bytes_per_remap\": %.2f}\n",
	       (unsigned long long)count, (unsigned long long)run, anywhere, remapped,
	       count ? set / (double)(count / run) : 0, (unsigned long long)held,
	       count ? (double)held / (double)count : 0);
	return 0;
}

int main(int argc, char **argv)
{
	CLEANUP_FREE sector_t *runs = NULL;
	uint64_t count, run, stride;
	struct map *map;
	struct error err = {""};

	if (argc != 4) {
		fprintf(stderr, "usage: %s COUNT RUN STRIDE\n", argv[0]);
		return 2;
	}
	if (parse_number(argv[1], 0, SECTOR_MAX, &count, &err) < 0 ||
	    parse_number(argv[2], 1, 65536, &run, &err) < 0 ||
	    parse_number(argv[3], run, SECTOR_MAX, &stride, &err) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], err.text);
		return 2;
	}
	runs = place_runs(count / run, run, stride);
	if (!runs || map_new(runs[count / run] + 8, &map) < 0 || measure(map, runs, count, run) < 0) {
		fprintf(stderr, "%s: out of memory\n", argv[0]);
		return 1;
	}
	map_free(map);
	return 0;
}
