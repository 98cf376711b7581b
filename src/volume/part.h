/*
 * Main or a spare on its way into a volume: found, opened and locked, looked
 * at, made where it is missing. Shared by create and add. Internal.
 */
#ifndef VOLUME_PART_H
#define VOLUME_PART_H

#include <sys/types.h>

#include "remapfs/spare.h"
#include "remapfs/volume.h"

struct part {
	const struct part_spec *spec;
	const char *role; /* "main" or "spare" */
	bool is_spare;
	char *path;            /* absolute; of a file to be made: in an existing folder */
	bool missing, made;
	dev_t dev;             /* what it is, if it exists */
	ino_t ino;
	uint64_t size;         /* bytes of the file or device */
	uint32_t block_size;   /* 0 while unknown */
	struct device *device; /* opened, locked */
};

/* The absolute path, to be freed, of something whose folder exists; NULL with errno. */
char *part_absolute(const char *path);

/*
 * Finds out what it is; nothing is opened. All below return 0, or an error with
 * its line in err.
 */
int part_find(struct part *, struct error *err);
/* Opens what exists. warning (may be NULL) gets a line where it has no direct I/O. */
int part_open(struct part *, struct error *warning, struct error *err);
/* Opens it if it exists; then its size must be the one that was asked for. */
int part_check_existing(struct part *, struct error *warning, struct error *err);
/* Of a spare: its region is in whole sectors, inside it, and large enough. */
int part_check_spare_size(const struct part *, uint32_t sector_size, struct error *err);
/* Makes the file, sparse or allocated, if it is missing; not opened. */
int part_make(struct part *, bool allocate, struct error *err);
/*
 * Tries out every sector of a spare and formats it: id has all but the spare's
 * uuid. ret->path is that of the part. progress as in struct create_options.
 */
int part_make_spare(struct part *, const struct spare_identity *id,
		    bool (*progress)(void *context, const char *what, uint64_t done,
				     uint64_t total),
		    void *context, struct store_spare *ret, struct error *err);
/* Closes it, and removes what was made if that shall not stay. */
void part_let_go(struct part *, bool keep);

bool part_same_file(const struct part *, const struct part *);

#endif
