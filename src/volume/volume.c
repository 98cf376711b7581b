/* What every part of a volume may ask of it. */
#include <time.h>

#include "volume/volume_impl.h"

uint64_t volume_size(const struct volume *v)
{
	return bytes_of(v, v->sectors);
}

uint32_t volume_sector_size(const struct volume *v)
{
	return v->sector_size;
}

const char *volume_uuid(const struct volume *v)
{
	return v->uuid;
}

struct spare *volume_spare(struct volume *v, spare_id_t id)
{
	return spare_set_find(&v->spares, id);
}
