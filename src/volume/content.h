/* What somebody may want to keep, in or around the place of a new spare. Internal. */
#ifndef VOLUME_CONTENT_H
#define VOLUME_CONTENT_H

#include "volume/part.h"

/*
 * -EEXIST: the region of a spare that exists carries a file system, partition table,
 * RAID or the like, or lies inside of one, or in a partition that has one; or a spare of
 * some volume is or was there, whatever its region; or a database. Spares are looked for in the region,
 * in 256 MiB around it, and from there on for 2 GiB where a MiB begins: their superblocks
 * tell how far they reach. Where the region is that of a partition or a dm or md device
 * as a whole, nothing around it is taken for more than a spare. -EINTR: progress
 * said so. Others as of reading the spare. err has the line.
 */
int content_check(struct part *, bool (*progress)(void *context, const char *what, uint64_t done,
						   uint64_t total),
		  void *context, struct error *err);

/*
 * -EEXIST: what shall be main is a spare of some volume as a whole, or a volume's or other
 * database. Asks no sector of it but those of the superblocks.
 */
int content_check_main(const char *path, struct device *, struct error *err);

/*
 * Only the spares, for one that has lost its superblocks: -EEXIST where another one than
 * `own` was made over its region.
 */
int content_check_spares(const char *path, uint64_t offset, uint64_t length, const uuid_t own,
			 struct error *err);

#endif
