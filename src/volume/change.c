#include "volume/change.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/spare.h"

/* Room for one more element at the end of *array; NULL: no memory. */
static void *grow(void *array, size_t *count, size_t size)
{
	void **place = array, *more;

	/* Powers of two: room is there unless count is one of them. */
	if ((*count & (*count - 1)) == 0) {
		more = realloc(*place, (*count ? *count * 2 : 1) * size);
		if (!more)
			return NULL;
		*place = more;
	}
	return (char *)*place + (*count)++ * size;
}

int change_extent(struct change *c, const struct extent *e, int error)
{
	struct change_extent *x = grow(&c->extents, &c->extent_count, sizeof(*x));

	if (!x)
		return -ENOMEM;
	*x = (struct change_extent){.extent = *e, .error = error};
	return 0;
}

int change_remap(struct change *c, const struct extent *e, int error, const void *data,
		 uint32_t sector_size)
{
	uint32_t *sums = malloc(e->count * sizeof(*sums));

	if (!sums || change_extent(c, e, error) < 0) {
		free(sums);
		return -ENOMEM;
	}
	for (uint64_t i = 0; i < e->count; i++)
		sums[i] = spare_data_sum((const char *)data + i * sector_size, sector_size);
	c->extents[c->extent_count - 1].sums = sums;
	return 0;
}

int change_bad(struct change *c, spare_id_t spare, slot_t first, uint64_t count, int error)
{
	struct change_bad *b = grow(&c->bad, &c->bad_count, sizeof(*b));

	if (!b)
		return -ENOMEM;
	*b = (struct change_bad){spare, first, count, error};
	return 0;
}

int change_emptied(struct change *c, spare_id_t spare, slot_t first, uint64_t count, bool ahead)
{
	struct change_emptied *e = grow(&c->emptied, &c->emptied_count, sizeof(*e));

	if (!e)
		return -ENOMEM;
	*e = (struct change_emptied){spare, first, count, ahead, NULL};
	return 0;
}

int change_event(struct change *c, const struct event *e)
{
	struct event *x = grow(&c->events, &c->event_count, sizeof(*x));

	if (!x)
		return -ENOMEM;
	*x = *e;
	return 0;
}

int change_spent(struct change *c, int64_t fault_id)
{
	int64_t *x = grow(&c->spent, &c->spent_count, sizeof(*x));

	if (!x)
		return -ENOMEM;
	*x = fault_id;
	return 0;
}

int change_stamp(struct change *c, spare_id_t spare, uint64_t stamp, uint64_t next_stamp,
		 unsigned stamped)
{
	struct change_stamp *x = grow(&c->stamps, &c->stamp_count, sizeof(*x));

	if (!x)
		return -ENOMEM;
	*x = (struct change_stamp){spare, stamp, next_stamp, stamped};
	return 0;
}

int change_identity(struct change *c, const struct store_identity *main)
{
	c->main = malloc(sizeof(*c->main));
	if (!c->main)
		return -ENOMEM;
	*c->main = *main;
	return 0;
}

void change_refuse(struct change *c, spare_id_t spare, slot_t slot, int error, bool flush)
{
	c->refused_stale = false;
	c->result = -EBADSLT;
	c->refused_by = spare;
	c->refused_slot = slot;
	c->refused_error = error;
	c->refused_flush = flush;
}

void change_clear(struct change *c)
{
	for (size_t i = 0; i < c->extent_count; i++)
		free(c->extents[i].sums);
	for (size_t i = 0; i < c->emptied_count; i++)
		free(c->emptied[i].taken);
	free(c->extents);
	free(c->bad);
	free(c->emptied);
	free(c->events);
	free(c->spent);
	free(c->stamps);
	if (c->main)
		free(c->main->places);
	free(c->main);
	memset(c, 0, sizeof(*c));
}
