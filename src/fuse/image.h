/*
 * The file system that the kernel sees: a folder with one file, disk.img.
 * Translates requests to the volume and errors back; decides nothing about
 * sectors. Inode numbers are fixed and nothing is kept per open file, so that
 * another process can take the session over.
 */
#ifndef FUSE_IMAGE_H
#define FUSE_IMAGE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "remapfs/volume.h"

#define IMAGE_NAME "disk.img"
#define IMAGE_MAX_IO (1u << 20) /* bytes of one read or write */

struct image {
	struct volume *volume;
	bool read_only;
	uid_t uid;
	gid_t gid;
	struct timespec since; /* the times of both inodes */
};

/* Handlers; their userdata is a struct image. */
extern const struct fuse_lowlevel_ops image_ops;

/*
 * Gives the calling thread IMAGE_MAX_IO bytes, aligned to VOLUME_ALIGNMENT, to
 * read into. They may be those that hold the payload of a write: a request to
 * read has none.
 */
void image_thread_begin(void *buffer);

#endif
