/*
 * Many short ranges that one thread owns at once, so that what it does to them
 * shares a flush and a commit. All but the first are taken only if that needs
 * no waiting: whoever wants one of them waits for the whole batch, and nobody
 * for ever.
 */
#ifndef VOLUME_BATCH_H
#define VOLUME_BATCH_H

#include "volume/volume_impl.h"

#define BATCH_PIECES 256
#define BATCH_BYTES (1u << 20)

/* Goes through ranges, which are sorted and do not overlap, for extents of one state. */
struct walk {
	const struct sector_range *ranges;
	size_t count;
	enum sector_state wanted;
	size_t index;
	sector_t at; /* looked at up to here */
};

struct piece {
	struct request request;
	struct extent extent; /* what it was just before it was owned */
	size_t index;         /* of its range */
	char *data;           /* room for it; NULL in a batch without data */
};

struct batch {
	struct volume *volume;
	struct piece pieces[BATCH_PIECES];
	size_t count;
	char *buf;  /* BATCH_BYTES, aligned; NULL: a batch without data */
	char *back; /* the same */
	/* The time is over: what comes from there on was not looked at. */
	bool stopped;
};

/*
 * Whether sectors of v may be moved, and the ranges are as a walk wants them:
 * at least one. -EROFS, -EINVAL; err has the line.
 */
int check_ranges(const struct volume *v, const struct sector_range *ranges, size_t count,
		 struct error *err);

/*
 * One without data is for what needs no I/O: its pieces are not bounded by
 * BATCH_BYTES. -ENOMEM. Freed with batch_free.
 */
int batch_new(struct volume *, bool with_data, struct batch **ret);
void batch_free(struct batch *);

/*
 * Owns the next extents of the walk, up to `most` sectors (> 0). False: there
 * are none. What they are may have changed before they were owned.
 */
bool batch_take(struct batch *, struct walk *, uint64_t most);
/* The walk goes on at this sector of the piece, and not where the batch ended. */
void batch_stop(struct batch *, struct walk *, const struct piece *, sector_t at);
void batch_release(struct batch *);

/* The first sector that the walk has not looked at; where the last range ends: none. */
sector_t walk_position(const struct walk *);

#endif
