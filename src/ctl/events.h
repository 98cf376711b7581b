/* What the history adds up to. */
#ifndef REMAPFS_CTL_EVENTS_H
#define REMAPFS_CTL_EVENTS_H

#include "remapfs/store.h"

#include <time.h>

/* Anybody can add rows to a history: kinds beyond so many are not told apart. */
#define EVENT_KINDS_MAX 64

/* How far back the rate of new remaps is measured, and how much of that it takes. */
#define RATE_WINDOW_S (30 * 86400)
#define CLOCK_SLACK_S 60 /* what is dated later than that was dated by a clock that was ahead */
#define RATE_LEAST_S 86400

struct event_kind_count {
	char name[32];
	uint64_t count;
};

struct events {
	struct event_kind_count kind[EVENT_KINDS_MAX]; /* in the order of first occurrence */
	size_t kinds;
	uint64_t total;
	time_t first;       /* of all: when the volume was made. 0: there is none */
	time_t now;         /* when it was counted */
	uint64_t consumed;  /* slots that were used up or failed since now - RATE_WINDOW_S */
	char scrubbed[32];  /* when the last scrub ended; "": none did */
};

/* Counts the history up to now. err has the line. */
int events_read(struct store *, time_t now, struct events *ret, struct error *err);

/* Slots a day. Negative: the volume is too young to tell. */
double events_rate(const struct events *);

/* "2026-01-31T12:00:00.000Z" as time; 0: it is none. */
time_t event_time(const char *at);

/* The columns of STORE_HISTORY. */
enum { HISTORY_ID, HISTORY_AT, HISTORY_EVENT, HISTORY_SECTOR, HISTORY_SECTORS, HISTORY_SPARE,
       HISTORY_SLOT, HISTORY_ERROR, HISTORY_DETAIL };

#endif
