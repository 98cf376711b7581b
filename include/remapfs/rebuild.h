/* A new database for a volume that lost its own: contract 10. */
#ifndef REMAPFS_REBUILD_H
#define REMAPFS_REBUILD_H

#include "remapfs/volume.h"

struct rebuild_options {
	const char *path; /* of the SQLite file to make */
	struct part_spec main; /* size is not used, also below */
	const struct part_spec *spares; /* all of the volume's, in any order */
	size_t spare_count;
	bool force; /* what is at path is renamed to path.old, which must not exist */
	/*
	 * Go on although descriptors are damaged: the sectors that they named are
	 * served from main, as they were before they moved.
	 */
	bool partial;
	/* As in struct volume_options: then nothing is in the way of path. */
	const struct volume_parts *parts;
};

struct rebuild_result {
	uint64_t remapped, pending; /* sectors */
	uint64_t passed_over; /* descriptors of writes that were never acknowledged */
	uint64_t damaged;     /* with partial: descriptors that cannot be read */
};

/*
 * Makes the database from what the spares say of themselves. Every remap that
 * was acknowledged is in it. Bad slots and pending sectors of main are not:
 * they fail once more. Main and spares are read only; the next opening brings
 * the spares in order.
 *
 * Main cannot be told from another one of its size, but is known from then on. Errors: -EEXIST (path),
 * -EBUSY (in use), -EBADMSG (spares of different volumes, one missing, none of
 * ours, main of another size, damaged descriptors), or as file_device_open and
 * store_recreate; then nothing is changed.
 */
int volume_rebuild(const struct rebuild_options *, struct rebuild_result *ret, struct error *err);

#endif
