/*
 * The confirmed sequence: which descriptors a rebuild may believe as they are.
 *
 *   Every descriptor up to it is of a committed change, or durably cleared.
 *
 * A descriptor above it is believed only while its slot holds what was first
 * written there. So a slot must not be overwritten before it is confirmed, and
 * `runs` knows those that are not. They are few: each round of the committing
 * thread confirms the rounds before it. That makes a list cheaper than a bit
 * for each slot.
 *
 * The number goes into one superblock at a time, the older one, so that a torn
 * write loses neither the other copy nor what that confirms.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "spare/spare_impl.h"

#define LEAVE_MS  1000
#define LEAVE_TRY 5 /* ms */

int note_described(struct spare *s, slot_t first, uint64_t count, uint64_t sequence)
{
	HOLD_LOCK(&s->lock);

	if (s->run_count == s->run_room) {
		size_t room = s->run_room * 2 + 16;
		struct run *more = realloc(s->runs, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->runs = more;
		s->run_room = room;
	}
	s->runs[s->run_count++] = (struct run){first, count, sequence};
	return 0;
}

void note_flushed(struct spare *s, uint64_t sequence)
{
	HOLD_LOCK(&s->lock);
	size_t kept = 0;

	if (sequence <= atomic_load(&s->confirmed))
		return;
	atomic_store(&s->confirmed, sequence);
	for (size_t i = 0; i < s->run_count; i++)
		if (s->runs[i].sequence > sequence)
			s->runs[kept++] = s->runs[i];
	atomic_store(&s->run_count, kept);
}

int spare_unconfirm(struct spare *s, uint64_t sequence)
{
	return note_described(s, 0, s->layout.slots, sequence);
}

void spare_hold(struct spare *s)
{
	atomic_store(&s->held, true);
}

bool spare_unconfirmed(struct spare *s, slot_t first, uint64_t count)
{
	if (atomic_load(&s->held))
		return true;
	if (atomic_load(&s->run_count) == 0)
		return false;
	HOLD_LOCK(&s->lock);
	for (size_t i = 0; i < s->run_count; i++)
		if (s->runs[i].first < first + count &&
		    first < s->runs[i].first + s->runs[i].count)
			return true;
	return false;
}

uint64_t spare_confirmed(const struct spare *s)
{
	return atomic_load(&s->confirmed);
}

const struct spare_found *spare_found(const struct spare *s)
{
	return &s->found;
}

uint64_t spare_unrecorded(struct spare *s)
{
	uint64_t confirmed = spare_confirmed(s);

	if (confirmed == s->recorded)
		return 0;
	s->recorded = confirmed;
	return confirmed;
}

void spare_not_recorded(struct spare *s)
{
	s->recorded = 0;
}

/* The lock is held. */
static int rewrite_older(struct spare *s)
{
	int rc;

	if (s->wiped)
		return 0;
	rc = superblock_write(s->device, copy_offset(s, s->older), &s->identity,
			      atomic_load(&s->written), s->stamp);
	if (rc == 0)
		s->older = !s->older;
	note_unflushed(s);
	return rc;
}

int spare_rewrite_superblock(struct spare *s)
{
	HOLD_LOCK(&s->superblocks);

	return rewrite_older(s);
}

/*
 * Both, since nothing tells which of two with the same sequence is the newer
 * one; one after the other, since a write may be torn.
 */
int spare_set_members(struct spare *s, uint32_t spares, uint32_t in_use)
{
	HOLD_LOCK(&s->superblocks);
	int rc = 0;

	s->identity.spares = spares;
	s->identity.in_use = in_use;
	for (int copy = 0; rc == 0 && copy < 2; copy++) {
		rc = rewrite_older(s);
		rc = rc < 0 ? rc : spare_flush(s);
	}
	return rc;
}

int spare_wipe(struct spare *s)
{
	HOLD_LOCK(&s->superblocks);

	s->wiped = true;
	return superblocks_wipe(s->device);
}

bool spare_leave(struct spare *s)
{
	const struct timespec pause = {.tv_nsec = LEAVE_TRY * 1000000};
	int tries = LEAVE_MS / LEAVE_TRY;

	/* In turns: ThreadSanitizer does not know pthread_mutex_clocklock. */
	while (pthread_mutex_trylock(&s->superblocks) != 0) {
		if (tries-- == 0)
			return false;
		nanosleep(&pause, NULL);
	}
	s->wiped = true;
	pthread_mutex_lock(&s->flushing);
	s->left = true;
	pthread_mutex_unlock(&s->flushing);
	pthread_mutex_unlock(&s->superblocks);
	return true;
}

/* The lock is held. */
static int confirm(struct spare *s, uint64_t sequence)
{
	int rc;

	if (s->wiped || atomic_load(&s->held) || sequence <= atomic_load(&s->written))
		return 0;
	rc = superblock_write(s->device, copy_offset(s, s->older), &s->identity, sequence, s->stamp);
	/* That one cannot be written: better the other one alone than none. */
	if (rc < 0 && rc != -ENOMEM) {
		s->older = !s->older;
		rc = superblock_write(s->device, copy_offset(s, s->older), &s->identity, sequence,
				      s->stamp);
	}
	if (rc == 0) {
		s->older = !s->older;
		atomic_store(&s->written, sequence);
	}
	/* After the write: a flush that begins once this returned must see it. */
	note_unflushed(s);
	return rc;
}

int spare_confirm(struct spare *s, uint64_t sequence)
{
	HOLD_LOCK(&s->superblocks);

	return confirm(s, sequence);
}

int spare_stamp(struct spare *s, uint64_t number, uint64_t sequence)
{
	HOLD_LOCK(&s->superblocks);
	int rc;

	s->stamp = (struct spare_stamp){.number = number};
	rc = confirm(s, sequence);
	rc = rc < 0 ? rc : atomic_load(&s->written) < sequence ? -EIO : spare_flush(s);
	if (rc == 0) {
		s->given = number;
		s->stamped = 1;
	}
	return rc;
}

int spare_stamp_other(struct spare *s, bool everywhere)
{
	HOLD_LOCK(&s->superblocks);
	int rc;

	s->stamp.everywhere = everywhere;
	rc = rewrite_older(s);
	rc = rc < 0 ? rc : spare_flush(s);
	if (rc == 0)
		s->stamped = 2;
	return rc;
}

uint64_t spare_stamped(const struct spare *s, unsigned *ret_copies)
{
	*ret_copies = s->stamped;
	return s->given;
}
