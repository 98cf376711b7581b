/*
 * The map: a table of regions, each a sorted array of packed extents.
 *
 * A region covers 2^16 sectors and exists only where something is special, so
 * "nothing here" is one load of a null pointer. Within a region an extent is
 * 12 bytes: what is isolated costs that and the slack of a growing array.
 * Inserting moves the tail of one array: at most 768 KiB, against the two
 * flushes that a remap costs anyway.
 *
 * Invariants, under the lock of the region:
 *   entries are sorted and disjoint, none is good, none is empty;
 *   neighbours that continue each other are one entry;
 *   capacity - count >= reserved.
 * A region, once made, lives as long as the map: readers hold no reference.
 */
#include "remapfs/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"

#define REGION_SHIFT 16
#define REGION_SECTORS ((sector_t)1 << REGION_SHIFT)
#define WHERE_PENDING 0x8000u

/* Offsets are from the region's first sector; last is inclusive, so that a
 * whole region fits 16 bits. */
struct entry {
	uint16_t first, last;
	uint16_t where; /* spare, and WHERE_PENDING */
	uint16_t slot_high;
	uint32_t slot_low;
};

struct region {
	pthread_rwlock_t lock;
	struct entry *entries;
	uint32_t count, capacity, reserved;
};

struct map {
	sector_t sectors;
	size_t region_count;
	_Atomic(uint64_t) remapped, pending, extents, bytes;
	_Atomic(struct region *) regions[];
};

/* ---- packing --------------------------------------------------------------- */

static struct entry pack(const struct extent *e)
{
	uint16_t first = (uint16_t)(e->start & (REGION_SECTORS - 1));

	return (struct entry){
		.first = first,
		.last = (uint16_t)(first + e->count - 1),
		.where = (uint16_t)(e->spare | (e->state == SECTOR_PENDING ? WHERE_PENDING : 0)),
		.slot_high = (uint16_t)(e->slot >> 32),
		.slot_low = (uint32_t)e->slot,
	};
}

static struct extent unpack(sector_t base, struct entry n)
{
	return (struct extent){
		.start = base + n.first,
		.count = (uint64_t)n.last - n.first + 1,
		.state = n.where & WHERE_PENDING ? SECTOR_PENDING : SECTOR_REMAPPED,
		.spare = n.where & ~WHERE_PENDING,
		.slot = (slot_t)n.slot_high << 32 | n.slot_low,
	};
}

/* Whether b goes on where a ends, in sectors and in slots. */
static bool continues(const struct extent *a, const struct extent *b)
{
	return extent_end(a) == b->start && a->state == b->state && a->spare == b->spare &&
	       (a->spare == ON_MAIN || a->slot + a->count == b->slot);
}

/* ---- regions ---------------------------------------------------------------- */

static struct region *region_at(struct map *m, size_t index)
{
	return atomic_load_explicit(&m->regions[index], memory_order_acquire);
}

/* The region, made if it is missing; NULL: no memory. */
static struct region *region_make(struct map *m, size_t index)
{
	struct region *r = region_at(m, index), *expected = NULL;

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	pthread_rwlock_init(&r->lock, NULL);
	if (atomic_compare_exchange_strong(&m->regions[index], &expected, r)) {
		atomic_fetch_add(&m->bytes, sizeof(*r));
		return r;
	}
	pthread_rwlock_destroy(&r->lock);
	free(r);
	return expected;
}

static int region_grow(struct map *m, struct region *r, uint32_t more)
{
	uint32_t needed = r->count + r->reserved + more;
	uint32_t capacity = r->capacity + r->capacity / 4;
	struct entry *entries;

	if (needed <= r->capacity)
		return 0;
	if (capacity < needed)
		capacity = needed + 2;
	entries = realloc(r->entries, capacity * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	atomic_fetch_add(&m->bytes, (capacity - r->capacity) * sizeof(*entries));
	r->entries = entries;
	r->capacity = capacity;
	return 0;
}

/*
 * The first entry that ends at or after offset.
 *
 * Begins where it would be if entries were spread evenly, and goes from there
 * in growing steps: one or two cache lines where halving the whole array takes
 * ten, and never more than twice as many comparisons.
 */
static uint32_t find(const struct region *r, uint32_t offset)
{
	uint32_t low = 0, high = r->count, guess, step;

	guess = (uint32_t)((uint64_t)high * offset >> REGION_SHIFT);
	if (guess < high && r->entries[guess].last < offset) {
		low = guess + 1;
		for (step = 4; high - low > step; step *= 2) {
			if (r->entries[low + step - 1].last >= offset)
				high = low + step - 1;
			else
				low += step;
		}
	} else {
		high = guess;
		for (step = 4; high - low > step; step *= 2) {
			if (r->entries[high - step].last < offset)
				low = high - step + 1;
			else
				high -= step;
		}
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (r->entries[middle].last < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void count_sectors(struct map *m, const struct extent *e, int sign)
{
	_Atomic(uint64_t) *counter = e->state == SECTOR_PENDING ? &m->pending : &m->remapped;

	atomic_fetch_add(counter, sign > 0 ? e->count : -e->count);
}

/* Puts count new entries (at most 3) in place of those in [from, to). */
static void splice(struct map *m, struct region *r, uint32_t from, uint32_t to,
		   const struct entry *entries, uint32_t count)
{
	memmove(r->entries + from + count, r->entries + to,
		(r->count - to) * sizeof(*r->entries));
	if (count)
		memcpy(r->entries + from, entries, count * sizeof(*entries));
	r->count = r->count - (to - from) + count;
	atomic_fetch_add(&m->extents, (uint64_t)count - (to - from));
}

/* What a set of e leaves: the head of the first touched, e, the tail of the last. */
struct outcome {
	struct extent parts[3];
	uint32_t count;
};

static void outcome_add(struct outcome *o, struct extent e)
{
	struct extent *last = o->count ? &o->parts[o->count - 1] : NULL;

	if (last && continues(last, &e))
		last->count += e.count;
	else
		o->parts[o->count++] = e;
}

/* e lies within region r. Fails only for memory, and then changes nothing. */
static int region_set(struct map *m, struct region *r, const struct extent *e)
{
	sector_t base = e->start & ~(REGION_SECTORS - 1), end = extent_end(e);
	uint32_t from = find(r, (uint32_t)(e->start - base)), to = from;
	struct outcome o = {0};
	struct extent tail = {0};
	struct entry packed[3];

	/* What was reserved is there for whoever reserved it: see map.h. */
	if (r->capacity < r->count + 2 && region_grow(m, r, 2) < 0)
		return -ENOMEM;
	/* A neighbour that e continues is taken in, to become one with it. */
	if (from > 0) {
		struct extent before = unpack(base, r->entries[from - 1]);

		if (e->state != SECTOR_GOOD && continues(&before, e)) {
			from--;
			count_sectors(m, &before, -1);
			outcome_add(&o, before);
		}
	}
	for (; to < r->count; to++) {
		struct extent old = unpack(base, r->entries[to]);

		if (old.start > end || (old.start == end && !continues(e, &old)))
			break;
		count_sectors(m, &old, -1);
		if (old.start < e->start)
			outcome_add(&o, extent_part(old, old.start, e->start - old.start));
		if (extent_end(&old) > end)
			tail = old.start < end ? extent_part(old, end, extent_end(&old) - end)
					       : old;
	}
	if (e->state != SECTOR_GOOD)
		outcome_add(&o, *e);
	if (tail.count)
		outcome_add(&o, tail);
	for (uint32_t i = 0; i < o.count; i++) {
		packed[i] = pack(&o.parts[i]);
		count_sectors(m, &o.parts[i], +1);
	}
	splice(m, r, from, to, packed, o.count);
	return 0;
}

/* ---- the interface ------------------------------------------------------------ */

int map_new(sector_t sectors, struct map **ret)
{
	size_t regions = (size_t)((sectors + REGION_SECTORS - 1) >> REGION_SHIFT);
	struct map *m = calloc(1, sizeof(*m) + regions * sizeof(m->regions[0]));

	if (!m)
		return -ENOMEM;
	m->sectors = sectors;
	m->region_count = regions;
	*ret = m;
	return 0;
}

void map_free(struct map *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->region_count; i++) {
		struct region *r = region_at(m, i);

		if (!r)
			continue;
		pthread_rwlock_destroy(&r->lock);
		free(r->entries);
		free(r);
	}
	free(m);
}

static int reserve(struct map *m, size_t index)
{
	struct region *r = region_make(m, index);
	int rc;

	if (!r)
		return -ENOMEM;
	pthread_rwlock_wrlock(&r->lock);
	rc = region_grow(m, r, 2);
	if (rc == 0)
		r->reserved += 2;
	pthread_rwlock_unlock(&r->lock);
	return rc;
}

static void unreserve(struct map *m, size_t index)
{
	struct region *r = region_at(m, index);

	pthread_rwlock_wrlock(&r->lock);
	r->reserved -= 2;
	pthread_rwlock_unlock(&r->lock);
}

int map_reserve(struct map *m, sector_t start, uint64_t count)
{
	size_t first = start >> REGION_SHIFT, last = (start + count - 1) >> REGION_SHIFT;

	for (size_t i = first; i <= last; i++) {
		if (reserve(m, i) == 0)
			continue;
		while (i-- > first)
			unreserve(m, i);
		return -ENOMEM;
	}
	return 0;
}

void map_unreserve(struct map *m, sector_t start, uint64_t count)
{
	size_t last = (start + count - 1) >> REGION_SHIFT;

	for (size_t i = start >> REGION_SHIFT; i <= last; i++)
		unreserve(m, i);
}

int map_set(struct map *m, const struct extent *e)
{
	sector_t start = e->start, end = extent_end(e);

	while (start < end) {
		size_t index = start >> REGION_SHIFT;
		sector_t stop = ((sector_t)index + 1) << REGION_SHIFT;
		struct extent part = extent_part(*e, start, (stop < end ? stop : end) - start);
		struct region *r = region_at(m, index);
		int rc;

		start = extent_end(&part);
		if (!r && e->state == SECTOR_GOOD)
			continue;
		r = r ? r : region_make(m, index);
		if (!r)
			return -ENOMEM;
		pthread_rwlock_wrlock(&r->lock);
		rc = region_set(m, r, &part);
		pthread_rwlock_unlock(&r->lock);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static struct extent good(sector_t start, uint64_t count)
{
	return (struct extent){.start = start, .count = count, .state = SECTOR_GOOD};
}

/* As map_get, within region r. */
static struct extent region_get(struct region *r, sector_t start, uint64_t count)
{
	sector_t base = start & ~(REGION_SECTORS - 1), end = start + count;
	struct extent found;
	uint32_t i;

	pthread_rwlock_rdlock(&r->lock);
	i = find(r, (uint32_t)(start - base));
	found = i < r->count ? unpack(base, r->entries[i]) : good(end, 0);
	pthread_rwlock_unlock(&r->lock);

	if (found.start > start)
		return good(start, (found.start < end ? found.start : end) - start);
	if (extent_end(&found) < end)
		end = extent_end(&found);
	return extent_part(found, start, end - start);
}

struct extent map_get(struct map *m, sector_t start, uint64_t count)
{
	sector_t end = start + count, at = start;

	/* Regions without special sectors are passed over as one good extent. */
	while (at < end) {
		size_t index = at >> REGION_SHIFT;
		sector_t stop = ((sector_t)index + 1) << REGION_SHIFT;
		struct region *r = region_at(m, index);
		struct extent e;

		stop = stop < end ? stop : end;
		e = r ? region_get(r, at, stop - at) : good(at, stop - at);
		if (e.state != SECTOR_GOOD)
			return at == start ? e : good(start, at - start);
		at = extent_end(&e);
		if (at < stop)
			break;
	}
	return good(start, at - start);
}

sector_t map_next_special(struct map *m, sector_t start)
{
	while (start < m->sectors) {
		size_t index = start >> REGION_SHIFT;
		sector_t stop = ((sector_t)index + 1) << REGION_SHIFT;
		struct region *r = region_at(m, index);

		if (r) {
			struct extent e = region_get(r, start, stop - start);

			if (e.state != SECTOR_GOOD)
				return start;
			if (extent_end(&e) < stop)
				return extent_end(&e);
		}
		start = stop;
	}
	return m->sectors;
}

struct map_counts map_counts(struct map *m)
{
	return (struct map_counts){
		.remapped = atomic_load(&m->remapped),
		.pending = atomic_load(&m->pending),
		.extents = atomic_load(&m->extents),
		.bytes = atomic_load(&m->bytes) +
			 sizeof(*m) + m->region_count * sizeof(m->regions[0]),
	};
}
