/*
 * The shared commit: changes that come at the same time are made durable
 * together, with one flush of each spare and one transaction.
 *
 * Whoever comes while nobody commits does it for all that are waiting; those
 * who come meanwhile wait for the next round. The committing thread is also
 * the only one that writes slot descriptors and uses the store.
 */
#ifndef VOLUME_COMMIT_H
#define VOLUME_COMMIT_H

#include <pthread.h>
#include <stdatomic.h>

#include "remapfs/spare.h"
#include "volume/change.h"
#include "volume/spare_set.h"

/* Described, not recorded: cleared, but not known to be so durably. */
struct stale {
	struct extent extent;
	uint64_t sequence;
	bool cleared;
};

struct committer {
	struct store *store;
	const struct spare_set *spares;
	uint64_t sequence; /* of the last change; this and what follows: the committing thread's */
	/* Up to here all descriptors are of committed changes, or in stale. */
	uint64_t settled;
	struct stale *stale;
	size_t stale_count, stale_room;
	uint64_t cap; /* there was no memory for a stale one: never confirmed from here on */
	int64_t failed_since;  /* in now_ms(); see watch.c */
	int64_t watch_at;      /* in now_ms(): when to look after the database again */
	unsigned log_refusals; /* how often in a row the log could not be cut */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t turn[2]; /* for the changes of rounds with even, and with odd numbers */
	pthread_cond_t idle;  /* for others: somebody stopped committing */
	pthread_cond_t work;  /* for the thread that writes what was kept */
	struct change *waiting, **waiting_end;
	struct change *kept, **kept_end; /* could not be recorded yet */
	size_t kept_count;
	uint64_t rounds; /* that have begun */
	bool busy, stopping;
	pthread_t scribe;

	atomic_int error; /* positive errno: the last transaction was not committed */
	atomic_bool log_stuck;           /* the database's log is long and cannot be cut */
	_Atomic(uint64_t) log_bytes;
	_Atomic(uint64_t) commits;
};

/*
 * store and spares stay the caller's and must outlive the committer. Sequence
 * numbers begin above first_sequence, which all spares have confirmed.
 * -ENOMEM, -EAGAIN: no thread.
 */
int committer_start(struct committer *, struct store *, const struct spare_set *,
		    uint64_t first_sequence);
/* Writes what was kept, if that can be done; the result is that of the last try. */
int committer_stop(struct committer *);

/*
 * Makes the change durable, in the order of contract 1: descriptors, one flush
 * of each spare that holds its data, one transaction. The data itself must be
 * on the spare. Waits. The caller owns the sectors and publishes afterwards.
 * Descriptors that it takes out are gone durably before the row is, and put back
 * when that certainly stays (otherwise change->not_put_back).
 *
 *   0          durable
 *   -EBADSLT   a spare did not take it: see refused_by; nothing was recorded
 *   otherwise  as store.h: nothing was recorded, unless change->uncertain:
 *              the transaction may or may not be durable, after several tries
 *
 * After an error with change->uncertain the next opening may find its rows, and
 * with change->left a rebuild its descriptors: nothing may be acknowledged that
 * these would contradict before something newer of the sectors is committed.
 */
int commit_change(struct committer *, struct change *);

/*
 * Slots of the spare that were committed are to be overwritten: sees to it that
 * a rebuild believes their descriptors all the same. Costs one flush of the
 * spare, the first time, unless a later round saw to it already. An error: it
 * cannot be had, the slots must not be overwritten.
 */
int commit_confirm(struct committer *, struct spare *, slot_t first, uint64_t count);
/* The same for all slots of all spares, as far as it can be had. */
void commit_confirm_all(struct committer *);

/*
 * At an orderly end: a sequence above all that there were, which may be confirmed on
 * every spare. 0: there is a spare that cannot confirm all of its descriptors.
 */
uint64_t commit_last_sequence(struct committer *);

/*
 * Records what has happened and cannot be undone (pending sectors, events).
 * commit_record waits for the first try, which is shared as any commit is;
 * commit_later does not wait. Both take the content of the change, and what
 * cannot be written now is kept, in order, ahead of everything that is
 * committed after it.
 */
void commit_record(struct committer *, struct change *);
void commit_later(struct committer *, struct change *);

/*
 * ---- describe.c: for the committing thread ----
 *
 * describe_all: the descriptors of all of the list, not durable yet. Those that a
 * spare refuses: see change_refuse.
 * undescribe: what was described but not recorded must not be found by a rebuild.
 */
void describe_all(struct committer *, struct change *list);
void undescribe(struct committer *, struct change *);

/*
 * ---- transact.c: for the committing thread ----
 *
 * Applies both lists, kept first, in one transaction where that can be, and sets
 * result and uncertain of all that have no result yet. What is in doubt is tried
 * again as it is: nothing may be confirmed or described meanwhile. 0, or the error
 * of the last transaction.
 */
int transact(struct committer *, struct change *kept, struct change *list);

/*
 * One transaction of its own: fn(context) changes rows that are not the map's. It
 * is called again where the commit is in doubt. -EINVAL …: what fn returned; otherwise as commit_change.
 */
int commit_rows(struct committer *, int (*fn)(void *context, struct store *), void *context,
		bool *ret_uncertain);

/*
 * ---- watch.c: what the committing thread finds out of the database ----
 *
 * commit_outcome: how its last transaction ended; a change of that is told.
 * commit_watch: looks after the database if it is time to. Called before each round,
 * and also while nothing is committed.
 */
#define WATCH_MS 500
void commit_outcome(struct committer *, int rc);
void commit_watch(struct committer *);
/* Why it does not commit, and the remedy. */
const char *commit_reason(int error, enum store_place);

/* The store, for a reader's use by this thread alone until committer_leave. */
struct store *committer_enter(struct committer *);
void committer_leave(struct committer *);

#endif
