/*
 * What one request asks to be recorded, in one piece: sectors that take a new
 * state, slots that went bad, simulated faults that ended, and what to write
 * into the history. Built by the thread that needs it; see commit.h.
 */
#ifndef VOLUME_CHANGE_H
#define VOLUME_CHANGE_H

#include <stddef.h>

#include "remapfs/store.h"

struct change_extent {
	struct extent extent;
	int error;      /* positive errno: why */
	uint32_t *sums; /* SECTOR_REMAPPED: of the data of each sector */
};

struct change_bad {
	spare_id_t spare;
	slot_t first;
	uint64_t count;
	int error;
};

/* Slots whose descriptors have to be gone before the change is recorded. */
struct change_emptied {
	spare_id_t spare;
	slot_t first;
	uint64_t count;
	bool ahead;  /* an older place of the sectors: to be gone before the newest is */
	void *taken; /* the committer's: what they said; NULL: not taken out */
};

/* What the superblocks of a spare carry: see store_set_stamp. */
struct change_stamp {
	spare_id_t spare;
	uint64_t stamp, next_stamp;
	unsigned stamped;
};

struct change {
	struct change_extent *extents;
	struct change_bad *bad;
	struct change_emptied *emptied;
	struct event *events;
	int64_t *spent;
	struct change_stamp *stamps;
	struct store_identity *main; /* NULL: stays as it is */
	size_t extent_count, bad_count, emptied_count, event_count, spent_count, stamp_count;

	spare_id_t confirm; /* asks for nothing but commit_confirm: see commit.c */

	/* The committer's. */
	struct change *next;
	uint64_t sequence;
	int result;
	bool done, described, uncertain;
	bool not_put_back; /* descriptors were taken out for nothing, and are missing */
	bool left; /* descriptors were written for nothing, and may still be there */
	/* With -EBADSLT: what a spare answered to a descriptor, or to the flush. */
	spare_id_t refused_by;
	slot_t refused_slot;
	int refused_error;
	bool refused_flush, refused_stale; /* the latter: of a sector that main was to hold again */
};

/* All return 0 or -ENOMEM, which leaves the change as it was. */
int change_extent(struct change *, const struct extent *, int error);
int change_remap(struct change *, const struct extent *, int error, const void *data,
		 uint32_t sector_size);
int change_bad(struct change *, spare_id_t, slot_t first, uint64_t count, int error);
int change_emptied(struct change *, spare_id_t, slot_t first, uint64_t count, bool ahead);
int change_event(struct change *, const struct event *);
int change_spent(struct change *, int64_t fault_id);
int change_stamp(struct change *, spare_id_t, uint64_t stamp, uint64_t next_stamp,
		 unsigned stamped);
/* What is kept of main; takes over its places. */
int change_identity(struct change *, const struct store_identity *);

/* The committer: the spare answered error (positive) to a descriptor, or to a flush. */
void change_refuse(struct change *, spare_id_t, slot_t, int error, bool flush);

/* Frees what it holds, not the change itself, which is empty afterwards. */
void change_clear(struct change *);

#endif
