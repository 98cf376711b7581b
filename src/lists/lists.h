/* What the formats share. Internal to lists/. */
#ifndef LISTS_H
#define LISTS_H

#include "remapfs/lists.h"

/* The longest line that is no mistake. */
#define LIST_LINE 4096

/* A list that is being read. */
struct reader {
	FILE *file;
	const char *name; /* for messages */
	const struct list_disk *disk;
	size_t line; /* from 1 */
	char text[LIST_LINE];
	struct sector_range *ranges; /* in bytes */
	size_t count, room;
	struct error *warning, *err;
};

/* Sets the line of err, with file and line before it; -EINVAL. */
int reader_refuse(struct reader *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* 1: the next line is in text, without its end and blanks around it; 0: no more. */
int reader_line(struct reader *);

/* Adds bytes that lie inside main; count > 0. */
int reader_add(struct reader *, uint64_t start, uint64_t count);

/* The same in sectors of size bytes, which may lie anywhere and be none. */
int reader_add_sectors(struct reader *, uint64_t sector, uint64_t count, uint64_t size);
/* Whether a disk has sectors of that size: 512 to 64 KiB, a power of two. -EINVAL. */
int reader_check_size(struct reader *, uint64_t size);

/*
 * A number without sign at *text, which is moved past it. With any_base as in
 * C: 0x… and 0… too. -EINVAL: there is none, -ERANGE.
 */
int reader_number(const char **text, bool any_base, uint64_t *ret);

int read_badblocks(struct reader *);
int read_ddrescue(struct reader *);
int read_json(struct reader *);
int read_csv(struct reader *);

#endif
