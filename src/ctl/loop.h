/* Loop devices over a disk.img. Functions return 0 or a negative errno, with err. */
#ifndef REMAPFS_CTL_LOOP_H
#define REMAPFS_CTL_LOOP_H

#include "remapfs/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop {
	char name[32];   /* "loop3" */
	char device[40]; /* "/dev/loop3" */
	char backing[PATH_MAX];
};

/* All loop devices whose backing file is image; the caller frees *ret. */
int loop_find(const char *image, struct loop **ret, size_t *ret_count, struct error *err);

/* The loop device at path: -ENODEV when it is none, -ENXIO when it has no file. */
int loop_look(const char *path, struct loop *ret, struct error *err);

/* Whether it reads and writes its file past the page cache. */
bool loop_is_direct(const struct loop *);

/*
 * Runs losetup(8) for image, on device or (NULL) on the first that is free, and
 * makes sure that direct I/O is on and the sectors have sector_size bytes;
 * otherwise nothing stays attached. With partscan it may have partitions, which go
 * when it is detached.
 */
int loop_attach(const char *image, uint32_t sector_size, const char *device, bool partscan,
		struct loop *ret, struct error *err);

/* Makes its partitions devices. *ret_found: it has a partition table that can be read. */
int loop_find_partitions(const struct loop *, bool *ret_found, struct error *err);

/*
 * Detaches all of them, or none when one is mounted or otherwise held (-EBUSY)
 * or what was written to it cannot be kept (-EIO).
 */
int loop_detach(const struct loop *loops, size_t count, struct error *err);

#endif
