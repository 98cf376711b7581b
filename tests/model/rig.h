/*
 * A volume over files in a scratch directory, and simulated faults put into its
 * database as remapctl does. Whatever goes wrong in here ends the program:
 * rig_die prints the seed.
 */
#ifndef MODEL_RIG_H
#define MODEL_RIG_H

#include "remapfs/device.h"
#include "remapfs/store.h"
#include "remapfs/volume.h"

#define SPARES_MAX 3

struct rig_shape {
	uint64_t main_bytes;
	uint64_t spare_bytes[SPARES_MAX];
	size_t spare_count;
	uint32_t sector_size;
};

struct rig {
	struct rig_shape shape;
	char dir[256];
	uint64_t sectors;
	uint64_t slots[SPARES_MAX];	 /* by spare id - 1 */
	uint64_t first_slot[SPARES_MAX]; /* in sectors of the device, for faults */
	struct volume *volume;
	struct store *store; /* a second connection, as remapctl would have */
};

struct settings {
	uint64_t seed, ops;
	unsigned threads, seconds;
	uint32_t sector_size; /* 0: both in turn */
	const char *dir;      /* NULL: /dev/shm or where temporary files go */
};
extern struct settings settings;

void rig_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Makes and opens; closes and removes. */
void rig_start(struct rig *, const struct rig_shape *);
void rig_end(struct rig *);

void rig_open(struct rig *);
void rig_close(struct rig *);

/* At once in force. clear: those on `spare` that touch the range. */
void rig_add_faults(struct rig *, const struct fault *, size_t count);
void rig_clear_faults(struct rig *, spare_id_t spare, sector_t start, uint64_t count);
void rig_clear_all_faults(struct rig *);

/* Path of "main" or "spare<id>"; valid until the next call. */
const char *rig_path(const struct rig *, const char *part, unsigned id);

/* Aligned to VOLUME_ALIGNMENT. */
void *rig_buffer(uint64_t length);

#endif
