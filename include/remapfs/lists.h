/*
 * Lists of bad sectors as other programs write and read them.
 *
 *   badblocks   a number of a block a line, in any order. It does not say of
 *               how many bytes its blocks are, nor which disk it is about.
 *   ddrescue    a mapfile of GNU ddrescue: bytes, and all of the disk in order.
 *   json        {"sector_size": 512, "main_sectors": 204800, "bad_sectors":
 *               [{"sector": 100, "sectors": 2, "state": "pending"}, …]}
 *   csv         sector,sectors,state,sector_size
 *
 * json and csv are this project's own. They are in sectors of sector_size bytes,
 * or of the volume where they do not say.
 */
#ifndef REMAPFS_LISTS_H
#define REMAPFS_LISTS_H

#include "remapfs/error.h"
#include "remapfs/extent.h"
#include "remapfs/parse.h"

#include <stddef.h>
#include <stdio.h>

enum list_format { LIST_BADBLOCKS, LIST_DDRESCUE, LIST_JSON, LIST_CSV };

/* -EINVAL: there is none of that name; err has those that there are. */
int list_format_of(const char *name, enum list_format *ret, struct error *err);

#define LIST_BLOCK_SIZE 1024u /* of badblocks without -b */
/* Of a list, after neighbours were joined: 256 MiB of memory. */
#define LIST_RANGES_MAX (1u << 24)

/* The disk that the list is about, and what the list does not say. */
struct list_disk {
	uint32_t sector_size; /* of the volume */
	sector_t sectors;     /* of main */
	uint32_t block_size;  /* LIST_BADBLOCKS: bytes, a multiple or a part of a sector */
	uint64_t offset;      /* bytes: where on main what the list counts from begins */
	bool part;            /* LIST_DDRESCUE: it may be about less than all of main */
	const char *types;    /* LIST_DDRESCUE: which blocks are bad: some of "?*"  "/-" */
	bool round; /* a bad range that ends inside a sector takes the whole sector */
};

/*
 * Reads all of it: sorted, overlaps and neighbours merged. Only then are bytes
 * turned into sectors. The caller frees *ret_ranges. An empty list of badblocks
 * has no bad sectors: *ret_count is 0.
 * warning gets a line, or "". -EINVAL: err names the file, the line, the cause
 * and the remedy; also of a file that cannot be read. -ENOMEM.
 */
int list_read(enum list_format, FILE *, const char *name, const struct list_disk *,
	      struct sector_range **ret_ranges, size_t *ret_count, struct error *warning,
	      struct error *err);

/*
 * Writes a list: begin, then extents in order that are not SECTOR_GOOD, end.
 * Whether it was written shows when the file is closed. A mapfile has '-' for
 * what was added and '+' for the rest. LIST_BADBLOCKS: every block that one of
 * the sectors is in; offset, part and types are not used.
 */
struct list_writer {
	FILE *to;
	enum list_format format;
	struct list_disk disk;
	sector_t start; /* neighbours that were added and not written yet */
	uint64_t count;
	uint64_t next_block; /* not written yet */
	uint64_t entries;
};
void list_begin(struct list_writer *, FILE *to, enum list_format, const struct list_disk *);
void list_add(struct list_writer *, const struct extent *);
void list_end(struct list_writer *);

#endif
