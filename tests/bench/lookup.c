/*
 * How long the map takes to answer, and what it holds:
 *
 *     bench_lookup COUNT RUN STRIDE
 *
 * COUNT sectors are remapped in runs of RUN, one run every STRIDE sectors.
 * Prints one line of JSON: nanoseconds of one look-up at a random sector of the
 * whole map and at a random sector that is remapped, the same of one set, and
 * the bytes that the map holds for each remapped sector.
 */
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

/* Slots are scattered, so that no two runs become one extent. */
static int fill(struct map *map, uint64_t count, uint64_t run, uint64_t stride)
{
	for (uint64_t i = 0; i < count / run; i++) {
		struct extent e = {i * stride, run, SECTOR_REMAPPED, 1,
				   (i * 2654435761u) % (SLOT_MAX / 2)};
		int rc = map_set(map, &e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static double look_up(struct map *map, const sector_t *at)
{
	double start = now_ns();

	for (size_t i = 0; i < LOOKUPS; i++)
		map_get(map, at[i], 8);
	return (now_ns() - start) / LOOKUPS;
}

static void draw(sector_t *at, uint64_t of, uint64_t unit)
{
	uint64_t state = 88172645463325252u;

	for (size_t i = 0; i < LOOKUPS; i++)
		at[i] = next_random(&state) % of * unit;
}

static int measure(uint64_t count, uint64_t run, uint64_t stride)
{
	sector_t sectors = (count / run + 1) * stride + 8;
	CLEANUP_FREE sector_t *at = malloc(LOOKUPS * sizeof(*at));
	double set, anywhere, remapped = 0;
	struct map_counts held;
	struct map *map;

	if (!at || map_new(sectors, &map) < 0)
		return -ENOMEM;
	set = now_ns();
	if (fill(map, count, run, stride) < 0)
		return -ENOMEM;
	set = now_ns() - set;
	draw(at, sectors - 8, 1);
	look_up(map, at);
	anywhere = look_up(map, at);
	if (count) {
		draw(at, count / run, stride);
		remapped = look_up(map, at);
	}
	held = map_counts(map);
	printf("{\"remaps\": %llu, \"run\": %llu, \"lookup_ns\": %.1f, \"lookup_remapped_ns\": %.1f, "
	       "\"set_ns\": %.1f, \"map_bytes\": %llu, \"bytes_per_remap\": %.2f}\n",
	       (unsigned long long)count, (unsigned long long)run, anywhere, remapped,
	       count ? set / (double)(count / run) : 0, (unsigned long long)held.bytes,
	       count ? (double)held.bytes / (double)count : 0);
	map_free(map);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t count, run, stride;
	struct error err = {""};

	if (argc != 4) {
		fprintf(stderr, "usage: %s COUNT RUN STRIDE\n", argv[0]);
		return 2;
	}
	if (parse_number(argv[1], 0, SECTOR_MAX, &count, &err) < 0 ||
	    parse_number(argv[2], 1, 65536, &run, &err) < 0 ||
	    parse_number(argv[3], run, SECTOR_MAX, &stride, &err) < 0 ||
	    measure(count, run, stride) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], err.text[0] ? err.text : "out of memory");
		return 1;
	}
	return 0;
}
