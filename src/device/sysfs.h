/* What sysfs says of block devices. Internal to device/. */
#ifndef DEVICE_SYSFS_H
#define DEVICE_SYSFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The folder of a block device, to be freed; NULL: sysfs does not know it. */
char *sysfs_folder(dev_t device);
/* The first line of folder/name without its newline; false: there is none. */
bool sysfs_line(const char *folder, const char *name, char *text, size_t size);
/* false: there is no such number. */
bool sysfs_number(const char *folder, const char *name, uint64_t *ret);
/* The device number in folder/name ("8:16"). */
bool sysfs_device(const char *folder, const char *name, dev_t *ret);
/* Calls fn for each block device listed in folder/list until it returns nonzero; that. */
int sysfs_each(const char *folder, const char *list, int (*fn)(void *context, dev_t), void *context);

#endif
