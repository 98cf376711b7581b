/* Trying out every sector of a spare before it is trusted. Internal. */
#ifndef VOLUME_VERIFY_H
#define VOLUME_VERIFY_H

#include "remapfs/device.h"

/*
 * Writes a pattern that names each sector over the whole device, flushes, and
 * reads it back: a disk that lies about its size gives itself away. 0, -EIO (a
 * sector does not hold what was written; err names it), -EINTR (progress said false), or a device error.
 */
int verify_spare(struct device *, const char *path,
		 bool (*progress)(void *context, const char *what, uint64_t done, uint64_t total),
		 void *context, struct error *err);

#endif
