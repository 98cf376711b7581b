/*
 * A small volume whose disks are in memory: 256 sectors of main, two spares of
 * 64 slots. It has been used: sectors are remapped, pending and simulated as bad,
 * and there is a history. Every input begins with the same one.
 */
#ifndef FUZZ_BOX_H
#define FUZZ_BOX_H

#include "disk.h"
#include "remapfs/volume.h"

#define BOX_SECTORS 256
#define BOX_SPARES 2

struct box {
	struct disk disks[1 + BOX_SPARES]; /* main first */
	struct volume_parts parts;
};

/* The database's path: the same for all. */
const char *box_path(void);

/* Makes what every input begins with. Once. */
void box_prepare(void);
/* The bytes of the database and of the log beside it. */
const uint8_t *box_database(size_t *ret_size);

/* Disks and database as they were prepared. */
void box_reset(struct box *);
void box_free(struct box *);

/* volume_open. */
int box_open(struct box *, struct volume **ret);
/* Whatever it holds: uses all of it, and closes it. */
void box_use(struct volume *);

#endif
