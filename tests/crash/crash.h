/* What every part of the simulator may use. */
#ifndef CRASH_H
#define CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

struct settings {
	uint64_t seed;
	unsigned states; /* cuts of one point */
	unsigned rebuild; /* one of so many states is rebuilt without its database */
	unsigned inner;  /* of one state: points of its recovery at which it is cut again */
	uint64_t every;  /* one point, or failing call, in so many */
	const char *plant;
	bool verbose;
};
extern struct settings settings;

/*
 * A contract was broken: prints where, with how to have it again, and ends the
 * program; while a plant is looked for, that is success.
 */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* The simulator itself cannot go on. */
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static inline void *must(void *p)
{
	if (!p)
		give_up("out of memory");
	return p;
}

#endif
