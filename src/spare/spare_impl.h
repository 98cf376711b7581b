/* What slots.c and table.c share. Internal to spare/. */
#ifndef SPARE_IMPL_H
#define SPARE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "spare/format.h"

#define NO_TABLE UINT64_MAX
#define NO_SLOT_KNOWN UINT64_MAX

/* Slots that were described and are not confirmed yet. */
struct run {
	slot_t first;
	uint64_t count;
	uint64_t sequence;
};

struct spare {
	struct device *device;
	struct spare_identity identity;
	struct spare_found found;
	struct spare_layout layout;
	char *path; /* for messages; NULL: not told */
	_Atomic(enum spare_health) health;
	_Atomic(enum spare_health) least; /* what it does not get better than */
	_Atomic(int) error;               /* positive errno: why */
	uint64_t failures;                /* how often that was told; under lock */
	_Atomic(slot_t) no_room_at;       /* where a write found none; NO_SLOT_KNOWN */
	_Atomic(uint64_t) no_room_count;  /* for so many slots */
	atomic_bool held; /* nothing is confirmed any more */
	_Atomic(enum spare_state) state;
	atomic_uchar *unflushed;  /* enum unflushed, of the caller's memory or the next */
	atomic_uchar own_unflushed;
	atomic_bool flush_failed; /* sticky: what was lost cannot be told */
	spare_flush_fn did_not_flush; /* NULL, or called when that comes to be so */
	void *did_not_flush_context;
	pthread_mutex_t flushing; /* a second flush waits for the first */

	pthread_mutex_t lock; /* guards what is below, up to the table */
	uint64_t *taken;      /* a bit for each slot that is used or bad */
	uint64_t *bad;        /* a bit for each slot that is bad */
	slot_t used_count, bad_count;
	slot_t next; /* where the search for free slots goes on */
	struct run *runs;
	size_t run_room;
	_Atomic(size_t) run_count; /* changes under the lock only */

	pthread_mutex_t superblocks;     /* one at a time reads and rewrites them */
	bool wiped;                      /* they are not written any more */
	bool left;                       /* see spare_leave; under flushing, too */
	struct spare_stamp stamp;        /* of every superblock that is written */
	uint64_t given;                  /* the stamp that is durably there */
	unsigned stamped;                /* … in so many superblocks, for certain */
	unsigned older;                  /* the copy to be written next: 0 or 1 */
	_Atomic(uint64_t) written;       /* confirmed, but maybe not durably so */
	_Atomic(uint64_t) confirmed;     /* durably */
	uint64_t recorded;               /* of this; the committing thread's */

	/* The table sector last touched, so that neighbours cost no read. */
	void *table;
	uint64_t table_at; /* bytes; NO_TABLE: none */
	bool unsaved;      /* it has descriptors that the device has not */
};

/* Of what was written. A process that dies in a flush leaves FLUSHING. */
enum unflushed { FLUSHED, UNFLUSHED, FLUSHING };

static inline void note_unflushed(struct spare *s)
{
	atomic_store(s->unflushed, UNFLUSHED);
}

/* The place of one of the two superblocks. */
uint64_t copy_offset(const struct spare *, unsigned copy);

/* ---- confirm.c: internal ------------------------------------------------------ */

/* -ENOMEM. Before descriptors of that sequence are written. */
int note_described(struct spare *, slot_t first, uint64_t count, uint64_t sequence);
/* A flush that began after `written` was `sequence` is over. */
void note_flushed(struct spare *, uint64_t sequence);

#endif
