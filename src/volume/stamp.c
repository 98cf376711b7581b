/*
 * The stamp: a random number that every spare and the database are given anew by each
 * opening and each orderly end, so that a copy from before can be told (age.c).
 *
 *   the database takes the new stamp beside the old one
 *   each spare gets it in one superblock
 *   each spare gets it in the other one, which also says whether all have it
 *   the database forgets the old one
 *
 * Each step is durable before the next: so a crash at any instant leaves every spare
 * with one of the two that the database knows. A spare that could not be written keeps
 * its old stamp, and the database knows that as well. The second superblock is for a
 * rebuild, which has no database to ask: see rebuild.c.
 */
#include <errno.h>
#include <string.h>

#include "remapfs/log.h"
#include "volume/cross.h"
#include "volume/volume_impl.h"

static uint64_t new_stamp(void)
{
	uint64_t number = 0;

	/* Never 0, and one that SQLite holds. */
	while (number == 0) {
		uuid_t uuid;

		uuid_generate(uuid);
		memcpy(&number, uuid, sizeof(number));
		number &= INT64_MAX;
	}
	return number;
}

/* Of those that are here and have not left meanwhile. */
static struct spare *next_spare(struct volume *v, size_t *index)
{
	while (*index < spare_set_count(&v->spares)) {
		struct spare *spare = v->spares.all[(*index)++];

		if (spare_state(spare) < SPARE_RETIRED)
			return spare;
	}
	return NULL;
}

/* The second superblocks; `first` have it in one. */
static void stamp_others(struct volume *v, size_t first)
{
	struct spare *spare;

	v->stamp_everywhere = first == v->spares_in_use;
	for (size_t i = 0; (spare = next_spare(v, &i));) {
		unsigned copies;

		/* Where it cannot be written the database knows of one only. */
		if (spare_stamped(spare, &copies) == v->stamp)
			spare_stamp_other(spare, v->stamp_everywhere);
	}
}

/* ---- opening ----------------------------------------------------------------------- */

int stamp_announce(struct volume *v)
{
	struct spare *spare;
	int rc = 0;

	v->stamp = new_stamp();
	for (size_t i = 0; rc == 0 && (spare = next_spare(v, &i));) {
		unsigned copies;
		uint64_t old = spare_stamped(spare, &copies);

		/*
		 * What was read there may be in a cache alone, of a daemon that was killed. One
		 * that cannot be flushed will not be stamped, and has one of those it had.
		 */
		if (!spare_failed(spare) && spare_flush(spare) == 0)
			rc = store_set_stamp(v->store, spare_id(spare), old, v->stamp, copies);
	}
	return rc;
}

/* *ret_done: it has the stamp. -ENOMEM. */
static int stamp_one(struct volume *v, struct spare *spare, bool *ret_done)
{
	uint64_t first = store_volume(v->store)->opens << SEQUENCE_EPOCH;
	int rc;

	*ret_done = false;
	if (spare_failed(spare))
		return 0;
	/*
	 * stamp_announce flushed it, since a power cut must not keep the number and lose what
	 * the life before cleared. One that failed then fails here.
	 */
	rc = spare_flush(spare);
	rc = rc < 0 ? rc : spare_stamp(spare, v->stamp, first);
	if (rc < 0 && (rc == -ENOMEM || spare_unconfirm(spare, first) < 0))
		return -ENOMEM;
	if (rc < 0) {
		log_error("the superblocks of spare %u cannot be written (%s): its free slots are "
			  "not used; replace this spare", spare_id(spare), errno_name(-rc));
		spare_fail(spare, SPARE_FAILING, -rc);
	}
	*ret_done = rc == 0;
	return 0;
}

static int record_opening(struct volume *v)
{
	struct spare *spare;
	int rc = store_begin(v->store);

	for (size_t i = 0; rc == 0 && (spare = next_spare(v, &i));) {
		unsigned copies;

		if (spare_stamped(spare, &copies) != v->stamp)
			continue;
		rc = store_set_stamp(v->store, spare_id(spare), v->stamp, 0, copies);
		rc = rc < 0 ? rc : store_set_confirmed(v->store, spare_id(spare),
						       spare_confirmed(spare));
	}
	rc = rc < 0 ? rc : store_commit(v->store);
	if (rc < 0)
		store_rollback(v->store);
	return rc;
}

int stamp_opening(struct volume *v)
{
	struct spare *spare;
	size_t count = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (spare = next_spare(v, &i));) {
		bool done;

		rc = stamp_one(v, spare, &done);
		count += rc == 0 && done;
	}
	if (rc < 0)
		return rc;
	stamp_others(v, count);
	return record_opening(v);
}

/* ---- an orderly end ------------------------------------------------------------------ */

/* What the spares have now, and next beside it. */
static int note_stamps(struct volume *v, uint64_t next, struct change *ret)
{
	struct spare *spare;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (spare = next_spare(v, &i));) {
		unsigned copies;
		uint64_t now = spare_stamped(spare, &copies);

		rc = change_stamp(ret, spare_id(spare), now, next, copies);
	}
	return rc;
}

static int announce_end(struct volume *v)
{
	struct change c = {0};
	int rc;

	v->stamp = new_stamp();
	rc = note_stamps(v, v->stamp, &c);
	rc = rc < 0 ? rc : commit_change(&v->committer, &c);
	change_clear(&c);
	return rc;
}

int stamp_closing(struct volume *v, struct change *closed)
{
	int rc = announce_end(v);
	uint64_t last = rc < 0 ? 0 : commit_last_sequence(&v->committer);
	struct spare *spare;
	size_t count = 0;

	if (!last)
		return rc < 0 ? rc : -EIO;
	committer_enter(&v->committer);
	for (size_t i = 0; rc == 0 && (spare = next_spare(v, &i)); count++)
		rc = spare_stamp(spare, v->stamp, last);
	if (rc == 0)
		stamp_others(v, count);
	committer_leave(&v->committer);
	return rc < 0 ? rc : note_stamps(v, 0, closed);
}

/* ---- one that joins ------------------------------------------------------------------- */

static int record_joining(void *context, struct store *s)
{
	const struct change_stamp *c = context;

	return store_set_stamp(s, c->spare, c->stamp, 0, c->stamped);
}

int stamp_joining(struct volume *v, struct spare *spare)
{
	struct change_stamp c = {.spare = spare_id(spare), .stamp = v->stamp};
	int rc = spare_stamp(spare, v->stamp, store_volume(v->store)->opens << SEQUENCE_EPOCH);
	bool uncertain;

	if (rc < 0)
		return rc;
	spare_stamp_other(spare, v->stamp_everywhere);
	spare_stamped(spare, &c.stamped);
	/* Otherwise the database goes on taking none for it as well, with which it was empty. */
	commit_rows(&v->committer, record_joining, &c, &uncertain);
	return 0;
}
