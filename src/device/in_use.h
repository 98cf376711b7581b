/* Who else has a regular file open as a block device. Internal to device/. */
#ifndef DEVICE_IN_USE_H
#define DEVICE_IN_USE_H

#include <stddef.h>

/*
 * Whether a loop device is attached to the file at path; its name ("loop3")
 * goes to ret_name. Says no where sysfs cannot be read.
 *
 * Compares names and touches no backing file: that of a loop device over our
 * own mount would be asked of us, who are only about to serve it.
 */
_Bool loop_is_attached(const char *path, char *ret_name, size_t name_size);

#endif
