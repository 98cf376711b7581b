/*
 * Fails the Nth call of a workload, for N = 1, 2, 3 … until there is none left
 * to fail, and checks what is open, what a reopening finds, and what a cut
 * leaves afterwards.
 */
#ifndef CRASH_SWEEP_H
#define CRASH_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "workload.h"

bool sweep_known(const char *kind);

/* nth 0: all. Workloads that make calls fail themselves are passed over. */
void sweep(const struct workload *, const char *kind, uint64_t nth);

#endif
