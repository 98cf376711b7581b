/* Which sectors a simulated fault is on: named, from a file, or drawn. */
#ifndef REMAPFS_CTL_CHOOSE_H
#define REMAPFS_CTL_CHOOSE_H

#include "remapfs/parse.h"

/*
 * The most rows that one command adds: they are one transaction, and a daemon
 * waits at most STORE_BUSY_MS for it to end.
 */
#define CHOICE_ROWS_MAX 500000u

/* Exactly one of list, file, random and percent is set. */
struct choice {
	const char *list;
	const char *file;
	uint64_t random; /* how many sectors */
	double percent;  /* of all sectors; at least one is drawn */
	uint64_t seed;   /* the same seed draws the same sectors */
};

/*
 * Sorted ranges of sectors below limit, which the caller frees. -EINVAL,
 * -ERANGE or -ENOMEM, with the line in err.
 */
int choose_sectors(const struct choice *, sector_t limit, struct sector_range **ret,
		   size_t *ret_count, struct error *err);

uint64_t count_sectors(const struct sector_range *ranges, size_t count);

#endif
