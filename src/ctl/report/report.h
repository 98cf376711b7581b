/*
 * remapctl report: one page of HTML, written as XML too. Everything that comes
 * from the database goes through put_text.
 */
#ifndef REMAPFS_CTL_REPORT_H
#define REMAPFS_CTL_REPORT_H

#include "ctl/cells.h"
#include "ctl/events.h"
#include "ctl/status.h"

/* So many blocks of so many units make the map; a strip of slots has the same columns. */
#define MAP_COLUMNS 80
#define MAP_ROWS 32
#define MAP_PITCH 13
#define MAP_BLOCK 11  /* of the pitch; the rest is between them */
#define MAP_LEFT 110 /* for the numbers */
#define STRIP_ROWS 4

/* However much a volume holds, a page has at most so many. */
#define SPARES_SHOWN 40
#define ROWS_SHOWN 1000
#define EVENTS_SHOWN 300
#define EXTENTS_MAX 20000

struct report {
	FILE *out;
	const struct status *status;
	struct events events;
	struct cells main, *spare; /* one for each of the first SPARES_SHOWN spares */
	size_t spares_shown;
	time_t now;
};

extern const char report_page_css[], report_page_js[]; /* made of the files here */

/* ---- html.c ------------------------------------------------------------------- */

/* Escaped, for content and for values of attributes; what is unsafe (text.h) as '?'. */
void put_text(FILE *, const char *text);
/* With thin spaces between thousands. */
void put_number(FILE *, uint64_t number);
/* "2026-01-31 12:00 UTC" */
void put_time(FILE *, time_t);
/* A block of a map with what it is in words, at column and line. */
void put_block(FILE *, enum cell_state, unsigned column, unsigned line);

/* ---- the parts of the page: 0 or -ENOMEM, or errors of the store --------------- */

int report_map(const struct report *);      /* map.c */
int report_spares(const struct report *);   /* spares.c */
int report_timeline(const struct report *); /* timeline.c */
int report_tables(const struct report *);   /* tables.c */

#endif
