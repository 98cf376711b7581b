/*
 * What a crash, or somebody else, left: brought in order before anything is
 * served. Contract 10.
 *
 * After an orderly end nothing can be out of order but what was changed behind
 * our back, which check looks for: then only the superblocks are looked at. (An
 * end that leaves a table in doubt is not recorded as one: tables_in_doubt.) That
 * neither the database nor a spare is an older copy is asked always: see age.c.
 *
 * Where the log of the database is gone, it may lack what was committed last. What the
 * spares hold of that, whole, is taken over: the newest place of each sector.
 *
 * Nothing is changed before it is known that nothing contradicts. Afterwards no
 * spare has a descriptor of an earlier life that is not committed, which is
 * what allows stamp_opening to say so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/age.h"
#include "volume/volume_impl.h"

static void log_finding(void *context, const struct finding *f)
{
	(void)context;
	log_warning("spare %u, slot %llu, %llu in all: %s; if that happens again, replace this spare",
		    f->spare, (unsigned long long)f->slot,
		    (unsigned long long)f->count, finding_text(f->kind));
}

/* Without what every crash leaves, which is nothing to be told of. */
static void log_unusual(void *context, const struct finding *f)
{
	if (f->kind != FINDING_LEFTOVER)
		log_finding(context, f);
}

static void note(struct volume *v, const struct spare *spare, const char *detail)
{
	struct event event = {.kind = EVENT_REPAIRED};

	snprintf(event.detail, sizeof(event.detail), "spare %u: %s", spare_id(spare), detail);
	change_event(&v->opening, &event);
}

/*
 * What cannot be repaired must not be built upon: no new slot is given out, and
 * none is overwritten, since what it holds may be all that tells a rebuild that
 * its descriptor is to be believed.
 */
static int repair(struct volume *v, struct spare *spare)
{
	struct cross c;
	int rc = spare_compare(v->store, v->map, spare, true, NULL, log_unusual, NULL, &c);

	rc = rc < 0 ? rc : c.left ? -EIO : spare_flush(spare);
	if (rc < 0) {
		log_error("the slot table of spare %u cannot be brought in order (%s): its free "
			  "slots are not used; replace this spare", spare_id(spare),
			  errno_name(-rc));
		spare_fail(spare, SPARE_FAILING, -rc);
		spare_hold(spare);
		return 0;
	}
	if (c.repaired)
		note(v, spare, "the slot table was brought in line with the database");
	return 0;
}

/* ---- what was lost with the log ----------------------------------------------------- */

/* By sector, the newest first. */
static int compare_unrecorded(const void *a, const void *b)
{
	const struct unrecorded_slot *x = a, *y = b;

	if (x->sector != y->sector)
		return x->sector < y->sector ? -1 : 1;
	return x->sequence > y->sequence ? -1 : x->sequence < y->sequence;
}

/* The next of *i: neighbours of one change are one row. */
static struct extent next_unrecorded(const struct unrecorded *u, size_t *i, uint64_t *ret_sequence)
{
	const struct unrecorded_slot *first = &u->all[*i];
	struct extent e = {.start = first->sector, .count = 1, .state = SECTOR_REMAPPED,
			   .spare = first->spare, .slot = first->slot};

	*ret_sequence = first->sequence;
	for (++*i; *i < u->count; ++*i) {
		const struct unrecorded_slot *next = &u->all[*i];

		if (next->sector == extent_end(&e) - 1)
			continue; /* an older place */
		if (next->sector != extent_end(&e) || next->spare != e.spare ||
		    next->slot != e.slot + e.count || next->sequence != first->sequence)
			break;
		e.count++;
	}
	return e;
}

static int record_unrecorded(struct volume *v, const struct unrecorded *u)
{
	int rc = store_begin(v->store);

	for (size_t i = 0; rc == 0 && i < u->count;) {
		uint64_t sequence;
		const struct extent e = next_unrecorded(u, &i, &sequence);

		rc = store_set_extent(v->store, &e, 0, sequence);
	}
	rc = rc < 0 ? rc : store_commit(v->store);
	if (rc < 0)
		store_rollback(v->store);
	return rc;
}

/* As if its row had been there when the map was loaded. -ENOMEM. */
static int serve(struct volume *v, const struct extent *e)
{
	for (sector_t s = e->start; s < extent_end(e); s++) {
		struct extent was = map_get(v->map, s, 1);

		if (was.state == SECTOR_REMAPPED)
			spare_release(volume_spare(v, was.spare), was.slot, 1);
	}
	spare_take(volume_spare(v, e->spare), e->slot, e->count);
	return map_set(v->map, e);
}

static void tell_unrecorded(struct volume *v, uint64_t sectors)
{
	struct event event = {.kind = EVENT_REPAIRED};

	log_warning("the log of the database (-wal) is gone: sectors that it lacked were found on "
		    "the spares: %llu", (unsigned long long)sectors);
	snprintf(event.detail, sizeof(event.detail), "the log of the database was gone: %llu sectors "
		 "that it lacked were found on the spares", (unsigned long long)sectors);
	change_event(&v->opening, &event);
}

static int take_over(struct volume *v, struct unrecorded *u, struct error *err)
{
	uint64_t sectors = 0;
	int rc;

	if (u->count == 0)
		return 0;
	qsort(u->all, u->count, sizeof(*u->all), compare_unrecorded);
	rc = record_unrecorded(v, u);
	if (rc < 0)
		return error_set(err, -rc, "the database cannot be written (%s); end who holds its "
				 "lock, or free the disk it is on", errno_name(-rc));
	store_log_found(v->store);
	for (size_t i = 0; rc == 0 && i < u->count;) {
		uint64_t sequence;
		const struct extent e = next_unrecorded(u, &i, &sequence);

		rc = serve(v, &e);
		sectors += e.count;
	}
	if (rc < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	tell_unrecorded(v, sectors);
	return 0;
}

/* ---- all of them ---------------------------------------------------------------------- */

static int judge_one(struct volume *v, struct spare *spare, struct unrecorded *u, bool *ret_wrong,
		     struct error *err)
{
	struct spare_judgement judgement;
	size_t before = u->count;
	int rc = 0;

	/* One that is kept as gone holds nothing that could be compared. */
	if (spare_failed(spare))
		return 0;
	rc = spare_judge(v->store, v->map, spare, u, &judgement, err);
	*ret_wrong = rc == 0 && judgement.repair;
	if (rc == 0 || !do_without(v, spare, &judgement, -rc, err))
		return rc;
	u->count = before;
	return 0;
}

static int judge_all(struct volume *v, struct unrecorded *u, bool *wrong, struct error *err)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++)
		rc = judge_one(v, v->spares.all[i], u, &wrong[i], err);
	rc = rc < 0 ? rc : take_over(v, u, err);
	/* Older places of what was taken over are past now. */
	for (size_t i = 0; u->count && i < spare_set_count(&v->spares); i++)
		wrong[i] = !spare_failed(v->spares.all[i]);
	return rc;
}

int reconcile(struct volume *v, struct error *err)
{
	CLEANUP_FREE bool *wrong = calloc(spare_set_count(&v->spares) + 1, sizeof(*wrong));
	struct unrecorded u = {0};
	int rc;

	if (!wrong)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	rc = judge_all(v, &u, wrong, err);
	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++)
		rc = wrong[i] ? repair(v, v->spares.all[i]) : 0;
	free(u.all);
	return rc;
}

bool tables_in_doubt(struct volume *v)
{
	/* One that failed was left with descriptors that could not be cleared. */
	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		if (spare_failed(v->spares.all[i]))
			return true;
	return atomic_load(&v->in_doubt);
}

void tell_damaged_superblock(struct volume *v, const struct spare *spare, const char *path)
{
	log_warning("one of the two superblocks of spare '%s' is damaged and is written anew: "
		    "replace this spare soon if that happens again", path);
	note(v, spare, "a damaged superblock was written anew from the other one");
}
