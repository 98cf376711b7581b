/*
 * A spare that is open: its slots, which of them are free, and their data.
 *
 * Free slots are found by going round (next fit): sectors that fail one after
 * the other get slots one after the other, and a slot just given back is the
 * last to be used again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "spare/spare_impl.h"

static bool bit_get(const uint64_t *bits, slot_t i)
{
	return bits[i / 64] >> (i % 64) & 1;
}

static void bit_set(uint64_t *bits, slot_t i)
{
	bits[i / 64] |= (uint64_t)1 << (i % 64);
}

static void bit_clear(uint64_t *bits, slot_t i)
{
	bits[i / 64] &= ~((uint64_t)1 << (i % 64));
}

/* ---- life ------------------------------------------------------------------- */

bool spare_same(const struct spare_identity *a, const struct spare_identity *b)
{
	return uuid_compare(a->volume, b->volume) == 0 && uuid_compare(a->spare, b->spare) == 0 &&
	       a->id == b->id && a->sector_size == b->sector_size &&
	       a->main_sectors == b->main_sectors;
}

/* other: newer, where there is no other one. */
static void note_found(struct spare *s, const struct spare_copy *newer,
		       const struct spare_copy *other)
{
	s->confirmed = s->written = newer->confirmed;
	s->stamp = newer->stamp;
	if (other->stamp.number == newer->stamp.number)
		s->stamp.everywhere |= other->stamp.everywhere;
	s->found = (struct spare_found){
		.stamp = s->stamp,
		.other_stamp = other->stamp,
		.confirmed = newer->confirmed,
		.vouched = other->confirmed,
	};
	s->given = newer->stamp.number;
	s->stamped = newer != other && other->stamp.number == newer->stamp.number ? 2 : 1;
}

/*
 * A superblock that is not there was damaged, or another spare took its place. What that
 * one has written is no longer ours: to write the superblock anew would let both serve.
 */
static int check_intruder(struct spare *s, const struct spare_copy copy[2], struct error *err)
{
	char uuid[UUID_STR_LEN] = "";
	struct spare_identity other;
	int found = 0;

	for (int i = 0; found == 0 && i < 2; i++) {
		if (copy[i].error == 0 ? spare_same(&copy[i].identity, &s->identity)
				       : copy[i].error != -ENOENT)
			continue;
		other = copy[i].identity;
		found = copy[i].error == 0 ? 1
			: spare_find_intruder(s->device, s->identity.spare,
					      i ? s->layout.backup_offset : 0, &other);
	}
	if (found < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (found == 0)
		return 0;
	uuid_unparse_lower(other.volume, uuid);
	return error_set(err, EBADMSG, "spare %u was overwritten in part: a spare of volume %s lies "
			 "over it; give this one up with 'remapctl retire-spare --lost', or that one",
			 s->identity.id, uuid);
}

static int check_identity(struct spare *s, bool *ret_damaged, struct error *err)
{
	const struct spare_identity *expected = &s->identity;
	struct spare_copy copy[2];
	int rc = spare_inspect(s->device, copy);

	if (rc == -ENOENT)
		return error_set(err, EBADMSG, "spare %u is too small to be the one of this volume; "
				 "give the right file back its place", expected->id);
	if (rc < 0)
		return error_set(err, -rc, "out of memory; end other programs");
	rc = copy[0].error == 0 || copy[0].error == -EPROTO ? copy[0].error : copy[1].error;
	if (rc == -EPROTO && copy[1].error != 0)
		return error_set(err, EPROTO, "spare %u has a newer format; use a newer remapfs",
				 expected->id);
	if (copy[0].error < 0 && copy[1].error < 0)
		return error_set(err, EBADMSG, "spare %u carries no remapfs superblock (%s); give "
				 "the right file back its place, or if it is the right one, rewrite "
				 "them with 'remapctl check --repair'", expected->id,
				 errno_name(-rc));
	s->older = copy[0].error < 0 ? 0 : 1;
	if (!spare_same(&copy[!s->older].identity, expected))
		return error_set(err, EBADMSG, "spare %u belongs to another volume or is another "
				 "spare; give the right file back its place, or tell the volume the "
				 "path that it has now with 'remapctl set-path --spare'",
				 expected->id);
	*ret_damaged = copy[0].error < 0 || copy[1].error < 0 ||
		       !spare_same(&copy[s->older].identity, expected);
	if (*ret_damaged && (rc = check_intruder(s, copy, err)) < 0)
		return rc;
	if (!*ret_damaged && copy[s->older].confirmed > copy[!s->older].confirmed)
		s->older = !s->older;
	s->confirmed = s->written = copy[!s->older].confirmed;
	note_found(s, &copy[!s->older], &copy[*ret_damaged ? !s->older : s->older]);
	s->found.damaged = *ret_damaged;
	return 0;
}

static int allocate_state(struct spare *s)
{
	size_t words = (size_t)((s->layout.slots + 63) / 64);

	s->taken = calloc(words, sizeof(*s->taken));
	s->bad = calloc(words, sizeof(*s->bad));
	if (!s->taken || !s->bad ||
	    posix_memalign(&s->table, SPARE_BLOCK, s->identity.sector_size) != 0)
		return -ENOMEM;
	s->table_at = NO_TABLE;
	/* What a daemon that was killed had written here may not be durable yet. */
	note_unflushed(s);
	return 0;
}

/* NULL, and device is closed: no memory. */
static struct spare *new_spare(struct device *device, const struct spare_identity *expected)
{
	struct spare *s = calloc(1, sizeof(*s));

	if (!s) {
		device_close(device);
		return NULL;
	}
	s->device = device;
	s->unflushed = &s->own_unflushed;
	s->identity = *expected;
	atomic_store(&s->no_room_at, NO_SLOT_KNOWN);
	pthread_mutex_init(&s->lock, NULL);
	pthread_mutex_init(&s->flushing, NULL);
	pthread_mutex_init(&s->superblocks, NULL);
	s->layout = spare_layout(device->geometry.size, expected->sector_size);
	return s;
}

int spare_open(struct device *device, const struct spare_identity *expected, struct spare **ret,
	       bool *ret_damaged, struct error *err)
{
	struct spare *s = new_spare(device, expected);
	int rc = s ? check_identity(s, ret_damaged, err) : -ENOMEM;

	if (rc == 0)
		rc = allocate_state(s);
	if (rc == -ENOMEM)
		error_set(err, ENOMEM, "out of memory; end other programs");
	if (rc < 0) {
		spare_close(s);
		return rc;
	}
	*ret = s;
	return 0;
}

int spare_open_gone(struct device *device, const struct spare_identity *expected, int error,
		    struct spare **ret)
{
	struct spare *s = new_spare(device, expected);

	if (!s || allocate_state(s) < 0) {
		spare_close(s);
		return -ENOMEM;
	}
	spare_fail(s, SPARE_GONE, error);
	spare_hold(s);
	*ret = s;
	return 0;
}

void spare_close(struct spare *s)
{
	if (!s)
		return;
	device_close(s->device);
	pthread_mutex_destroy(&s->lock);
	pthread_mutex_destroy(&s->flushing);
	pthread_mutex_destroy(&s->superblocks);
	free(s->taken);
	free(s->bad);
	free(s->runs);
	free(s->table);
	free(s->path);
	free(s);
}

spare_id_t spare_id(const struct spare *s)
{
	return s->identity.id;
}

struct device *spare_device(struct spare *s)
{
	return s->device;
}

/* ---- allocation ---------------------------------------------------------------- */

struct spare_counts spare_counts(struct spare *s)
{
	HOLD_LOCK(&s->lock);

	return (struct spare_counts){
		.slots = s->layout.slots,
		.used = s->used_count,
		.bad = s->bad_count,
		.free = s->layout.slots - s->used_count - s->bad_count,
	};
}

/* The first free slot in [from, to); to when there is none. */
static slot_t find_free(const struct spare *s, slot_t from, slot_t to)
{
	while (from < to) {
		if (from % 64 == 0 && s->taken[from / 64] == UINT64_MAX)
			from += 64;
		else if (bit_get(s->taken, from))
			from++;
		else
			return from;
	}
	return to;
}

uint64_t spare_allocate(struct spare *s, uint64_t want, slot_t *ret_first)
{
	HOLD_LOCK(&s->lock);
	slot_t slots = s->layout.slots, first, end;

	if (spare_failed(s) || spare_state(s) != SPARE_ACTIVE || s->used_count + s->bad_count == slots)
		return 0;
	first = find_free(s, s->next, slots);
	if (first == slots)
		first = find_free(s, 0, s->next);
	for (end = first; end < slots && end - first < want && !bit_get(s->taken, end); end++)
		bit_set(s->taken, end);
	s->used_count += end - first;
	s->next = end == slots ? 0 : end;
	*ret_first = first;
	return end - first;
}

void spare_release(struct spare *s, slot_t first, uint64_t count)
{
	HOLD_LOCK(&s->lock);

	for (slot_t i = first; i < first + count; i++) {
		if (!bit_get(s->taken, i))
			continue;
		if (bit_get(s->bad, i))
			s->bad_count--;
		else
			s->used_count--;
		bit_clear(s->taken, i);
		bit_clear(s->bad, i);
	}
}

static bool in_range(const struct spare *s, slot_t first, uint64_t count)
{
	return first <= s->layout.slots && count <= s->layout.slots - first;
}

int spare_take(struct spare *s, slot_t first, uint64_t count)
{
	HOLD_LOCK(&s->lock);

	if (!in_range(s, first, count))
		return -ERANGE;
	for (slot_t i = first; i < first + count; i++)
		if (bit_get(s->taken, i))
			return -EEXIST;
	for (slot_t i = first; i < first + count; i++)
		bit_set(s->taken, i);
	s->used_count += count;
	return 0;
}

void spare_mark_bad(struct spare *s, slot_t first, uint64_t count)
{
	HOLD_LOCK(&s->lock);

	for (slot_t i = first; i < first + count; i++) {
		if (bit_get(s->bad, i))
			continue;
		if (bit_get(s->taken, i))
			s->used_count--;
		bit_set(s->taken, i);
		bit_set(s->bad, i);
		s->bad_count++;
	}
}

bool spare_slot_bad(struct spare *s, slot_t slot)
{
	HOLD_LOCK(&s->lock);

	return bit_get(s->bad, slot);
}

void spare_set_state(struct spare *s, enum spare_state state)
{
	atomic_store(&s->state, state);
}

enum spare_state spare_state(const struct spare *s)
{
	return atomic_load(&s->state);
}

/* ---- I/O on slots ---------------------------------------------------------------- */

int spare_read(struct spare *s, void *buf, slot_t first, uint64_t count)
{
	uint32_t size = s->identity.sector_size;

	return device_read(s->device, buf, count * size, s->layout.slots_offset + first * size);
}

struct device *spare_place(const struct spare *s, slot_t first, uint64_t *ret_offset)
{
	*ret_offset = s->layout.slots_offset + first * s->identity.sector_size;
	return s->device;
}

int spare_write(struct spare *s, const void *buf, slot_t first, uint64_t count)
{
	uint32_t size = s->identity.sector_size;
	int rc = device_write(s->device, buf, count * size, s->layout.slots_offset + first * size);

	/*
	 * After the write: a flush that begins once this returned must see it. A device that is
	 * gone takes nothing that could be flushed.
	 */
	if (rc != -ENODEV)
		note_unflushed(s);
	if (rc == -ENOSPC || rc == -EDQUOT) {
		atomic_store(&s->no_room_count, count);
		atomic_store(&s->no_room_at, first);
	}
	return rc;
}

int spare_flush(struct spare *s)
{
	HOLD_LOCK(&s->flushing);
	uint64_t written;
	int rc;

	if (s->left)
		return 0;
	if (atomic_load(&s->flush_failed))
		return -EIO;
	if (atomic_load(s->unflushed) == FLUSHED)
		return 0;
	atomic_store(s->unflushed, FLUSHING);
	written = atomic_load(&s->written);
	rc = device_flush(s->device);
	if (rc == 0) {
		/* Unless something was written meanwhile. */
		atomic_compare_exchange_strong(s->unflushed, &(unsigned char){FLUSHING}, FLUSHED);
		note_flushed(s, written);
		return 0;
	}
	atomic_store(&s->flush_failed, true);
	if (s->did_not_flush)
		s->did_not_flush(s->did_not_flush_context, s, -rc);
	return -EIO;
}

void spare_note_unflushed_at(struct spare *s, atomic_uchar *mark)
{
	/* Of one that is gone it tells what the process before had not flushed. */
	if (spare_health(s) != SPARE_GONE)
		atomic_store(mark, UNFLUSHED);
	s->unflushed = mark;
}

void spare_on_failed_flush(struct spare *s, spare_flush_fn fn, void *context)
{
	s->did_not_flush = fn;
	s->did_not_flush_context = context;
}

uint64_t copy_offset(const struct spare *s, unsigned copy)
{
	return copy == 0 ? 0 : s->layout.backup_offset;
}

int spare_alive(struct spare *s, bool writing)
{
	/* What is put back must not be older than what was written meanwhile. */
	HOLD_LOCK(&s->superblocks);
	int rc;

	if (s->left)
		return -ENODEV;
	rc = superblock_check(s->device, copy_offset(s, 0), writing);
	return rc == 0 ? 0 : superblock_check(s->device, copy_offset(s, 1), writing);
}
