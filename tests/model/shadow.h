/*
 * What an image must contain, byte for byte, kept in plain memory.
 *
 * A request that failed may have taken effect on any of its sectors or on none,
 * so a sector has one content or several possible ones. A successful read that
 * shows one of them settles it; a successful write replaces them all. Offsets
 * and lengths are bytes. Not thread-safe.
 */
#ifndef MODEL_SHADOW_H
#define MODEL_SHADOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shadow;

/* All zeros. Never fails: out of memory ends the program. */
struct shadow *shadow_new(uint64_t size, uint32_t sector_size);
void shadow_free(struct shadow *);

/* An acknowledged write; data NULL: of zeros. */
void shadow_write(struct shadow *, const void *data, uint64_t length, uint64_t offset);

/* A write that was answered with an error. */
void shadow_write_failed(struct shadow *, const void *data, uint64_t length, uint64_t offset);

/*
 * Whether a successful read may have returned data; then it is remembered.
 * Otherwise *ret_sector is the first sector that holds what it never may.
 */
bool shadow_accept(struct shadow *, const void *data, uint64_t length, uint64_t offset,
		   uint64_t *ret_sector);

/* Whether all bytes of the range may be zeros. */
bool shadow_may_be_zero(const struct shadow *, uint64_t length, uint64_t offset);

/* How many contents a sector may have. */
unsigned shadow_possible(const struct shadow *, uint64_t sector);

#endif
