/*
 * Reads and writes in each of the ways that the mount has: by volume_read and
 * volume_write, by I/O of one's own, and by starting it without doing it. `way` is
 * any number, which chooses; io is used by one request at a time.
 */
#ifndef TESTS_OWN_IO_H
#define TESTS_OWN_IO_H

#include <errno.h>

#include "remapfs/volume.h"

static inline int read_some_way(struct volume *v, void *buf, size_t length, uint64_t offset,
				struct volume_io *io, uint64_t way)
{
	if (way % 3 == 0 || !volume_start_read(v, buf, length, offset, io))
		return volume_read(v, buf, length, offset);
	return volume_finish(v, io,
			     way % 3 == 1 ? -EAGAIN
					  : device_read(io->device, io->buf, io->length, io->offset));
}

static inline int write_some_way(struct volume *v, const void *buf, size_t length, uint64_t offset,
				 struct volume_io *io, uint64_t way)
{
	if (way % 3 == 0 || !volume_start_write(v, buf, length, offset, io))
		return volume_write(v, buf, length, offset);
	return volume_finish(v, io,
			     way % 3 == 1
				     ? -EAGAIN
				     : device_write(io->device, io->buf, io->length, io->offset));
}

#endif
