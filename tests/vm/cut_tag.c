#include "cut.h"

#include <string.h>
#include <xxhash.h>

void cut_tag_make(struct cut_tag *t, uint64_t sector, uint64_t sequence)
{
	t->sector = sector;
	t->sequence = sequence;
	memset(t->fill, (int)(sector * 31 + sequence), sizeof(t->fill));
	t->sum = XXH3_64bits(t, offsetof(struct cut_tag, sum));
}

bool cut_tag_is_valid(const struct cut_tag *t, uint64_t sector)
{
	return t->sector == sector && t->sum == XXH3_64bits(t, offsetof(struct cut_tag, sum));
}
