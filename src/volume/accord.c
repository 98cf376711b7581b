#include "volume/accord.h"

#include <errno.h>
#include <stdlib.h>
#include <xxhash.h>

#include "volume/cross.h"

struct search {
	struct accord *accord;
	uint64_t opens;
	slot_t slots;
};

/* Sums of these agree by chance once in 2^64. */
static uint64_t sum_of(slot_t slot, sector_t sector, uint64_t sequence)
{
	const uint64_t words[] = {slot, sector, sequence};

	return XXH3_64bits(words, sizeof(words));
}

static int add_row(void *context, const struct placed *row)
{
	struct search *s = context;

	for (uint64_t i = 0; i < row->count && row->slot + i < s->slots; i++) {
		slot_t slot = row->slot + i;

		s->accord->parts[slot / ACCORD_SLOTS].sum +=
			sum_of(slot, row->sector + i, row->sequence);
	}
	return 0;
}

static int take_group(void *context, struct slot_group *g)
{
	struct search *s = context;
	struct accord_part *part = &s->accord->parts[g->first / ACCORD_SLOTS];

	for (uint64_t i = 0; i < g->count; i++) {
		const struct slot_descriptor *d = &g->slots[i];

		if (d->state == DESCRIPTOR_NONE)
			continue;
		if (d->state == DESCRIPTOR_DAMAGED || d->sequence >> SEQUENCE_EPOCH > s->opens)
			part->odd = true;
		if (d->state == DESCRIPTOR_REVOKED)
			continue;
		part->sum -= sum_of(g->first + i, d->sector, d->sequence);
	}
	return 0;
}

int accord_find(struct store *store, struct spare *spare, struct accord *ret)
{
	struct search s = {ret, store_volume(store)->opens, spare_counts(spare).slots};
	int rc;

	ret->count = (size_t)((s.slots + ACCORD_SLOTS - 1) / ACCORD_SLOTS);
	ret->parts = calloc(ret->count, sizeof(*ret->parts));
	if (!ret->parts)
		return -ENOMEM;
	rc = store_each_placed(store, spare_id(spare), add_row, &s);
	return rc < 0 ? rc : spare_each_group(spare, take_group, &s);
}

void accord_clear(struct accord *a)
{
	free(a->parts);
	*a = (struct accord){0};
}

bool accord_at(const struct accord *a, slot_t slot)
{
	const struct accord_part *part = &a->parts[slot / ACCORD_SLOTS];

	return part->sum == 0 && !part->odd;
}

bool accord_everywhere(const struct accord *a)
{
	for (size_t i = 0; i < a->count; i++)
		if (!accord_at(a, i * ACCORD_SLOTS))
			return false;
	return true;
}
