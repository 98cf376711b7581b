/*
 * Who is right?
 *
 * The database, wherever a crash or an overwritten table explains what is on
 * the spare: a row is committed only after its descriptor was durable, and a
 * descriptor above the confirmed sequence may never have been committed.
 *
 * Nobody, where a valid descriptor says something that no crash explains: it
 * is checksummed, and a row is not. The database may be an old copy, or
 * damaged. Then nothing may be served, and nothing overwritten, since what is
 * on the spare may be all that is left of the map.
 *
 * A spare that is an older copy never had the descriptor of a later row, nor its
 * data. One that had it and lost it vouches for that: by what both of its
 * superblocks confirm, by a descriptor that is revoked, or by one that is damaged,
 * which none is that was never written.
 *
 * The spare, where the database's log is gone: a descriptor above the confirmed
 * sequence may have had a row there. It counts where a rebuild would take it, when its
 * slot holds the data of its sum: then the sector is whole, acknowledged or not.
 */
#include "volume/cross.h"

#include <errno.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"

/* ---- telling ------------------------------------------------------------------------ */

static bool is_contradiction(enum finding_kind kind)
{
	return kind == FINDING_CONTRADICTION || kind == FINDING_UNKNOWN ||
	       kind == FINDING_NEWER || kind == FINDING_OLDER;
}

/* On the spare, to what the rows say. */
static bool is_corrected(enum finding_kind kind)
{
	return !is_contradiction(kind) && kind != FINDING_UNRECORDED;
}

static void end_run(struct cross *c)
{
	struct finding *run = &c->run;

	if (run->count == 0)
		return;
	c->contradictions += is_contradiction(run->kind);
	c->older += run->kind == FINDING_OLDER;
	c->repairable += run->fate == FINDING_REPAIRABLE;
	c->repaired += run->fate == FINDING_REPAIRED;
	c->left += run->fate == FINDING_LEFT;
	if (c->found)
		c->found(c->context, run);
	run->count = 0;
}

static void tell_slot(struct cross *c, enum finding_kind kind, enum finding_fate fate, slot_t slot,
		      sector_t sector)
{
	struct finding *run = &c->run;

	if (is_contradiction(kind))
		fate = FINDING_LEFT;
	else if (!is_corrected(kind))
		fate = c->repair ? FINDING_LEFT : FINDING_REPAIRABLE;
	if (run->count && run->kind == kind && run->fate == fate &&
	    run->slot + run->count == slot && run->sector + run->count == sector) {
		run->count++;
		return;
	}
	end_run(c);
	*run = (struct finding){.kind = kind, .fate = fate, .spare = spare_id(c->spare),
				.slot = slot, .count = 1, .sector = sector};
}

/* ---- rows ----------------------------------------------------------------------------- */

static int next_row(struct cross *c)
{
	int rc = store_placed_next(c->store, &c->row);

	if (rc == 0)
		c->row.count = 0;
	return rc;
}

/* Moves on to the row that holds the slot, or the first after it. */
static int seek_row(struct cross *c, slot_t slot)
{
	int rc = 0;

	if (c->seek) {
		rc = store_placed_from(c->store, spare_id(c->spare), slot);
		rc = rc < 0 ? rc : next_row(c);
		c->seek = false;
	}
	while (rc >= 0 && c->row.count && c->row.slot + c->row.count <= slot)
		rc = next_row(c);
	return rc < 0 ? rc : 0;
}

static bool has_row(const struct cross *c, slot_t slot)
{
	return c->row.count && c->row.slot <= slot;
}

/* What the descriptor of a slot that a row speaks of should be. */
static struct slot_descriptor described_by_row(struct cross *c, slot_t slot)
{
	struct slot_descriptor d = {
		.state = DESCRIPTOR_VALID,
		.sector = c->row.sector + (slot - c->row.slot),
		.sequence = c->row.sequence,
	};

	/* Confirmed by the time that anybody reads it: the sum is a courtesy. */
	if (spare_read(c->spare, c->sector, slot, 1) == 0)
		d.data_sum = spare_data_sum(c->sector, store_volume(c->store)->sector_size);
	return d;
}

/* ---- one slot ---------------------------------------------------------------------------- */

/* Whether the rows have a later place of the sector than this one, or know it lost here. */
static int is_past(struct cross *c, slot_t slot, const struct slot_descriptor *d, bool *ret_past,
		   bool *ret_needed)
{
	struct extent now = {0};
	uint64_t sequence = 0;
	int rc = 0;

	*ret_past = *ret_needed = false;
	if (d->sector >= store_volume(c->store)->main_sectors)
		return 0;
	now = map_get(c->map, d->sector, 1);
	if (now.state == SECTOR_REMAPPED) {
		rc = store_sequence_of(c->store, d->sector, &sequence);
		*ret_past = rc == 0 && sequence > d->sequence;
	} else if (now.state == SECTOR_PENDING && now.spare != ON_MAIN) {
		/* Without it a rebuild would serve what the sector was before. */
		*ret_needed = now.spare == spare_id(c->spare) && now.slot == slot;
		*ret_past = !*ret_needed;
	}
	return rc;
}

/* No slot is overwritten before it is confirmed: see docs/format.md. */
static bool is_whole(struct cross *c, slot_t slot, const struct slot_descriptor *d)
{
	return spare_read(c->spare, c->sector, slot, 1) == 0 &&
	       spare_data_sum(c->sector, store_volume(c->store)->sector_size) == d->data_sum;
}

static bool is_unrecorded(struct cross *c, slot_t slot, const struct slot_descriptor *d)
{
	return c->log_lost && d->sequence > c->confirmed &&
	       d->sector < store_volume(c->store)->main_sectors &&
	       !spare_slot_bad(c->spare, slot) && is_whole(c, slot, d);
}

static int add_unrecorded(struct cross *c, slot_t slot, const struct slot_descriptor *d)
{
	struct unrecorded *u = c->unrecorded;
	struct unrecorded_slot *more;

	if (!u)
		return 0;
	more = realloc(u->all, (u->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	u->all = more;
	u->all[u->count++] = (struct unrecorded_slot){spare_id(c->spare), slot, d->sector,
						      d->sequence};
	return 0;
}

/* A valid descriptor of a slot that no remap uses. 1: it is told of, 0: it stays. */
static int judge_unused(struct cross *c, slot_t slot, const struct slot_descriptor *d,
			enum finding_kind *ret_kind)
{
	bool past, needed;
	int rc = is_past(c, slot, d, &past, &needed);

	if (rc < 0 || needed)
		return rc;
	/* The slot failed: writing there proves nothing, and the later place counts. */
	if (past && spare_slot_bad(c->spare, slot))
		return 0;
	if (!past && is_unrecorded(c, slot, d)) {
		*ret_kind = FINDING_UNRECORDED;
		rc = add_unrecorded(c, slot, d);
		return rc < 0 ? rc : 1;
	}
	*ret_kind = past || d->sequence > c->confirmed ? FINDING_LEFTOVER : FINDING_UNKNOWN;
	return 1;
}

static bool says_the_row(const struct cross *c, slot_t slot, const struct slot_descriptor *d)
{
	return d->sector == c->row.sector + (slot - c->row.slot) &&
	       d->sequence == c->row.sequence;
}

/* The slot has a row. 1: the descriptor is something else. */
static int judge_used(struct cross *c, slot_t slot, struct slot_descriptor *d,
		      enum finding_kind *ret_kind)
{
	bool is_said = d->state == DESCRIPTOR_VALID || d->state == DESCRIPTOR_REVOKED;
	bool is_same = is_said && says_the_row(c, slot, d);

	if (is_same && d->state == DESCRIPTOR_VALID)
		return 0;
	if (d->state == DESCRIPTOR_DAMAGED)
		*ret_kind = FINDING_DAMAGED;
	else if (is_same)
		*ret_kind = FINDING_MISSING;
	else if (c->row.sequence > c->vouched && (!is_said || d->sequence < c->row.sequence))
		*ret_kind = FINDING_OLDER;
	else
		*ret_kind = d->state == DESCRIPTOR_VALID ? FINDING_CONTRADICTION : FINDING_MISSING;
	if (!is_contradiction(*ret_kind))
		*d = described_by_row(c, slot);
	return 1;
}

/* Makes *d what it should be. 1: it was something else, *ret_kind says what. */
static int judge(struct cross *c, slot_t slot, struct slot_descriptor *d,
		 enum finding_kind *ret_kind)
{
	uint64_t opens = store_volume(c->store)->opens;
	int rc;

	if ((d->state == DESCRIPTOR_VALID || d->state == DESCRIPTOR_REVOKED) &&
	    d->sequence >> SEQUENCE_EPOCH > opens) {
		*ret_kind = FINDING_NEWER;
		return 1;
	}
	if (has_row(c, slot))
		return judge_used(c, slot, d, ret_kind);
	if (d->state == DESCRIPTOR_NONE || d->state == DESCRIPTOR_REVOKED)
		return 0;
	*ret_kind = FINDING_GARBAGE;
	rc = d->state == DESCRIPTOR_VALID ? judge_unused(c, slot, d, ret_kind) : 1;
	if (rc == 1 && is_corrected(*ret_kind))
		d->state = DESCRIPTOR_NONE;
	return rc;
}

/* ---- the table ----------------------------------------------------------------------------- */

struct verdict {
	bool wrong;
	enum finding_kind kind;
	sector_t sector;
};

static int check_group(void *context, struct slot_group *g)
{
	struct verdict verdicts[sizeof(g->slots) / sizeof(*g->slots)] = {0};
	struct cross *c = context;
	enum finding_fate fate = FINDING_REPAIRABLE;
	bool wrong = false;
	int rc;

	if (accord_at(&c->accord, g->first)) {
		c->seek = true;
		return 0;
	}
	for (uint64_t i = 0; i < g->count; i++) {
		struct verdict *v = &verdicts[i];

		rc = seek_row(c, g->first + i);
		v->sector = g->slots[i].sector;
		rc = rc < 0 ? rc : judge(c, g->first + i, &g->slots[i], &v->kind);
		if (rc < 0)
			return rc;
		v->wrong = rc == 1;
		wrong |= v->wrong && is_corrected(v->kind);
		if (g->slots[i].state == DESCRIPTOR_VALID)
			v->sector = g->slots[i].sector;
	}
	if (c->repair && wrong)
		fate = spare_write_group(c->spare, g) == 0 ? FINDING_REPAIRED : FINDING_LEFT;
	for (uint64_t i = 0; i < g->count; i++)
		if (verdicts[i].wrong)
			tell_slot(c, verdicts[i].kind, fate, g->first + i, verdicts[i].sector);
	return 0;
}

/* Slot by slot, where table and rows do not agree. */
static int check_parts(struct cross *c)
{
	CLEANUP_FREE void *sector = NULL;
	int rc;

	if (posix_memalign(&sector, 4096, 4096) != 0)
		return -ENOMEM;
	c->sector = sector;
	c->run = (struct finding){0};
	c->seek = true;
	rc = spare_each_group(c->spare, check_group, c);
	store_placed_end(c->store);
	end_run(c);
	return rc;
}

int cross_check(struct cross *c)
{
	int rc = accord_find(c->store, c->spare, &c->accord);

	if (rc == 0 && !accord_everywhere(&c->accord))
		rc = check_parts(c);
	accord_clear(&c->accord);
	return rc;
}
