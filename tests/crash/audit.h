/* What must be true of map, database and spares, besides the contents. */
#ifndef CRASH_AUDIT_H
#define CRASH_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"
#include "remapfs/volume.h"

/*
 * The rows agree with the map, no slot is there twice, free slots are counted
 * right, every row has its descriptor, and the history has no gap and at least
 * `events` rows. live: while calls fail, memory may know more sectors as pending
 * and more slots as taken than the database. Ends the program otherwise.
 */
void audit(struct volume *, const struct disk *, uint64_t events, bool live);

/* SQLite's own check of the whole file. */
void audit_integrity(struct volume *);

/* Rows of the history. */
uint64_t audit_events(struct volume *);

#endif
