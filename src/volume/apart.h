/* Whether main, spares and database are all different storage (contract 12). Internal. */
#ifndef VOLUME_APART_H
#define VOLUME_APART_H

#include "remapfs/store.h"

/* A region of something that a volume uses. */
struct location {
	char role[32]; /* "main", "spare", "spare 2", "the database": for messages */
	const char *path;
	uint64_t offset, length; /* bytes; length 0: all */
};

struct locations {
	struct location *all;
	size_t count;
};

/* -ENOMEM. The path stays the caller's. */
int locations_add(struct locations *, const char *role, spare_id_t id, const char *path,
	       uint64_t offset, uint64_t length);
/* Main and the spares that are here, as the database has them. -ENOMEM. */
int locations_add_members(struct locations *, struct store *);
void locations_free(struct locations *);

/*
 * Each of those from `first` on is compared with all others. -EINVAL: two share
 * storage, or that cannot be seen, and then force is not set; err names both, what they
 * share, and the remedy ("give ..."). -ENOMEM.
 */
int locations_apart(const struct locations *, size_t first, bool force, const char *remedy,
		 struct error *err);

/* As an opening has it: all of them, and what cannot be seen is let pass. */
int locations_apart_still(const struct locations *, struct error *err);

#endif
