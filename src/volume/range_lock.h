/*
 * Locks on ranges of sectors, so that each request takes effect at one instant.
 *
 * Readers of a range share it; everything that changes sectors owns its range,
 * in-place writes included: then overlapping writes have an order, and a write
 * that meets a failing sector already owns what it must relocate.
 *
 * Tickets are served in the order of arrival: a ticket waits for every earlier
 * one that it conflicts with, granted or not, so that nobody starves. Who waits
 * holds no other range (a second one is only tried for), and no range is held
 * for longer than its I/O takes, so there is no deadlock. Thread-safe; the ticket lives with
 * the caller until unlocked, which another thread may do.
 */
#ifndef VOLUME_RANGE_LOCK_H
#define VOLUME_RANGE_LOCK_H

#include <pthread.h>

#include "remapfs/extent.h"

struct range_ticket {
	sector_t start, end; /* [start, end) */
	bool exclusive, granted;
	pthread_cond_t wake;
	struct range_ticket *previous, *next; /* by arrival */
};

struct range_locks {
	pthread_mutex_t lock;
	struct range_ticket *first, *last;
};

void range_locks_init(struct range_locks *);
void range_locks_destroy(struct range_locks *);

/* Waits until [start, start + count) is shared or owned. */
void range_share(struct range_locks *, struct range_ticket *, sector_t start, uint64_t count);
void range_own(struct range_locks *, struct range_ticket *, sector_t start, uint64_t count);

/* Shares the range if that needs no waiting. */
bool range_try_share(struct range_locks *, struct range_ticket *, sector_t start, uint64_t count);

/*
 * Owns the range if that needs no waiting. The range may lie in that of `mine`,
 * a ticket that the caller holds; NULL: none.
 */
bool range_try_own(struct range_locks *, struct range_ticket *, sector_t start, uint64_t count,
		   const struct range_ticket *mine);

/* Whether anybody has a range, or waits for one. */
bool range_any(struct range_locks *);

void range_unlock(struct range_locks *, struct range_ticket *);

#endif
