/* What is mounted and swapped to, as this process sees it. Internal to device/. */
#ifndef DEVICE_MOUNTED_H
#define DEVICE_MOUNTED_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether looking at path may wait for somebody: it is below the mount point of a FUSE
 * or network file system. Yes where /proc cannot be read.
 */
bool path_may_block(const char *path);

/* Whether a file system is mounted from the device. */
bool device_is_mounted(dev_t device);
bool device_is_swap(dev_t device);

#endif
