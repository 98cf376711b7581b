/*
 * Cuts the power at every point of a workload, opens what is left, checks it,
 * goes on working with it, and cuts the power again on the way.
 */
#ifndef CRASH_EXPLORE_H
#define CRASH_EXPLORE_H

#include "workload.h"

/* Where in all of that we are: for messages, and for having it again. */
struct where {
	const struct workload *workload;
	const char *sweep; /* which calls fail; NULL: none */
	uint64_t nth;
	size_t point;
	unsigned state;
	size_t inner_point; /* SIZE_MAX: before the second cut */
	unsigned inner_state;
	unsigned older;   /* a copy of that spare was put back; 0: none */
	size_t older_point; /* when it was taken */
	unsigned without; /* the database is lost, and with it that spare (REBUILT_ALL: none); 0: no */
};
#define REBUILT_ALL UINT32_MAX
extern struct where where;

/* Only these are looked at; SIZE_MAX, UINT_MAX: all. */
struct only {
	size_t point;
	unsigned state;
};
extern struct only only;

struct counts {
	uint64_t workloads, points, states, inner, sweeps, rebuilds;
	uint64_t older, taken; /* copies that were put back, and those that were not refused */
};
extern struct counts counts;

void explore(const struct workload *);

/* Decides something about two numbers. */
uint64_t explore_seed(uint64_t a, uint64_t b);

/* Runs the workload on a new volume, which stays open. */
void explore_run(struct session *, const struct workload *);
/* Lists requests and steps. */
void explore_print(const struct session *);
/* What is open holds what was acknowledged, and its map is that of the database. */
void explore_live(struct session *);
/* Cuts at the point where the cache stands. Checks, and goes on if deep. */
void explore_cut(const struct session *, const struct cache *, unsigned cut, bool deep);

#endif
