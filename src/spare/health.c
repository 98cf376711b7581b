/*
 * Whether a spare does what is asked, and whether it does so again.
 *
 * It gets worse by what requests meet, and by a look each second that costs no I/O.
 * It gets better only where that is safe: the device never changed under its
 * descriptor, no flush failed, and its superblocks say what was last written there.
 * Then nothing that was acknowledged can be missing: what failed was not acknowledged.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "spare/spare_impl.h"

bool spare_fail(struct spare *s, enum spare_health health, int error)
{
	HOLD_LOCK(&s->lock);
	bool worse = health > atomic_load(&s->health);

	s->failures++;
	if (health != SPARE_NO_ROOM && health != SPARE_AWAY && health > atomic_load(&s->least))
		atomic_store(&s->least, health);
	if (!worse)
		return false;
	atomic_store(&s->error, error);
	atomic_store(&s->health, health);
	return true;
}

enum spare_health spare_health(const struct spare *s)
{
	return atomic_load(&s->health);
}

int spare_error(const struct spare *s)
{
	return atomic_load(&s->error);
}

bool spare_failed(const struct spare *s)
{
	return atomic_load(&s->health) != SPARE_WELL;
}

int spare_set_path(struct spare *s, const char *path)
{
	s->path = strdup(path);
	return s->path ? 0 : -ENOMEM;
}

const char *spare_path(const struct spare *s)
{
	return s->path ? s->path : "";
}

int spare_look(struct spare *s)
{
	/* While that is held, its device is not closed. */
	HOLD_LOCK(&s->superblocks);

	return s->left ? 0 : device_present(s->device);
}

/* ---- getting better ------------------------------------------------------------- */

/* Its superblocks are those that were last written, and can be written. The lock is held. */
static bool is_as_it_was(struct spare *s)
{
	uint64_t written = atomic_load(&s->written);
	struct spare_copy copy[2];

	if (s->wiped || atomic_load(&s->flush_failed) || spare_inspect(s->device, copy) < 0)
		return false;
	for (int i = 0; i < 2; i++)
		if (copy[i].error < 0 || !spare_same(&copy[i].identity, &s->identity) ||
		    copy[i].confirmed > written)
			return false;
	return (copy[0].confirmed == written || copy[1].confirmed == written) &&
	       superblock_check(s->device, copy_offset(s, s->older), true) == 0;
}

/* Zeros find room in the slot, if it is free. Whether it is bad is not asked. */
static bool takes_zeros(struct spare *s, slot_t slot, const void *zeros)
{
	uint32_t size = s->identity.sector_size;
	int rc;

	if (spare_take(s, slot, 1) < 0)
		return true;
	rc = device_write(s->device, zeros, size, s->layout.slots_offset + slot * size);
	note_unflushed(s);
	spare_release(s, slot, 1);
	return rc != -ENOSPC && rc != -EDQUOT;
}

/* Where a write found no room there is some now, in each of its slots. */
static bool has_room(struct spare *s)
{
	slot_t first = atomic_load(&s->no_room_at);
	uint64_t left = first == NO_SLOT_KNOWN ? 0 : atomic_load(&s->no_room_count);
	CLEANUP_FREE void *zeros = NULL;

	if (posix_memalign(&zeros, SPARE_BLOCK, s->identity.sector_size) != 0)
		return false;
	memset(zeros, 0, s->identity.sector_size);
	while (left > 0)
		if (!takes_zeros(s, first + --left, zeros))
			return false;
	return true;
}

static uint64_t failures_known(struct spare *s)
{
	HOLD_LOCK(&s->lock);

	return s->failures;
}

/* Unless it failed while it was looked at: then it has to be looked at again. */
static bool get_better(struct spare *s, uint64_t known)
{
	HOLD_LOCK(&s->lock);

	if (s->failures != known)
		return false;
	atomic_store(&s->no_room_at, NO_SLOT_KNOWN);
	atomic_store(&s->health, atomic_load(&s->least));
	return true;
}

bool spare_recover(struct spare *s)
{
	uint64_t known = failures_known(s);
	enum spare_health was = atomic_load(&s->health);

	if (was == atomic_load(&s->least))
		return false;
	HOLD_LOCK(&s->superblocks);
	if (s->left || !is_as_it_was(s) || (was == SPARE_NO_ROOM && !has_room(s)))
		return false;
	return get_better(s, known);
}
