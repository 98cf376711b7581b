/*
 * What a scrub does with a piece of the volume: reads it, looks closer where
 * that fails or takes long, and does what is to be done.
 */
#ifndef VOLUME_EXAMINE_H
#define VOLUME_EXAMINE_H

#include "remapfs/store.h"

/* What is read at once, bytes. */
#define EXAMINE_BYTES (256u << 10)

struct volume;
struct examiner;

/* NULL: no memory. For one thread. */
struct examiner *examiner_new(struct volume *);
void examiner_free(struct examiner *);

/*
 * At most EXAMINE_BYTES of sectors. -EINTR: the scrub's thread is to stop. -EIO:
 * main or a spare is gone, and *ret_why says so; nothing became pending for that.
 * With both, *ret_found is what was found so far, and is not found again.
 */
int examine(struct examiner *, sector_t start, uint64_t count, struct scrub_counts *ret_found,
	    const char **ret_why);

/* Of the calling thread: it reads only when nobody else does. */
void be_idle(bool idle);

#endif
