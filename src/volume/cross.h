/*
 * A slot table against the rows of the database. Used when a volume is opened
 * after an end without warning, and by check.
 */
#ifndef VOLUME_CROSS_H
#define VOLUME_CROSS_H

#include "remapfs/check.h"
#include "remapfs/map.h"
#include "remapfs/spare.h"
#include "remapfs/store.h"
#include "volume/accord.h"

/* Slots that the database may have lost with its log: see cross.c. */
struct unrecorded {
	struct unrecorded_slot {
		spare_id_t spare;
		slot_t slot;
		sector_t sector;
		uint64_t sequence;
	} *all;
	size_t count;
};

struct cross {
	struct store *store;
	struct map *map; /* of all rows */
	struct spare *spare; /* its bad slots are marked */
	uint64_t confirmed;  /* what it had confirmed when it was found */
	uint64_t vouched;    /* that and less it had for certain: see struct spare_found */
	bool log_lost; /* the database has not all that was committed, maybe */
	struct unrecorded *unrecorded; /* such are added; NULL: they are only found */
	bool repair;
	void (*found)(void *context, const struct finding *); /* may be NULL */
	void *context;

	/* Counted, in findings as they are reported. */
	uint64_t contradictions, older, repairable, repaired, left; /* older ones are both */

	/* Internal. */
	struct accord accord;
	bool seek;         /* row is of another part of the table */
	struct placed row; /* the one that the scan has come to; count 0: none is left */
	struct finding run; /* neighbours of one kind are one finding; count 0: none */
	void *sector;
};

/*
 * Reads the whole table, and the rows one by one where the two do not agree in
 * sum. With repair, writes it as the rows have it; the caller
 * has made sure that nothing contradicts, and flushes. 0, -ENOMEM, or an error
 * of store or spare.
 */
int cross_check(struct cross *);

#define SEQUENCE_EPOCH 40 /* the bits below count the changes of one life */
/* So many lives have sequence numbers that SQLite holds: one a minute for 15 years. */
#define SEQUENCE_LIVES ((uint64_t)1 << 23)

#endif
