/*
 * What the fuzz targets share. Each target is one LLVMFuzzerTestOneInput: given
 * the same bytes it does the same, keeps nothing for the next input, and frees
 * all it took. A broken promise of the engine ends the program (PROMISE), as a
 * fault of memory does.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE(array) (sizeof(array) / sizeof((array)[0]))

#define PROMISE(what)                                                              \
	do {                                                                       \
		if (!(what)) {                                                     \
			fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, \
				#what);                                            \
			abort();                                                   \
		}                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* What is left of the input: zeros past its end. */
struct input {
	const uint8_t *at;
	size_t left;
};

static inline void take(struct input *in, void *to, size_t size)
{
	size_t n = size < in->left ? size : in->left;

	memset(to, 0, size);
	if (n)
		memcpy(to, in->at, n);
	in->at += n;
	in->left -= n;
}

static inline uint8_t take_8(struct input *in)
{
	uint8_t value;

	take(in, &value, sizeof(value));
	return value;
}

static inline uint16_t take_16(struct input *in)
{
	uint16_t value;

	take(in, &value, sizeof(value));
	return value;
}

static inline uint64_t take_64(struct input *in)
{
	uint64_t value;

	take(in, &value, sizeof(value));
	return value;
}

/*
 * A number as somebody hostile chooses it: near one of the places where
 * arithmetic goes wrong, or anything, or small.
 */
uint64_t take_hostile(struct input *);

/* The path of name in a folder of this process, in memory where there is such
 * a place; valid until the 8th call after this one. Removed at the end. */
const char *scratch(const char *name);
/* Replaces the file. */
void put_file(const char *path, const void *data, size_t size);
/* The caller frees it. */
uint8_t *get_file(const char *path, size_t *ret_size);

#endif
