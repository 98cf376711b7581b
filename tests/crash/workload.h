/* What the engine is made to do while the power is cut. */
#ifndef CRASH_WORKLOAD_H
#define CRASH_WORKLOAD_H

#include "session.h"

#define OPS_MAX 64

struct workload {
	const char *name;
	uint32_t sector_size;
	uint64_t sectors;
	unsigned spares;
	unsigned blank; /* more that may be added */
	bool commits_fail; /* makes calls fail by itself */
	struct op ops[OPS_MAX];
	size_t count;
};

/* The i-th, made anew for the seed where it is random; false: there are no more. */
bool workload_get(unsigned i, uint64_t seed, struct workload *ret);

/* What is done after each recovery. */
extern const struct op workload_after[];
extern const size_t workload_after_count;

/* A new volume of that shape, as bytes: made once by volume_create. */
const struct disk *workload_disk(const struct workload *);

#endif
