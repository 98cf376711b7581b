/*
 * The record of what was asked and acknowledged, and what every sector may hold
 * because of it, now or after a cut at some point of the journal.
 *
 * What is asked of a sector after a cut:
 *
 *   - what a flush, acknowledged before the cut, found acknowledged; and every
 *     later write may have replaced it, sector unit by unit, as in the cache of
 *     a disk (contracts 5 and 6)
 *   - but a write that moved or cured the sector was durable when it was
 *     acknowledged: nothing older comes back (contracts 1 and 3)
 *   - a sector whose loss was told (a read failed) has no content until it is
 *     written; it never shows an older one (contract 2)
 *
 * After a kill, and without any cut, only the last acknowledged content will do,
 * or that of the write which was under way.
 */
#ifndef CRASH_RECORD_H
#define CRASH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum request_kind {
	REQUEST_WRITE,
	REQUEST_READ,
	REQUEST_FLUSH,
	REQUEST_LOSS,
	REQUEST_MOVE, /* another place took what was there, durably */
};

#define VALUE_INITIAL 0u /* what the sector held when the session began */
#define VALUE_ZEROS 1u
#define VALUE_FIRST 2u
#define VALUES_MAX 64u
#define ANYTHING UINT64_MAX /* as a set of values: the content is not known */

struct asked {
	enum request_kind kind;
	uint64_t start, count;
	unsigned value; /* REQUEST_LOSS: 1 when a write does not heal it */
	size_t begin, end; /* points of the journal; end SIZE_MAX: not yet */
	int rc;
	uint64_t settled;  /* a bit for each of its sectors: moved or cured */
	uint64_t events;   /* rows of the history that were committed at its end */
};

struct record {
	uint64_t sectors;
	uint32_t sector_size;
	uint8_t *initial;  /* what every sector held */
	bool *lost;        /* … or that it was lost */
	struct asked *requests;
	size_t count, room;
	unsigned values;   /* given out so far */
	bool given_up;     /* a spare was, with what is on it */
	bool forgiving;    /* calls were made to fail: a request that failed may have lost its sectors */
};

/* What a sector may be, as a bit for each value. */
struct possible {
	uint64_t live, cut;
	bool lost, lost_cut; /* EIO is allowed */
	bool broken; /* writing it where it is does not make it readable */
};

void record_start(struct record *, uint64_t sectors, uint32_t sector_size);
void record_end(struct record *);
void record_fill(const struct record *, void *to, uint64_t start, uint64_t count, unsigned value);

struct asked *record_begin(struct record *, enum request_kind, uint64_t start, uint64_t count,
			     unsigned value, size_t point);

/* What each of the sectors may be at that point; returns the rows of history that must be there. */
uint64_t record_possible(const struct record *, size_t point, struct possible *ret);

/* Ends the program when the content is not among those of the set. */
void record_check(const struct record *, uint64_t sector, const struct possible *, bool live,
		  int rc, const void *data);

#endif
