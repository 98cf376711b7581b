/*
 * Where a slot table says exactly what the rows say, found out without looking
 * up the row of each slot: the rows come in the order of their sectors, which
 * is the order in which they lie on disk, the descriptors in that of the slots,
 * and of each part of the table both make a sum.
 */
#ifndef VOLUME_ACCORD_H
#define VOLUME_ACCORD_H

#include "remapfs/spare.h"
#include "remapfs/store.h"

#define ACCORD_SLOTS 1024 /* of one part: whole table sectors */

struct accord {
	struct accord_part {
		uint64_t sum; /* of the rows, less that of the descriptors */
		bool odd;     /* a descriptor is damaged, or of an opening yet to come */
	} *parts;
	size_t count;
};

/* Goes through rows and table once. -ENOMEM, or an error of store or spare. */
int accord_find(struct store *, struct spare *, struct accord *ret);
void accord_clear(struct accord *);

/* Whether the part of the table that slot is in is as the rows have it. */
bool accord_at(const struct accord *, slot_t);
/* Whether all of it is. */
bool accord_everywhere(const struct accord *);

#endif
