/* What tells a file or block device from others. Internal to device/. */
#ifndef DEVICE_IDENTITY_H
#define DEVICE_IDENTITY_H

#include "remapfs/device.h"

/* As the operation identify of struct device_ops. Asks the kernel alone, never the disk. */
void identify_descriptor(int fd, struct device_identity *ret);

#endif
