/*
 * The map in memory: which sectors of main do not live on main.
 *
 * Good sectors cost nothing. The common question, "is anything in this range
 * special?", is answered for a region without special sectors by one atomic
 * load; otherwise under a lock of that region (2^16 sectors) alone.
 *
 * The caller must own a range (see volume/range_lock.h) while it changes it
 * and at least share it while it acts on an answer about it. Beyond that all
 * functions are thread-safe. No function fails but for memory, and map_set not
 * even then where map_reserve went before it: a remap that is committed must
 * not fail to be published.
 */
#ifndef REMAPFS_MAP_H
#define REMAPFS_MAP_H

#include "remapfs/extent.h"

struct map;

/* A map of `sectors` sectors (1 to SECTOR_MAX), all good. -ENOMEM. */
int map_new(sector_t sectors, struct map **ret);
void map_free(struct map *);

/*
 * Holds memory so that one map_set within [start, start + count) cannot fail,
 * until map_unreserve of the same range. -ENOMEM: nothing is held. While
 * anyone holds memory, whoever sets must hold some too.
 */
int map_reserve(struct map *, sector_t start, uint64_t count);
void map_unreserve(struct map *, sector_t start, uint64_t count);

/*
 * Makes the sectors of e what e says, whatever they were; neighbours that
 * continue each other become one extent. SECTOR_GOOD forgets them. e must lie
 * inside the map. -ENOMEM (never after map_reserve) may have changed some of
 * the regions that e touches.
 */
int map_set(struct map *, const struct extent *e);

/*
 * The longest extent of one state that begins at start and ends at or before
 * start + count (count > 0). A region boundary may split what is one extent.
 */
struct extent map_get(struct map *, sector_t start, uint64_t count);

/* The first sector at or after start that is not good, or the map's size. */
sector_t map_next_special(struct map *, sector_t start);

struct map_counts {
	uint64_t remapped; /* sectors */
	uint64_t pending;  /* sectors */
	uint64_t extents;  /* in memory */
	uint64_t bytes;    /* of memory held by the map */
};
struct map_counts map_counts(struct map *);

#endif
