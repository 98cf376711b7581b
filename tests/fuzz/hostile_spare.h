/*
 * A spare as somebody hostile makes one: what checksums guard is chosen freely
 * and summed afterwards, since the sums are no secret.
 */
#ifndef FUZZ_HOSTILE_SPARE_H
#define FUZZ_HOSTILE_SPARE_H

#include "disk.h"
#include "fuzz.h"
#include "spare/format.h"

#define HOSTILE_SPARE_BYTES (16 * 4096u)
#define HOSTILE_SPARE_SECTORS 256 /* of main */

/* Formats the disk, HOSTILE_SPARE_BYTES long, as spare `number` of `of`, and spoils it. */
void make_hostile_spare(struct input *, struct disk *, uint32_t number, uint32_t of,
			struct spare_identity *ret);

#endif
