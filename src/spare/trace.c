/*
 * Traces of spares: superblocks wherever they lie. Each tells how long its region is and
 * not at which end of it it is, so both are reckoned with.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "spare/format.h"

#define STEP 512u /* regions begin at multiples of the smallest sector */
#define PIECE (1u << 20)

uint64_t spare_trace_backup(const struct spare_trace *t)
{
	return spare_layout(t->bytes, STEP).backup_offset;
}

bool spare_trace_meets(const struct spare_trace *t, bool is_backup, uint64_t start, uint64_t end)
{
	uint64_t back = is_backup ? spare_trace_backup(t) : 0;
	uint64_t first = t->at > back ? t->at - back : 0; /* what it lies on may have been cut */

	return first < end && start < t->at + (t->bytes - back);
}

bool spare_next_trace(const void *buf, size_t length, uint64_t from, size_t *at,
		      struct spare_trace *ret)
{
	const char *bytes = buf;

	for (; *at + STEP <= length; *at += STEP) {
		struct spare_copy copy = {0};
		int rc = superblock_find(bytes + *at, &ret->bytes, &copy);

		if (rc < 0 || ret->bytes > UINT64_MAX / 4)
			continue;
		ret->identity = copy.identity;
		ret->at = from + *at;
		*at += STEP;
		return true;
	}
	return false;
}

/* 1: a trace of another spare in these bytes meets the place. */
static int look_at_piece(const void *buf, size_t length, uint64_t from, const uuid_t own,
			 uint64_t place, struct spare_identity *ret)
{
	struct spare_trace t;
	size_t at = 0;

	while (spare_next_trace(buf, length, from, &at, &t))
		if (uuid_compare(t.identity.spare, own) != 0 &&
		    (spare_trace_meets(&t, false, place, place + SPARE_BLOCK) ||
		     spare_trace_meets(&t, true, place, place + SPARE_BLOCK))) {
			*ret = t.identity;
			return 1;
		}
	return 0;
}

int spare_find_intruder(struct device *d, const uuid_t own, uint64_t place,
			struct spare_identity *ret)
{
	CLEANUP_FREE void *buf = NULL;
	uint64_t size = d->geometry.size;
	int rc = 0;

	if (posix_memalign(&buf, SPARE_BLOCK, PIECE) != 0)
		return -ENOMEM;
	for (uint64_t at = 0; rc == 0 && at < size; at += PIECE) {
		size_t n = size - at < PIECE ? (size_t)(size - at) : PIECE;

		/* What cannot be read tells nothing. */
		if (device_read(d, buf, n, at) == 0)
			rc = look_at_piece(buf, n, at, own, place, ret);
	}
	return rc;
}
