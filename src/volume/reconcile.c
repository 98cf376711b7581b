/*
 * What a crash, or somebody else, left: brought in order before anything is
 * served. Contract 10.
 *
 * After an orderly end nothing can be out of order but what was changed behind
 * our back, which check looks for: then only the superblocks are looked at. (An
 * end that leaves a table in doubt is not recorded as one: tables_in_doubt.) That
 * neither the database nor a spare is an older copy is asked always: see age.c.
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
	int rc = spare_compare(v->store, v->map, spare, true, log_unusual, NULL, &c);

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

static int judge_one(struct volume *v, struct spare *spare, bool *ret_wrong, struct error *err)
{
	struct spare_judgement judgement;
	int rc = 0;

	/* One that is kept as gone holds nothing that could be compared. */
	if (spare_failed(spare))
		return 0;
	rc = spare_judge(v->store, v->map, spare, &judgement, err);
	*ret_wrong = rc == 0 && judgement.repair;
	return rc < 0 && do_without(v, spare, &judgement, -rc, err) ? 0 : rc;
}

int reconcile(struct volume *v, struct error *err)
{
	CLEANUP_FREE bool *wrong = calloc(spare_set_count(&v->spares) + 1, sizeof(*wrong));
	int rc = 0;

	if (!wrong)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++)
		rc = judge_one(v, v->spares.all[i], &wrong[i], err);
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

void tell_damaged_superblock(struct volume *v, const struct spare *spare, const char *path)
{
	log_warning("one of the two superblocks of spare '%s' is damaged and is written anew: "
		    "replace this spare soon if that happens again", path);
	note(v, spare, "a damaged superblock was written anew from the other one");
}
