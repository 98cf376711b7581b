/* The disk.img of a mounted volume, opened once: what was looked at is what is used. */
#ifndef REMAPFS_CTL_DISK_IMAGE_H
#define REMAPFS_CTL_DISK_IMAGE_H

#include "remapfs/error.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct disk_image {
	int fd;              /* O_PATH; -1: it cannot be reached */
	struct stat st;      /* with fd */
	char path[PATH_MAX]; /* for messages, and of a dead mount */
	uint32_t sector_size;
	bool not_mounted; /* the volume, which is why there is none */
	dev_t hidden; /* the file system whose mount is out of sight, or in another namespace; or 0 */
	struct error out_of_sight; /* says which */
};

/*
 * argument is a volume or a mountpoint. Of a volume it is found through the daemon that
 * serves it: the disk.img on a mount of whoever runs that daemon, with the sectors and the
 * size of the volume. 0 with fd, or with hidden; otherwise err has the line. The
 * caller closes it in any case.
 */
int disk_image_find(const char *argument, struct disk_image *ret, struct error *err);
void disk_image_close(struct disk_image *);

/* The line for a folder that could not be looked at. */
int disk_image_explain(const char *folder, int code, struct error *err);

#endif
