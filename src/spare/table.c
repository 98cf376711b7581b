/*
 * The slot table: which sector each slot holds, as the spare itself tells it.
 *
 * A descriptor is written after its data and before the one flush that a remap
 * waits for, so it costs no flush of its own. Table sectors are rewritten
 * whole; the one touched last is kept, since slots are given out in order, and
 * what is described in it is written when no more of it is to come.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "spare/spare_impl.h"

static uint32_t per_sector(const struct spare *s)
{
	return s->identity.sector_size / DESCRIPTOR_BYTES;
}

static int save(struct spare *s)
{
	int rc = device_write(s->device, s->table, s->identity.sector_size, s->table_at);

	s->unsaved = false;
	note_unflushed(s);
	/* What a failed write left behind is not known: read it anew. */
	if (rc < 0)
		s->table_at = NO_TABLE;
	return rc;
}

int spare_save_table(struct spare *s)
{
	return s->unsaved ? save(s) : 0;
}

static int load(struct spare *s, slot_t slot)
{
	uint64_t at = s->layout.table_offset +
		      slot / per_sector(s) * s->identity.sector_size;
	int rc;

	if (s->table_at == at)
		return 0;
	rc = spare_save_table(s);
	if (rc < 0)
		return rc;
	s->table_at = NO_TABLE;
	rc = device_read(s->device, s->table, s->identity.sector_size, at);
	if (rc == 0)
		s->table_at = at;
	return rc;
}

int spare_describe(struct spare *s, slot_t first, uint64_t count, sector_t sector,
		   uint64_t sequence, const uint32_t *sums)
{
	int rc = note_described(s, first, count, sequence);

	for (uint64_t i = 0; rc == 0 && i < count; i++) {
		struct descriptor d = {.sector = sector + i, .sequence = sequence, .data_sum = sums[i]};

		rc = load(s, first + i);
		if (rc < 0)
			break;
		descriptor_encode((char *)s->table + (first + i) % per_sector(s) * DESCRIPTOR_BYTES,
				  &s->identity, first + i, &d);
		s->unsaved = true;
	}
	return rc;
}

/*
 * Clears the raw descriptor of a slot. That it was there stays to be seen: a row that
 * turns out to be durable then tells a spare that had it from an older copy.
 */
static void clear_descriptor(struct spare *s, char *at, slot_t slot)
{
	struct descriptor d;
	int rc = descriptor_decode(at, &s->identity, slot, &d);

	d.revoked = true;
	if (rc == 0)
		descriptor_encode(at, &s->identity, slot, &d);
	else if (rc != -ECANCELED)
		memset(at, 0, DESCRIPTOR_BYTES);
}

/*
 * Clears raw descriptors (to: what they were), or exchanges them for what they were
 * (from), table sector by table sector. *ret_done: how many were.
 */
static int exchange(struct spare *s, slot_t first, uint64_t count, char *to, const char *from,
		    uint64_t *ret_done)
{
	uint64_t i = 0;
	int rc = 0;

	while (rc == 0 && i < count) {
		slot_t slot = first + i, in_sector = slot % per_sector(s);
		uint64_t n = per_sector(s) - in_sector;
		char *at;

		n = n < count - i ? n : count - i;
		rc = load(s, slot);
		if (rc < 0)
			break;
		at = (char *)s->table + in_sector * DESCRIPTOR_BYTES;
		if (to)
			memcpy(to + i * DESCRIPTOR_BYTES, at, n * DESCRIPTOR_BYTES);
		if (from)
			memcpy(at, from + i * DESCRIPTOR_BYTES, n * DESCRIPTOR_BYTES);
		for (uint64_t j = 0; !from && j < n; j++)
			clear_descriptor(s, at + j * DESCRIPTOR_BYTES, slot + j);
		/* A write that failed may have arrived: it is to be undone as well. */
		i += n;
		rc = save(s);
	}
	*ret_done = i;
	return rc;
}

int spare_take_out(struct spare *s, slot_t first, uint64_t count, void **ret)
{
	char *taken = malloc(count * DESCRIPTOR_BYTES);
	uint64_t done;
	int rc;

	if (!taken)
		return -ENOMEM;
	rc = exchange(s, first, count, taken, NULL, &done);
	if (rc < 0) {
		spare_put_back(s, first, done, taken);
		free(taken);
		return rc;
	}
	*ret = taken;
	return 0;
}

int spare_put_back(struct spare *s, slot_t first, uint64_t count, const void *taken)
{
	uint64_t done;
	int rc = exchange(s, first, count, NULL, taken, &done);

	/* While a rebuild does not find them, what they hold must not change. */
	if (rc < 0 && note_described(s, first, count, UINT64_MAX) < 0)
		spare_hold(s);
	return rc;
}

/* The first bad slot from there on, or their number. */
static slot_t next_bad(struct spare *s, slot_t slot)
{
	HOLD_LOCK(&s->lock);

	while (slot < s->layout.slots && !(s->bad[slot / 64] >> slot % 64 & 1))
		slot = s->bad[slot / 64] >> slot % 64 ? slot + 1 : (slot / 64 + 1) * 64;
	return slot < s->layout.slots ? slot : s->layout.slots;
}

int spare_each_bad(struct spare *s, int (*fn)(void *context, slot_t, sector_t), void *context)
{
	for (slot_t slot = next_bad(s, 0); slot < s->layout.slots; slot = next_bad(s, slot + 1)) {
		struct descriptor d;
		int rc = load(s, slot);

		if (rc < 0)
			return rc;
		if (descriptor_decode((char *)s->table + slot % per_sector(s) * DESCRIPTOR_BYTES,
				      &s->identity, slot, &d) < 0)
			continue;
		rc = fn(context, slot, d.sector);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* Clears those of the table sector of slot `first` up to `end` that are of sequence. */
static int clear_in_sector(struct spare *s, slot_t first, slot_t end, uint64_t sequence)
{
	bool found = false;
	int rc = load(s, first);

	/* It may be read again one day, and be there. */
	if (rc < 0)
		return rc;
	for (slot_t slot = first; slot < end; slot++) {
		char *at = (char *)s->table + slot % per_sector(s) * DESCRIPTOR_BYTES;
		struct descriptor d;

		if (descriptor_decode(at, &s->identity, slot, &d) < 0 || d.sequence != sequence)
			continue;
		clear_descriptor(s, at, slot);
		found = true;
	}
	return found ? save(s) : 0;
}

int spare_clear_sequence(struct spare *s, slot_t first, uint64_t count, uint64_t sequence)
{
	int result = 0;

	for (slot_t slot = first, end; slot < first + count; slot = end) {
		int rc;

		end = slot - slot % per_sector(s) + per_sector(s);
		end = end < first + count ? end : first + count;
		rc = clear_in_sector(s, slot, end, sequence);
		result = rc < 0 ? rc : result;
	}
	return result;
}

void spare_table_group(const struct spare *s, slot_t slot, slot_t *ret_first, uint64_t *ret_count)
{
	slot_t first = slot - slot % per_sector(s), left = s->layout.slots - first;

	*ret_first = first;
	*ret_count = left < per_sector(s) ? left : per_sector(s);
}
