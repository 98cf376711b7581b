/* Image files that hold a disk, and are none: those of virtual machines and of backups. */
#ifndef REMAPFS_CONTAINER_H
#define REMAPFS_CONTAINER_H

#include <stdbool.h>

struct container {
	const char *name; /* "qcow2" */
	bool qemu;	  /* qemu-nbd and qemu-img read it */
};

/* Whether the file or block device at path begins, or ends, as one. False: not, or unknown. */
bool container_find(const char *path, struct container *ret);

#endif
