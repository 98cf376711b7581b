/* What a device-mapper device maps. Internal to device/. */
#ifndef DEVICE_DM_H
#define DEVICE_DM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Bytes [start, start + length) of a dm device. A linear target is these bytes of
 * `device`, from offset on; a striped one some of them, told once for each stripe. Of
 * any other target device is 0.
 */
struct dm_target {
	uint64_t start, length;
	bool linear;
	dev_t device;
	uint64_t offset, bytes; /* the range of device */
};

/*
 * Calls fn for each target (each stripe) of the table until it returns nonzero; that. Not
 * for error and zero targets, below which nothing lies. -EPERM and others: the table cannot
 * be read (it takes root), and nothing was called.
 */
int dm_each_target(dev_t device, int (*fn)(void *context, const struct dm_target *),
		   void *context);

#endif
