/*
 * Files that a command writes where its user said: all of them are opened and completed
 * here. A path is looked up by the kernel, never resolved by hand, so that what protects
 * folders like /tmp (fs.protected_symlinks) stays in force. By what is there (lstat):
 *
 *     nothing, or a plain file    a new file beside it, which takes its place when it is
 *                                 complete: readers see the old one or the new one, and
 *                                 nothing is written into a file that somebody else has
 *     a link, FIFO or character   written through, in place, where it belongs to the caller
 *     device                      or root, and leads to a plain file, FIFO or such a device
 *     anything else, and what     refused
 *     belongs to the volume
 *
 * "-" and no path are standard output; so is a link or a FIFO that leads to where that goes.
 */
#ifndef REMAPFS_CTL_OUTPUT_H
#define REMAPFS_CTL_OUTPUT_H

#include "ctl/ctl.h"

struct output {
	FILE *to; /* what is written; the caller never closes it */
	const char *path;
	int folder;         /* where a new file is made; -1: written through */
	char temporary[32]; /* its name until it is complete */
};

/* What must not be written over. store: NULL where the database could not be read. */
struct output_volume {
	const char *path;
	const struct store *store;
};

/* path is kept, not copied. err has the line. After a failure nothing is left to be ended. */
int output_begin(const char *path, const struct output_volume *, struct output *ret,
		 struct error *err);
/*
 * Ends what was begun. rc 0: it is complete, and put in its place; the result is 0 or a
 * negative errno, and err has the line. rc < 0: writing failed, which err tells already;
 * nothing is left of a new file, and rc is the result.
 */
int output_end(struct output *, int rc, struct error *err);

/* Both, around data that is there as a whole. */
int output_put(const char *path, const char *data, size_t size, const struct output_volume *,
	       struct error *err);

#endif
