/*
 * Whether a spare is the one that was used last, an older copy of it, or one that was
 * used after this database was. One judgement for all that open a spare: volume_open,
 * volume_look, volume_check, volume_set_paths.
 */
#ifndef VOLUME_AGE_H
#define VOLUME_AGE_H

#include "volume/cross.h"

enum spare_age {
	AGE_LAST,  /* as far as its superblocks tell */
	AGE_OLDER,
	AGE_NEWER, /* it is the database that is older */
};

/* By its superblocks. info is that of the spare; opens: of the volume. */
enum spare_age spare_age(const struct spare *, const struct store_spare *info, uint64_t opens);

/*
 * Slot table and rows: cross_check with what the spare itself says of its age, and the
 * database of its log. repair, found, context and unrecorded as in struct cross. Errors
 * as cross_check.
 */
int spare_compare(struct store *, struct map *, struct spare *, bool repair, struct unrecorded *,
		  void (*found)(void *context, const struct finding *), void *context,
		  struct cross *ret);

struct spare_judgement {
	bool repair; /* the table has to be repaired */
	bool older;  /* refused as an older copy: that says nothing against the database */
};

/*
 * By its superblocks, and where the last end was no orderly one by its slot table as
 * well. map holds all rows, and bad slots are marked. -EUCLEAN: it is not the one that
 * was used last, or contradicts the database; or an error of store or spare; err has the
 * line. *ret is set in any case. unrecorded as in struct cross.
 */
int spare_judge(struct store *, struct map *, struct spare *, struct unrecorded *,
		struct spare_judgement *ret, struct error *err);

/* The same for who has no map: the rows are read where that is needed. */
int spare_judge_alone(struct store *, struct spare *, struct error *err);

#endif
