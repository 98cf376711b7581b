/* Opening what a volume is made of, real or simulated. Internal. */
#ifndef VOLUME_PARTS_H
#define VOLUME_PARTS_H

#include "remapfs/volume.h"

/* As file_device_open. parts NULL: files and block devices. */
int parts_open_device(const struct volume_parts *parts, const char *path,
		      const struct file_device_options *, struct device **ret, struct error *err);

/* As store_open. */
int parts_open_store(const struct volume_parts *parts, const char *path, enum store_mode,
		     struct store **ret, struct error *err);

#endif
