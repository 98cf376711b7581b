/*
 * Memory that runs out: the Nth allocation of the engine, or of SQLite for it,
 * fails. The engine's calls are caught by the linker (--wrap).
 */
#ifndef CRASH_MEMORY_H
#define CRASH_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* Before the first use of SQLite. */
void memory_init(void);

/* The nth allocation from now on fails; 0: none. */
void memory_fail_at(uint64_t nth);
/* Whether it came to that. */
bool memory_failed(void);

/*
 * The simulator's own allocations never fail: false before it calls the engine,
 * true afterwards; and again where the engine calls the simulator.
 */
void memory_spare(bool spare);

#endif
