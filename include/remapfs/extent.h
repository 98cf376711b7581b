/*
 * The vocabulary of the map: sectors of main, slots of a spare, and the
 * extents that tie one to the other.
 *
 * Units. A sector_t counts volume sectors (512 or 4096 bytes, fixed when the
 * volume is created); a slot_t counts sector-sized slots of one spare. Byte
 * offsets are plain uint64_t and are always named offset, length or bytes.
 */
#ifndef REMAPFS_EXTENT_H
#define REMAPFS_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t sector_t;
typedef uint64_t slot_t;

/* Spares are numbered from 1 in the order they were added; 0 is main. */
typedef uint32_t spare_id_t;
#define ON_MAIN ((spare_id_t)0)

/* Main has at most 2^43 sectors (4 PiB at 512 bytes), a spare 2^47 slots. */
#define SECTOR_MAX ((sector_t)1 << 43)
#define SLOT_MAX ((slot_t)1 << 47)
#define SPARE_ID_MAX ((spare_id_t)32767)

enum spare_state {
	SPARE_ACTIVE,   /* lends its free slots */
	SPARE_RETIRING, /* lends none any more, and is being emptied */
	SPARE_RETIRED,  /* holds nothing, and is not opened any more */
	SPARE_LOST,     /* will never be seen again; what it held is pending */
};

enum sector_state {
	SECTOR_GOOD,     /* served from main; no row anywhere */
	SECTOR_REMAPPED, /* served from slot of spare */
	SECTOR_PENDING,  /* unreadable and without a copy: reads fail until written */
};

/*
 * count sectors from start that share one state. Sector start + i lives in
 * slot + i. For SECTOR_PENDING, spare and slot name the place that could not
 * be read: ON_MAIN (slot is then 0), or the slot that held the lost sectors.
 * For SECTOR_GOOD they are ON_MAIN and 0.
 */
struct extent {
	sector_t start;
	uint64_t count;
	enum sector_state state;
	spare_id_t spare;
	slot_t slot;
};

/* The part of e that lies in [start, start + count), which must lie within e. */
static inline struct extent extent_part(struct extent e, sector_t start, uint64_t count)
{
	if (e.spare != ON_MAIN)
		e.slot += start - e.start;
	e.start = start;
	e.count = count;
	return e;
}

static inline sector_t extent_end(const struct extent *e)
{
	return e->start + e->count;
}

#endif
