/*
 * A volume from the inside, and what its parts do for each other. Every file
 * here keeps one part of the contract; docs/states.md tells which.
 *
 * Locks, in the order in which they may be taken:
 *   range lock (locks)  -> marking -> those inside map, spare, committer
 * Nothing waits for a range lock while it holds another lock or another range.
 */
#ifndef VOLUME_IMPL_H
#define VOLUME_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uuid/uuid.h>

#include "remapfs/map.h"
#include "remapfs/spare.h"
#include "remapfs/volume.h"
#include "volume/commit.h"
#include "volume/range_lock.h"

#define ZEROS_BYTES (1u << 20)
#define EVIDENCE 8

/*
 * What main did lately, by eighths of it: a place of each that was read, and
 * one that was written. UINT64_MAX: none. See health.c.
 */
struct health {
	_Atomic(sector_t) read[EVIDENCE], written[EVIDENCE];
	atomic_bool failed;
};

struct volume {
	struct volume_options options;
	int lock_fd; /* on the database file: contract 8 */
	char uuid[37];
	uint32_t sector_size;
	sector_t sectors;

	struct device *main;
	struct spare **spares;
	size_t spare_count;
	struct map *map;
	struct store *store;
	struct committer committer;
	struct range_locks locks;
	pthread_mutex_t marking; /* of sectors as pending: see pending.c */
	struct health health;
	void *zeros; /* ZEROS_BYTES of them, aligned */

	atomic_bool flush_failed;
	atomic_bool spares_full; /* told once, until there is room again */
	_Atomic(uint64_t) faults;
	_Atomic(uint64_t) reads, writes, errors;
	_Atomic(int64_t) last_complaint; /* monotonic seconds */
};

static inline uint64_t bytes_of(const struct volume *v, uint64_t sectors)
{
	return sectors * v->sector_size;
}

struct spare *volume_spare(struct volume *, spare_id_t);

/* Milliseconds of a clock that only goes forward. */
int64_t now_ms(void);

/* The time, in now_ms(), after which a request stops isolating. */
int64_t isolation_deadline(const struct volume *);

/* ---- read.c, write.c: whole sectors, aligned buffers; the caller holds the range --- */

/* Shared or owned. 0, -EIO or an errno of the device. */
int read_sectors(struct volume *, void *buf, sector_t start, uint64_t count);
/* Owned. */
int write_sectors(struct volume *, const void *buf, sector_t start, uint64_t count);
int write_zeros(struct volume *, sector_t start, uint64_t count);

/* ---- isolation: which sectors of a range fail -------------------------------------- */

struct isolation {
	int64_t deadline;
	/* Does I/O on part of the range again. */
	int (*again)(struct isolation *, sector_t start, uint64_t count);
	/* A sector that fails; more than one when the deadline has passed. */
	int (*bad)(struct isolation *, sector_t start, uint64_t count, int error);
};

/*
 * The range failed with a media error: finds by halving which sectors do, and
 * stops with what `bad` returned when that is not 0, or with an error of
 * `again` that is not of the media. Halves are cut at multiples of their size,
 * so that a physical sector is not split before it stands alone.
 */
int isolate(struct isolation *, sector_t start, uint64_t count, int error);

/* ---- relocate.c --------------------------------------------------------------------- */

/* Sectors that have to live elsewhere from now on. */
struct move {
	struct extent from; /* what they are now */
	const void *data;   /* what they shall hold */
	int error;          /* positive errno: why */
};

/* What a write has to settle before it can be acknowledged. */
struct settlement {
	struct move *moves;
	size_t move_count;
	struct extent *cured; /* pending sectors that main holds again */
	size_t cured_count;
};

/* 0 or -ENOMEM. */
int settlement_move(struct settlement *, struct extent from, const void *data, int error);
int settlement_cured(struct settlement *, struct extent);
void settlement_clear(struct settlement *);

/*
 * Moves, records, publishes: contract 1, in its order. The caller owns the
 * sectors. 0, or -EIO with nothing changed (contract 4).
 */
int settle(struct volume *, const struct settlement *);

/* ---- flush.c ---------------------------------------------------------------------------- */

/* Main alone. -EIO: it did not flush, and no fsync succeeds from now on. */
int flush_main(struct volume *);

/* ---- pending.c ------------------------------------------------------------------------ */

/*
 * The moves of lost name sectors that could not be read (without data): they
 * are pending from now on, and so recorded, all at once. Contract 3. The range
 * is shared or owned.
 */
void mark_pending(struct volume *, const struct settlement *lost);

/* ---- health.c ---------------------------------------------------------------------------- */

void note_read(struct volume *, sector_t);
void note_written(struct volume *, sector_t);
/*
 * Main answered error (positive) for [start, start + count), which the caller
 * holds. Whether that speaks of these sectors (0) or of main as a whole (the
 * error to return, and it is recorded). Contract 7.
 */
int judge_read_error(struct volume *, int error, sector_t start, uint64_t count);
int judge_write_error(struct volume *, int error, sector_t start, uint64_t count);

/*
 * A spare as a whole does not do what is asked: no slot of it is given out any
 * more, and it is recorded, once.
 */
void spare_gone(struct volume *, struct spare *, int error);

/* Records that a request was answered with an error; at most once a second. */
void complain(struct volume *, enum event_kind, sector_t start, uint64_t count, int error,
	      const char *detail);

/* Records an event of the volume or of a spare. Waits for the first try. */
void tell(struct volume *, enum event_kind, spare_id_t, int error, const char *detail);

/* ---- faults.c ----------------------------------------------------------------------------- */

/* Wraps a device so that simulated faults act on it; closes it on failure. */
int wrap_faults(struct volume *, struct device *inner, struct device **ret);

#endif
