/*
 * What badblocks(8) writes, and e2fsck -l and mke2fs -l read: a number of a
 * block a line, and not a word about how large its blocks are. A wrong size
 * shows where a block lies outside main, and where blocks smaller than a
 * sector do not come in whole sectors.
 */
#include <errno.h>
#include <inttypes.h>

#include "lists/lists.h"

static int add_block(struct reader *r, uint64_t block, int overflow)
{
	const struct list_disk *d = r->disk;
	uint64_t end = d->sectors * d->sector_size, start = 0, left;

	overflow |= __builtin_mul_overflow(block, (uint64_t)d->block_size, &start);
	overflow |= __builtin_add_overflow(start, d->offset, &start);
	if (overflow || start >= end)
		return reader_refuse(r, "block '%.30s' of %" PRIu32 " bytes is outside main, which has "
				     "%" PRIu64 " of them%s; give the block size that badblocks was "
				     "run with (-b), or the list of this disk", r->text,
				     d->block_size, end / d->block_size,
				     d->offset ? " without --offset" : "");
	/* Main need not end where a block does. */
	left = end - start;
	return reader_add(r, start, left < d->block_size ? left : d->block_size);
}

int read_badblocks(struct reader *r)
{
	int rc;

	while ((rc = reader_line(r)) > 0) {
		const char *text = r->text;
		uint64_t block = 0;

		if (*text == 0 || *text == '#')
			continue;
		rc = reader_number(&text, false, &block);
		if (rc == -EINVAL || *text)
			return reader_refuse(r, "'%.40s' is no number of a block; give a list as "
					     "badblocks writes it, one number a line, or the right "
					     "--format", r->text);
		rc = add_block(r, block, rc == -ERANGE);
		if (rc < 0)
			return rc;
	}
	return rc;
}
