/*
 * What the unit tests share: a scratch directory, seeded random numbers, small
 * files, and a device in memory that fails when it is told to.
 *
 * Every test runs alone, so the scratch directory is one global. A test program
 * that runs too long is ended by SIGALRM.
 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "remapfs/device.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)

/* ---- scratch directory ---------------------------------------------------------- */

/* For cmocka: a new directory under TMPDIR (or /tmp), and its removal. */
int scratch_setup(void **state);
int scratch_teardown(void **state);

/* The path of name in it; valid until the 16th call after this one. */
const char *at(const char *name);

bool scratch_is_empty(void);

void make_file(const char *path, uint64_t size);
void put_bytes(const char *path, uint64_t offset, const void *data, size_t length);
void get_bytes(const char *path, uint64_t offset, void *data, size_t length);
bool path_exists(const char *path);

/* Aligned to 4096, zeroed, freed with free(). */
void *aligned_buffer(size_t length);

/* ---- random --------------------------------------------------------------------- */

/* From REMAPFS_TEST_SEED, otherwise the time; printed. */
uint64_t test_seed(void);
uint64_t random_next(uint64_t *state);
uint64_t random_below(uint64_t *state, uint64_t limit); /* limit > 0 */
void random_fill(uint64_t *state, void *data, size_t length);

void pause_ms(long ms);

/* ---- processes ------------------------------------------------------------------ */

/* Runs fn(context) in a child process and returns what it returned (0 to 255). */
int in_child(int (*fn)(void *context), void *context);

/* ---- device in memory ----------------------------------------------------------- */

enum ram_call { RAM_READ, RAM_WRITE, RAM_FLUSH, RAM_DISCARD, RAM_ZERO, RAM_CALLS };

struct ram_device {
	struct device device;
	uint8_t *data; /* geometry.size bytes */
	unsigned calls[RAM_CALLS];
	bool *closed; /* set by close, when not NULL */
	/* A call of this kind that touches [fail_from, fail_to) answers fail_error. */
	int fail_error[RAM_CALLS]; /* negative errno; 0: works */
	uint64_t fail_from, fail_to;
};

/* Closed with device_close. */
struct ram_device *ram_device_new(uint64_t size, uint32_t block_size);

#endif
