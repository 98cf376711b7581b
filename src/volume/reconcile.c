/*
 * What a crash, or somebody else, left: brought in order before anything is
 * served. Contract 10.
 *
 * After an orderly end nothing can be out of order but what was changed behind
 * our back, which check looks for: then only the superblocks are looked at. (An
 * end that leaves a table in doubt is not recorded as one: tables_in_doubt.) That
 * the database is no older copy is asked always: every opening confirms its own
 * epoch on every spare.
 *
 * Nothing is changed before it is known that nothing contradicts. Afterwards no
 * spare has a descriptor of an earlier life that is not committed, which is
 * what allows confirm_epoch to say so.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/cross.h"
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

static int cross(struct volume *v, struct spare *spare, bool repair, struct cross *ret)
{
	*ret = (struct cross){
		.store = v->store,
		.map = v->map,
		.spare = spare,
		.confirmed = spare_confirmed(spare),
		.repair = repair,
		.found = repair ? log_unusual : NULL,
	};
	return cross_check(ret);
}

static int examine(struct volume *v, struct spare *spare, bool *ret_repair, struct error *err)
{
	struct cross c;
	int rc = cross(v, spare, false, &c);

	if (rc < 0)
		return error_set(err, -rc, "cannot compare the slot table of spare %u with the "
				 "database (%s); check its disk", spare_id(spare), errno_name(-rc));
	if (c.contradictions)
		return error_set(err, EUCLEAN, "spare %u and the database contradict each other; "
				 "see 'remapctl check', and make the database anew with 'remapctl "
				 "rebuild --force'", spare_id(spare));
	*ret_repair = c.repairable > 0;
	return 0;
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
	int rc = cross(v, spare, true, &c);

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

int reconcile(struct volume *v, struct error *err)
{
	uint64_t opens = store_volume(v->store)->opens;
	enum store_life last = STORE_UNCLEAN;
	CLEANUP_FREE bool *wrong = calloc(spare_set_count(&v->spares) + 1, sizeof(*wrong));
	int rc = store_last_life(v->store, &last);

	if (!wrong)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (rc < 0)
		return error_set(err, -rc, "cannot read the history; check the disk of the "
				 "database");
	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		rc = spare_check_age(v->spares.all[i], opens, last == STORE_CLOSED, err);
		if (rc < 0)
			return rc;
	}
	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++)
		if (last != STORE_CLOSED || spare_may_be_behind(v->spares.all[i]))
			rc = examine(v, v->spares.all[i], &wrong[i], err);
	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++)
		rc = wrong[i] ? repair(v, v->spares.all[i]) : 0;
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

int confirm_epoch(struct volume *v)
{
	uint64_t first = store_volume(v->store)->opens << SEQUENCE_EPOCH;

	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		struct spare *spare = v->spares.all[i];
		int rc = 0;

		if (spare_failed(spare))
			continue;
		/*
		 * What the life before cleared may not be durable yet: a power cut
		 * must not keep the number and lose that.
		 */
		rc = spare_flush(spare);
		rc = rc < 0 ? rc : spare_confirm(spare, first);
		rc = rc < 0 ? rc : spare_flush(spare);
		if (rc < 0 && (rc == -ENOMEM || spare_unconfirm(spare, first) < 0))
			return -ENOMEM;
		if (rc < 0) {
			log_error("the superblocks of spare %u cannot be written (%s): its free "
				  "slots are not used; replace this spare", spare_id(spare),
				  errno_name(-rc));
			spare_fail(spare, SPARE_FAILING, -rc);
		}
	}
	return 0;
}

void tell_damaged_superblock(struct volume *v, const struct spare *spare, const char *path)
{
	log_warning("one of the two superblocks of spare '%s' is damaged and is written anew: "
		    "replace this spare soon if that happens again", path);
	note(v, spare, "a damaged superblock was written anew from the other one");
}
