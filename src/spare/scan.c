/*
 * The slot table read and repaired as a whole. Ten million slots are 320 MB:
 * it goes by in pieces, and only one is in memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "spare/spare_impl.h"

#define PIECE (1u << 20)

struct scan {
	struct spare *spare;
	int (*fn)(void *, struct slot_group *);
	void *context;
	char *piece;
};

/* raw NULL: it could not be read. */
static int give_group(struct scan *s, slot_t first, const char *raw)
{
	const struct spare *spare = s->spare;
	uint64_t left = spare->layout.slots - first;
	struct slot_group g = {.first = first, .unreadable = !raw};

	g.count = spare->identity.sector_size / DESCRIPTOR_BYTES;
	g.count = left < g.count ? left : g.count;
	for (uint64_t i = 0; i < g.count; i++) {
		struct slot_descriptor *to = &g.slots[i];
		struct descriptor d;
		int rc = raw ? descriptor_decode(raw + i * DESCRIPTOR_BYTES, &spare->identity,
						 first + i, &d) : -EBADMSG;

		to->state = rc == 0            ? DESCRIPTOR_VALID
			    : rc == -ENOENT    ? DESCRIPTOR_NONE
			    : rc == -ECANCELED ? DESCRIPTOR_REVOKED
					       : DESCRIPTOR_DAMAGED;
		if (rc == 0 || rc == -ECANCELED) {
			to->sector = d.sector;
			to->sequence = d.sequence;
			to->data_sum = d.data_sum;
		}
	}
	return s->fn(s->context, &g);
}

/* A piece that failed is read again sector by sector. */
static int give_piece(struct scan *s, uint64_t at, size_t length)
{
	struct spare *spare = s->spare;
	uint32_t size = spare->identity.sector_size;
	uint64_t offset = spare->layout.table_offset + at;
	int whole = device_read(spare->device, s->piece, length, offset);

	if (whole < 0 && !errno_is_media(-whole))
		return whole;
	for (size_t i = 0; i < length; i += size) {
		slot_t first = (at + i) / DESCRIPTOR_BYTES;
		int rc = whole < 0 ? device_read(spare->device, s->piece + i, size, offset + i) : 0;

		if (rc < 0 && !errno_is_media(-rc))
			return rc;
		/* What is left over at the end of the table describes no slot. */
		if (first >= spare->layout.slots)
			break;
		rc = give_group(s, first, rc < 0 ? NULL : s->piece + i);
		if (rc != 0)
			return rc;
	}
	return 0;
}

int spare_each_group(struct spare *spare, int (*fn)(void *context, struct slot_group *),
		     void *context)
{
	CLEANUP_FREE void *piece = NULL;
	uint64_t length = spare->layout.slots_offset - spare->layout.table_offset;
	struct scan s = {spare, fn, context, NULL};

	if (posix_memalign(&piece, SPARE_BLOCK, length < PIECE ? (size_t)length : PIECE) != 0)
		return -ENOMEM;
	s.piece = piece;
	for (uint64_t at = 0; at < length; at += PIECE) {
		int rc = give_piece(&s, at, length - at < PIECE ? (size_t)(length - at) : PIECE);

		if (rc != 0)
			return rc;
	}
	return 0;
}

int spare_write_group(struct spare *s, const struct slot_group *g)
{
	uint32_t size = s->identity.sector_size;
	CLEANUP_FREE char *block = aligned_alloc(SPARE_BLOCK, SPARE_BLOCK);
	int rc;

	if (!block)
		return -ENOMEM;
	memset(block, 0, SPARE_BLOCK);
	for (uint64_t i = 0; i < g->count; i++) {
		const struct slot_descriptor *from = &g->slots[i];
		struct descriptor d = {from->sector, from->sequence, from->data_sum,
				       from->state == DESCRIPTOR_REVOKED};

		if (from->state == DESCRIPTOR_VALID || from->state == DESCRIPTOR_REVOKED)
			descriptor_encode(block + i * DESCRIPTOR_BYTES, &s->identity, g->first + i,
					  &d);
	}
	s->table_at = NO_TABLE;
	s->unsaved = false;
	rc = device_write(s->device, block, size,
			  s->layout.table_offset + g->first * DESCRIPTOR_BYTES);
	note_unflushed(s);
	return rc;
}
