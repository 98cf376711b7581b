/* Who else has a regular file open as a block device. Internal to device/. */
#ifndef DEVICE_IN_USE_H
#define DEVICE_IN_USE_H

#include <stddef.h>
#include <sys/stat.h>

/*
 * Whether a loop device is attached to the file that status describes; its
 * name ("loop3") goes to ret_name. Says no where sysfs cannot be read.
 */
_Bool loop_is_attached(const struct stat *status, char *ret_name, size_t name_size);

#endif
