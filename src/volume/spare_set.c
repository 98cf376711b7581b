#include "volume/spare_set.h"

#include <errno.h>
#include <stdlib.h>

int spare_set_init(struct spare_set *set)
{
	set->all = calloc(SPARE_ID_MAX, sizeof(*set->all));
	return set->all ? 0 : -ENOMEM;
}

void spare_set_clear(struct spare_set *set)
{
	for (size_t i = 0; i < spare_set_count(set); i++)
		spare_close(set->all[i]);
	free(set->all);
	*set = (struct spare_set){0};
}

void spare_set_add(struct spare_set *set, struct spare *spare)
{
	size_t count = spare_set_count(set);

	set->all[count] = spare;
	atomic_store_explicit(&set->count, count + 1, memory_order_release);
}

struct spare *spare_set_find(const struct spare_set *set, spare_id_t id)
{
	for (size_t i = 0; i < spare_set_count(set); i++)
		if (spare_id(set->all[i]) == id)
			return set->all[i];
	return NULL;
}

bool spare_is_emptied(struct store *s, const struct store_spare *info)
{
	uint64_t used = 1, bad;

	return info->state == SPARE_RETIRING &&
	       store_spare_usage(s, info->id, &used, &bad) == 0 && used == 0;
}

int spare_identity_of(const struct store_volume *volume, const struct store_spare *spares,
		      size_t count, size_t index, struct spare_identity *ret)
{
	*ret = (struct spare_identity){
		.id = spares[index].id,
		.sector_size = volume->sector_size,
		.main_sectors = volume->main_sectors,
		.spares = spares[count - 1].id,
	};
	for (size_t i = 0; i < count; i++)
		ret->in_use += spares[i].state != SPARE_RETIRED;
	if (uuid_parse(volume->uuid, ret->volume) < 0 ||
	    uuid_parse(spares[index].uuid, ret->spare) < 0)
		return -EUCLEAN;
	return 0;
}
