/*
 * Memory that runs out: in a test program that includes starve.c, and has the
 * linker put it before the engine's allocations (--wrap), the Nth of them fails.
 */
#ifndef TESTS_STARVE_H
#define TESTS_STARVE_H

#include <stdbool.h>

/* One at a time; counts the allocations of this thread alone. From 0. */
void starve(unsigned after);
/* Allocations work again. Whether it came to one that failed. */
bool starve_end(void);

#endif
