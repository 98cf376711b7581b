/*
 * What tells a spare from an older copy of it.
 *
 *   the stamp      is new with each opening and each orderly end, on the spare and in
 *                  the database: a copy from before the last of these has another one
 *   the watermark  each commit records how far the spare had durably confirmed before
 *                  it: a copy from before that confirms less
 *   the rows       a row of the last rounds, which nothing confirms yet, has its
 *                  descriptor on the spare, or a trace of it: a copy from before does
 *                  not (cross.c)
 *
 * After an orderly end the stamp alone decides. What these do not tell is in
 * docs/guarantees.md.
 */
#include "volume/age.h"

#include <errno.h>

#include "volume/identity.h"

static const struct store_spare *info_of(const struct store *s, spare_id_t id)
{
	size_t count, i = 0;
	const struct store_spare *spares = store_spares(s, &count);

	while (i + 1 < count && spares[i].id != id)
		i++;
	return &spares[i];
}

/* ---- superblocks ------------------------------------------------------------------- */

static bool fits(const struct store_spare *info, struct spare_stamp stamp)
{
	return stamp.number == info->stamp ||
	       (info->next_stamp && stamp.number == info->next_stamp);
}

/*
 * Both superblocks were lost, and are what a repair wrote that broke off before it confirmed:
 * every opening that stamps confirms as well. As where they are lost, the rows tell.
 */
static bool is_unfinished_repair(const struct spare_found *f, const struct store_spare *info)
{
	return !f->confirmed && f->stamp.number && f->stamp.number == info->stamp;
}

enum spare_age spare_age(const struct spare *spare, const struct store_spare *info, uint64_t opens)
{
	const struct spare_found *f = spare_found(spare);

	if (f->confirmed >> SEQUENCE_EPOCH > opens)
		return AGE_NEWER;
	/* A copy that was made meanwhile has superblocks of two times. */
	if (!fits(info, f->stamp) || (info->stamped == 2 && !fits(info, f->other_stamp)))
		return f->confirmed > info->confirmed ? AGE_NEWER : AGE_OLDER;
	if (is_unfinished_repair(f, info))
		return AGE_LAST;
	/* The later one may be the one that is damaged: then the rows tell. */
	return f->confirmed < info->confirmed && !f->damaged ? AGE_OLDER : AGE_LAST;
}

static int explain_age(const struct spare *spare, enum spare_age age, struct error *err)
{
	if (age == AGE_OLDER)
		return error_set(err, EUCLEAN, "spare %u is an older copy: it was not there when the "
				 "volume was last used; give back the one that was, or give this one "
				 "up: 'remapctl retire-spare --lost'", spare_id(spare));
	return error_set(err, EUCLEAN, "spare %u was used after this database was last: the "
			 "database is an older copy; give back the right one, or make it anew with "
			 "'remapctl rebuild --force'", spare_id(spare));
}

/* ---- rows -------------------------------------------------------------------------- */

/* Commits may be lost only where the last end was none, since that is one of them. */
static bool log_lost(struct store *store)
{
	enum store_life last = STORE_CLOSED;

	return store_last_life(store, &last) == 0 && last == STORE_UNCLEAN && store_log_lost(store);
}

int spare_compare(struct store *store, struct map *map, struct spare *spare, bool repair,
		  struct unrecorded *unrecorded, void (*found)(void *context, const struct finding *), void *context,
		  struct cross *ret)
{
	*ret = (struct cross){
		.store = store,
		.map = map,
		.spare = spare,
		.confirmed = spare_found(spare)->confirmed,
		.vouched = spare_found(spare)->vouched,
		.log_lost = log_lost(store),
		.unrecorded = unrecorded,
		.repair = repair,
		.found = found,
		.context = context,
	};
	/* It was lost with the superblocks: then nothing is left over. */
	if (!ret->confirmed)
		ret->confirmed = UINT64_MAX;
	return cross_check(ret);
}

static int judge_rows(struct store *store, struct map *map, struct spare *spare,
		      struct unrecorded *unrecorded, struct spare_judgement *ret,
		      struct error *err)
{
	struct cross c;
	int rc = spare_compare(store, map, spare, false, unrecorded, NULL, NULL, &c);

	if (rc < 0)
		return error_set(err, -rc, "cannot compare the slot table of spare %u with the "
				 "database (%s); check its disk", spare_id(spare), errno_name(-rc));
	ret->older = c.older > 0;
	if (c.older)
		return error_set(err, EUCLEAN, "spare %u is an older copy: it lacks what was moved to "
				 "it last; give back the one that was used last, or give this one "
				 "up: 'remapctl retire-spare --lost'", spare_id(spare));
	if (c.contradictions)
		return error_set(err, EUCLEAN, "spare %u and the database contradict each other; "
				 "see 'remapctl check', and make the database anew with 'remapctl "
				 "rebuild --force'", spare_id(spare));
	ret->repair = c.repairable > 0;
	return 0;
}

/* 1: the rows have to be looked at, 0: they need not be; or -EUCLEAN …. */
static int judge_superblocks(struct store *store, struct spare *spare, struct spare_judgement *ret,
			     struct error *err)
{
	enum store_life last = STORE_UNCLEAN;
	enum spare_age age = spare_age(spare, info_of(store, spare_id(spare)),
				       store_volume(store)->opens);
	int rc = store_last_life(store, &last);

	*ret = (struct spare_judgement){.older = age == AGE_OLDER};
	if (rc < 0)
		return error_set(err, -rc, "cannot read the history; check the disk of the "
				 "database");
	if (age != AGE_LAST)
		return explain_age(spare, age, err);
	return last != STORE_CLOSED || spare_found(spare)->damaged || !spare_found(spare)->confirmed;
}

int spare_judge(struct store *store, struct map *map, struct spare *spare,
		struct unrecorded *unrecorded, struct spare_judgement *ret, struct error *err)
{
	int rc = judge_superblocks(store, spare, ret, err);

	return rc <= 0 ? rc : judge_rows(store, map, spare, unrecorded, ret, err);
}

/* ---- by itself ----------------------------------------------------------------------- */

static int mark_bad(void *context, spare_id_t id, slot_t first, uint64_t count)
{
	struct spare *spare = context;

	if (spare_id(spare) == id && first + count <= spare_counts(spare).slots)
		spare_mark_bad(spare, first, count);
	return 0;
}

int spare_judge_alone(struct store *store, struct spare *spare, struct error *err)
{
	struct spare_judgement judgement;
	struct map *map = NULL;
	int rc = judge_superblocks(store, spare, &judgement, err);

	if (rc <= 0)
		return rc;
	rc = main_map(store, &map);
	rc = rc < 0 ? rc : store_each_bad_slots(store, mark_bad, spare);
	if (rc < 0)
		error_set(err, -rc, "the map in the database cannot be read (%s); check the disk "
			  "that it is on, and what holds its lock", errno_name(-rc));
	else
		rc = judge_rows(store, map, spare, NULL, &judgement, err);
	map_free(map);
	return rc;
}
