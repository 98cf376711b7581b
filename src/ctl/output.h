/* Files that others read while they are written anew. */
#ifndef REMAPFS_CTL_OUTPUT_H
#define REMAPFS_CTL_OUTPUT_H

#include "ctl/status.h"

/*
 * Puts data at path as a whole or not at all: through a file beside it that is
 * renamed. "-" and NULL are standard output. Refused: what is no regular file,
 * and what belongs to the volume. err has the line.
 */
int output_put(const char *path, const char *data, size_t size, const struct status *,
	       struct error *err);

#endif
