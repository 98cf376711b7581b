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

/* What a request is served with. */
struct exchange {
	/*
	 * IMAGE_MAX_IO bytes, aligned to VOLUME_ALIGNMENT: to read into, or the payload of
	 * a write, which a request to read has none of.
	 */
	char *payload;
	/* A small read or write may be left to this; NULL: none is. */
	struct volume_io *io;
	/* Set by the handler: io was started for this one, and image_finish answers it. */
	fuse_req_t started;
	/* Called by the handler before it does what may take a while. */
	void (*takes_long)(struct exchange *);
};

/* The exchange for the request that the calling thread passes to libfuse next. */
void image_serve_with(struct exchange *);

/* Answers what was started, as volume_finish. */
void image_finish(struct exchange *, int result);

#endif
