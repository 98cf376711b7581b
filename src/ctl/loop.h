/* Loop devices over a disk.img. Functions return 0 or a negative errno, with err. */
#ifndef REMAPFS_CTL_LOOP_H
#define REMAPFS_CTL_LOOP_H

#include "remapfs/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct loop {
	char name[32];   /* "loop3" */
	char device[40]; /* "/dev/loop3" */
	char backing[PATH_MAX];
};

/* All loop devices whose backing file has the path image; the caller frees *ret. */
int loop_find(const char *image, struct loop **ret, size_t *ret_count, struct error *err);

/*
 * All loop devices whose backing file is called disk.img and is on this file system, and
 * has this inode number unless that is 0. Waits for each disk.img two seconds at most: the
 * daemon that serves it may be stopped. Those that this user may not open are left out.
 * The caller frees *ret.
 */
int loop_find_file(dev_t file_system, ino_t inode, struct loop **ret, size_t *ret_count,
		   struct error *err);

/* The number of the file system that its backing file is on. -ETIMEDOUT; -ENOTCONN: it is dead. */
int loop_ask(const struct loop *, dev_t *ret_file_system, ino_t *ret_inode);
/* The same of a loop device that is open, with no bound. */
int loop_ask_descriptor(int fd, dev_t *ret_file_system, ino_t *ret_inode);

/* The loop device at path: -ENODEV when it is none, -ENXIO when it has no file. */
int loop_look(const char *path, struct loop *ret, struct error *err);

/* Whether its backing file is called disk.img, wherever that is. */
bool loop_is_disk_image(const struct loop *);

/* Whether it reads and writes its file past the page cache. */
bool loop_is_direct(const struct loop *);

/*
 * Attaches the file that image (O_PATH) is, whatever its path leads to by now, to device or
 * (NULL) to the first that is free. Makes sure that it is that file, that direct I/O is on
 * and that the sectors have sector_size bytes; otherwise nothing stays attached. path is for
 * messages and for lists of loop devices. With partscan it may have partitions, which go when
 * it is detached.
 */
int loop_attach(int image, const char *path, uint32_t sector_size, const char *device, bool partscan,
		struct loop *ret, struct error *err);

/* Makes its partitions devices. *ret_found: it has a partition table that can be read. */
int loop_find_partitions(const struct loop *, bool *ret_found, struct error *err);

/*
 * Detaches all of them, or none when one is mounted or otherwise held (-EBUSY)
 * or what was written to it cannot be kept (-EIO).
 */
int loop_detach(const struct loop *loops, size_t count, struct error *err);

#endif
