/* A disk in memory with bad sectors. What is on it outlives its being opened. */
#ifndef FUZZ_DISK_H
#define FUZZ_DISK_H

#include "remapfs/device.h"

#define DISK_BAD_MAX 8

struct disk {
	uint8_t *data;
	uint64_t size;
	struct {
		uint64_t from, to; /* bytes */
		enum fault_on on;
	} bad[DISK_BAD_MAX];
	unsigned bad_count;
};

/* All zeros. The caller frees disk->data. */
void disk_new(struct disk *, uint64_t size);
/* Sectors of 512 bytes. Ignored when there are too many. */
void disk_damage(struct disk *, uint64_t sector, uint64_t count, enum fault_on on);
/* A device that is the disk; or the part of it that options name. As file_device_open. */
int disk_open(struct disk *, const struct file_device_options *, struct device **ret,
	      struct error *err);

#endif
