/*
 * Sectors that are moved to the spares (mark, import) or back (unmap), piece by
 * piece: by the daemon where one runs, and with the volume opened here where
 * none does.
 */
#ifndef REMAPFS_CTL_MOVE_H
#define REMAPFS_CTL_MOVE_H

#include "ctl/progress.h"
#include "remapfs/volume.h"

struct move {
	const char *path;    /* of the volume */
	const char *command; /* "mark", "mark-lost" or "unmap" */
	bool quiet;
	bool lost;  /* mark: the sectors are lost, and not to be read */
	bool force; /* mark: also more sectors than there are free slots */
	struct volume_progress done; /* in all */
	struct volume *volume;       /* opened here; NULL: a daemon has it */
	struct progress progress;
};

/*
 * The ranges are sorted and merged, and used up. -EINTR: Ctrl-C; what was done
 * stands. Otherwise those of volume_mark and volume_unmap, control_request and
 * volume_open; err has the line.
 */
int move_sectors(struct move *, struct sector_range *ranges, size_t count, uint32_t sector_size,
		 struct error *err);

/* Whether what was done is worth a line beside the error that rc may stand for. */
bool move_is_told(const struct move *, int rc);

/*
 * The same to its end: prints what was done, and returns the exit code. More
 * sectors than could move are refused first, unless they are lost or forced.
 */
int mark_sectors(struct move *, struct sector_range *ranges, size_t count, uint32_t sector_size);

/* What mark_sectors would do, by the database: prints it, and returns the exit code. */
int mark_rehearse(const struct move *, const struct sector_range *ranges, size_t count);

/* What of a volume has to be known before sectors of it can be named. As store_open. */
struct volume_shape {
	uint32_t sector_size;
	sector_t sectors;
};
int volume_shape_of(const char *path, struct volume_shape *ret, struct error *err);

/* A block size of badblocks(8): a multiple of 512 up to 16 MiB. -EINVAL, -ERANGE. */
int take_block_size(const char *text, uint32_t *ret, struct error *err);

#endif
