#include <errno.h>

#include "volume/volume_impl.h"

/* The greatest power of two below count, such that the cut is a multiple of it. */
static sector_t cut(sector_t start, uint64_t count)
{
	uint64_t step = 1;

	while (step * 2 < count)
		step *= 2;
	return (start + step) / step * step;
}

/*
 * Past the deadline nothing is tried any more: on a disk that takes long to
 * fail, what is left of each level would otherwise cost one more try.
 */
static int isolate_part(struct isolation *i, sector_t start, uint64_t count)
{
	int rc;

	if (now_ms() >= i->deadline)
		return i->bad(i, start, count, ETIMEDOUT);
	rc = i->again(i, start, count);
	if (rc == 0 || !errno_is_media(-rc))
		return rc;
	return isolate(i, start, count, -rc);
}

int isolate(struct isolation *i, sector_t start, uint64_t count, int error)
{
	sector_t middle;
	int rc;

	if (count == 1 || now_ms() >= i->deadline)
		return i->bad(i, start, count, error);
	middle = cut(start, count);
	rc = isolate_part(i, start, middle - start);
	return rc < 0 ? rc : isolate_part(i, middle, start + count - middle);
}

int isolate_again(struct isolation *i, sector_t start, uint64_t count, int error)
{
	if (count == 1 && now_ms() < i->deadline)
		return isolate_part(i, start, count);
	return isolate(i, start, count, error);
}
