/* What a device-mapper device maps. Internal to device/. */
#ifndef DEVICE_DM_H
#define DEVICE_DM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes [start, start + length) of a dm device. */
struct dm_target {
	uint64_t start, length;
	bool linear;     /* these bytes are bytes of device, from offset on */
	dev_t device;
	uint64_t offset;
};

/*
 * Calls fn for each target of the table until it returns nonzero; that. -EPERM and
 * others: the table cannot be read (it takes root), and nothing was called.
 */
int dm_each_target(dev_t device, int (*fn)(void *context, const struct dm_target *),
		   void *context);

#endif
