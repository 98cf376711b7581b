/*
 * The spares of an open volume, in the order of their numbers. They may grow
 * while others look, and none leaves before the end: no lock is needed to use
 * one that was found.
 */
#ifndef VOLUME_SPARE_SET_H
#define VOLUME_SPARE_SET_H

#include <stdatomic.h>
#include <stddef.h>

#include "remapfs/spare.h"
#include "remapfs/store.h"

struct spare_set {
	struct spare **all; /* SPARE_ID_MAX places */
	_Atomic(size_t) count;
};

int spare_set_init(struct spare_set *); /* -ENOMEM */
void spare_set_clear(struct spare_set *); /* closes them all */

/* Takes it over. By one thread at a time. */
void spare_set_add(struct spare_set *, struct spare *);

/* NULL: there is none of that number. */
struct spare *spare_set_find(const struct spare_set *, spare_id_t);

static inline size_t spare_set_count(const struct spare_set *set)
{
	return atomic_load_explicit(&set->count, memory_order_acquire);
}

/* What lends slots, or may still hold sectors. */
static inline bool spare_is_here(const struct store_spare *info)
{
	return info->state == SPARE_ACTIVE || info->state == SPARE_RETIRING;
}

/*
 * Retiring, and no row names a slot of it: it may have been wiped already. An
 * error of the store counts as no.
 */
bool spare_is_emptied(struct store *, const struct store_spare *);

/*
 * What the superblock of spares[index] has to say, by the database. -EUCLEAN:
 * a uuid there is none.
 */
int spare_identity_of(const struct store_volume *, const struct store_spare *spares, size_t count,
		      size_t index, struct spare_identity *ret);

#endif
