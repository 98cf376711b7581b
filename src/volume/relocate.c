/*
 * Moving sectors: contract 1, in its order.
 *
 *   place     allocate slots, write the data          (this thread)
 *   commit    descriptors, flush, row and history     (commit.c, shared)
 *   publish   the map serves the new place            (this thread)
 *
 * The caller owns the sectors all the while, so nobody sees them on the way.
 * Whatever fails before the commit gives the slots back and leaves the map as
 * it was (contract 4); what fails in it, see distrust.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/log.h"
#include "volume/volume_impl.h"

/*
 * A spare of which so many slots in a row fail in one request is a failing one. Past
 * the time that the request has for all spares together, two are: see too_many_bad.
 */
#define BAD_SLOTS_MAX 64
#define TRIES_MAX 8
#define NO_SLOT (-EXFULL) /* no spare has a free slot left */

/* One try to place all moves of a settlement. */
struct placing {
	struct volume *volume;
	struct change change;
	const struct move *move; /* the one being placed */
	struct spare_budget *budget;
};

/* ---- settlements -------------------------------------------------------------------- */

/* Neighbours with the same story stay together. */
static bool joins(const struct move *m, const struct extent *e, int error)
{
	return m->error == error && m->from.state == e->state && m->from.spare == e->spare &&
	       extent_end(&m->from) == e->start &&
	       (e->spare == ON_MAIN || m->from.slot + m->from.count == e->slot);
}

int settlement_move(struct settlement *s, struct extent from, const void *data, int error)
{
	struct move *moves;

	if (s->move_count && joins(&s->moves[s->move_count - 1], &from, error)) {
		s->moves[s->move_count - 1].from.count += from.count;
		return 0;
	}
	moves = realloc(s->moves, (s->move_count + 1) * sizeof(*moves));
	if (!moves)
		return -ENOMEM;
	s->moves = moves;
	s->moves[s->move_count++] = (struct move){from, data, error, NULL};
	return 0;
}

int settlement_cured(struct settlement *s, struct extent e, const void *data)
{
	struct move *cured = realloc(s->cured, (s->cured_count + 1) * sizeof(*cured));

	if (!cured)
		return -ENOMEM;
	s->cured = cured;
	s->cured[s->cured_count++] = (struct move){e, data, 0, NULL};
	return 0;
}

void settlement_clear(struct settlement *s)
{
	free(s->moves);
	free(s->cured);
	*s = (struct settlement){0};
}

/* Whether what it moves from failed. */
static bool is_bad(int error)
{
	return error && error != UNCONFIRMED;
}

/* ---- placing ---------------------------------------------------------------------------- */

static int place(struct placing *p, sector_t start, uint64_t count);

static struct event event_of(enum event_kind kind, const struct extent *e, int error)
{
	return (struct event){
		.kind = kind,
		.sector = e->start,
		.sectors = e->count,
		.spare = e->spare,
		.slot = e->slot,
		.error = error,
	};
}

static const char *data_of(const struct placing *p, sector_t sector)
{
	return (const char *)p->move->data +
	       bytes_of(p->volume, sector - p->move->from.start);
}

/* Before each write to a spare: the time begins with the first, whichever that is to. */
static struct spare_budget *begin_budget(struct placing *p)
{
	if (p->budget->deadline == 0)
		p->budget->deadline = isolation_deadline(p->volume);
	return p->budget;
}

static bool is_used_up(const struct spare_budget *b)
{
	return b->deadline && now_ms() >= b->deadline;
}

/*
 * Whether the spare, of which slots have just failed, is given up. When the time
 * is over one that fails for the first time is not, since another may have used
 * it up; but only so often, or two in turn would go on for ever.
 */
static bool too_many_bad(struct placing *p, const struct spare *spare)
{
	struct spare_budget *b = p->budget;

	if (b->spare != spare)
		b->bad_slots = 0;
	b->spare = spare;
	b->bad_slots++;
	if (!is_used_up(b))
		return b->bad_slots > BAD_SLOTS_MAX;
	return b->bad_slots > 1 || ++b->late_failures > spare_set_count(&p->volume->spares);
}

/* Slots that failed are bad whatever becomes of the request, and so recorded. */
static void give_up_slots(struct volume *v, struct spare *spare, const struct extent *e, int error,
			  const char *detail)
{
	struct event event = event_of(EVENT_SLOT_BAD, e, error);
	struct change change = {0};

	snprintf(event.detail, sizeof(event.detail), "%s", detail);
	spare_mark_bad(spare, e->slot, e->count);
	if (change_bad(&change, e->spare, e->slot, e->count, error) == 0 &&
	    change_event(&change, &event) == 0)
		record_change(v, &change);
	change_clear(&change);
}

/*
 * The slots of e did not take it: others shall. When the time is over they may be
 * many, of which some are not bad.
 */
static int slot_failed(struct placing *p, struct spare *spare, const struct extent *e, int error)
{
	int rc = judge_spare(p->volume, spare, error, true);

	bool gone = rc < 0 || too_many_bad(p, spare);

	if (!gone && e->count == 1)
		give_up_slots(p->volume, spare, e, error, "");
	else
		spare_release(spare, e->slot, e->count);
	if (rc == -ENOMEM)
		return rc;
	if (gone && rc == 0)
		spare_is(p->volume, spare, SPARE_FAILING, error);
	return place(p, e->start, e->count);
}

/* Writes the sectors of e to their slots; halves where that fails. */
static int fill_slots(struct placing *p, struct spare *spare, struct extent e)
{
	const void *data = data_of(p, e.start);
	const struct spare_budget *budget = begin_budget(p);
	int rc;

	/* Given up on the way: what is left of it is not asked any more. */
	if (spare_failed(spare)) {
		spare_release(spare, e.slot, e.count);
		return place(p, e.start, e.count);
	}
	rc = spare_write(spare, data, e.slot, e.count);
	if (rc == 0) {
		rc = change_remap(&p->change, &e, is_bad(p->move->error) ? p->move->error : 0, data,
				  p->volume->sector_size);
		if (rc < 0)
			spare_release(spare, e.slot, e.count);
		return rc;
	}
	if (e.count > 1 && errno_is_media(-rc) && !is_used_up(budget)) {
		uint64_t half = e.count / 2;

		rc = fill_slots(p, spare, extent_part(e, e.start, half));
		if (rc == 0)
			return fill_slots(p, spare, extent_part(e, e.start + half, e.count - half));
		spare_release(spare, e.slot + half, e.count - half);
		return rc;
	}
	return slot_failed(p, spare, &e, -rc);
}

static uint64_t allocate(struct volume *v, uint64_t count, struct spare **ret, slot_t *ret_slot)
{
	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		uint64_t n = spare_allocate(v->spares.all[i], count, ret_slot);

		*ret = v->spares.all[i];
		if (n > 0)
			return n;
	}
	return 0;
}

/* Finds slots for the sectors and writes them there. NO_SLOT: there are none. */
static int place(struct placing *p, sector_t start, uint64_t count)
{
	while (count > 0) {
		struct extent e = {.start = start, .state = SECTOR_REMAPPED};
		struct spare *spare;
		int rc;

		e.count = allocate(p->volume, count, &spare, &e.slot);
		if (e.count == 0)
			return NO_SLOT;
		e.spare = spare_id(spare);
		rc = fill_slots(p, spare, e);
		if (rc < 0)
			return rc;
		start += e.count;
		count -= e.count;
	}
	return 0;
}

/* ---- undoing ------------------------------------------------------------------------------ */

static void release_slots(struct volume *v, const struct change *change)
{
	for (size_t i = 0; i < change->extent_count; i++) {
		const struct extent *e = &change->extents[i].extent;

		if (e->state == SECTOR_REMAPPED)
			spare_release(volume_spare(v, e->spare), e->slot, e->count);
	}
}

/*
 * The commit failed, but its row may still turn out to be durable at the next
 * open, or its descriptors to be what a rebuild finds. So that no later write can
 * be overtaken by that, the sectors are pending until one is committed; their
 * slots are not given back before the next open.
 */
static void distrust(struct volume *v, const struct settlement *s)
{
	/* The slots that they left keep their descriptors, and may turn out to be free. */
	atomic_store(&v->in_doubt, true);
	for (size_t i = 0; i < s->move_count; i++) {
		struct extent e = s->moves[i].from;

		e.state = SECTOR_PENDING;
		map_set(v->map, &e);
		forget_intact(v, e.start, e.count);
	}
}

/* A table sector that cannot be written makes the free slots it describes useless. */
static void give_up_group(struct volume *v, struct spare *spare, slot_t slot, int error)
{
	struct extent run = {.spare = spare_id(spare)};
	uint64_t count;
	slot_t first;

	spare_table_group(spare, slot, &first, &count);
	for (slot_t i = first; i <= first + count; i++) {
		/* One that is used stays: the database, or a request, knows it. */
		bool taken = i < first + count && spare_take(spare, i, 1) == 0;

		if (taken && run.count++ == 0)
			run.slot = i;
		if (!taken && run.count) {
			give_up_slots(v, spare, &run, error,
				      "their place in the slot table cannot be written");
			run.count = 0;
		}
	}
}

/* A spare did not take a change that it holds the data of: -EAGAIN, try others. */
static int refused(struct volume *v, const struct change *change, const struct spare_budget *budget)
{
	struct spare *spare = volume_spare(v, change->refused_by);
	int rc = judge_spare(v, spare, change->refused_error, true);

	if (rc == -ENOMEM)
		return rc;
	if (rc == 0 && (change->refused_flush || is_used_up(budget)))
		spare_is(v, spare, SPARE_FAILING, change->refused_error);
	else if (rc == 0)
		give_up_group(v, spare, change->refused_slot, change->refused_error);
	return -EAGAIN;
}

/* ---- settling -------------------------------------------------------------------------------- */

/* Tells where the sectors of a move have gone. */
static int tell_move(struct change *change, const struct move *m, size_t from)
{
	enum event_kind kind = m->from.state == SECTOR_REMAPPED ? EVENT_MOVED : EVENT_REMAPPED;
	int rc = 0;

	for (size_t i = from; rc == 0 && i < change->extent_count; i++) {
		struct event event = event_of(kind, &change->extents[i].extent,
					      is_bad(m->error) ? m->error : 0);
		const char *detail = m->error == UNCONFIRMED
					     ? "where it was could not be confirmed" : m->detail;

		if (detail)
			snprintf(event.detail, sizeof(event.detail), "%s", detail);
		rc = change_event(change, &event);
	}
	return rc;
}

/* The slot that a moved sector leaves behind failed; its spare may be gone. */
static int leave_slots(struct volume *v, struct change *change, const struct move *m)
{
	struct event event = event_of(EVENT_SLOT_BAD, &m->from, m->error);
	int rc;

	if (m->from.state != SECTOR_REMAPPED || !is_bad(m->error) ||
	    spare_state(volume_spare(v, m->from.spare)) == SPARE_LOST)
		return 0;
	/* One that is only slow did answer. */
	rc = m->error == ETIMEDOUT
		     ? 0 : judge_spare(v, volume_spare(v, m->from.spare), m->error, true);
	if (rc < 0) {
		/* Not known to be bad, its slot keeps a descriptor that is past. */
		atomic_store(&v->in_doubt, true);
		return 0;
	}
	rc = change_bad(change, m->from.spare, m->from.slot, m->from.count, m->error);
	return rc < 0 ? rc : change_event(change, &event);
}

static void release_memory(struct map *map, const struct change *change)
{
	for (size_t i = 0; i < change->extent_count; i++)
		map_unreserve(map, change->extents[i].extent.start,
			      change->extents[i].extent.count);
}

/* Holds the memory that publish will need, or none. */
static int hold_memory(struct map *map, const struct change *change)
{
	struct change held = *change;

	for (held.extent_count = 0; held.extent_count < change->extent_count; held.extent_count++) {
		const struct extent *e = &change->extents[held.extent_count].extent;

		if (map_reserve(map, e->start, e->count) == 0)
			continue;
		release_memory(map, &held);
		return -ENOMEM;
	}
	return 0;
}

static int place_all(struct placing *p, const struct settlement *s)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->move_count; i++) {
		size_t from = p->change.extent_count;

		p->move = &s->moves[i];
		rc = place(p, p->move->from.start, p->move->from.count);
		rc = rc < 0 ? rc : tell_move(&p->change, p->move, from);
	}
	return rc;
}

static int prepare(struct placing *p, const struct settlement *s)
{
	int rc = place_all(p, s);

	for (size_t i = 0; rc == 0 && i < s->move_count; i++)
		rc = leave_slots(p->volume, &p->change, &s->moves[i]);
	for (size_t i = 0; rc == 0 && i < s->cured_count; i++) {
		struct extent good = s->cured[i].from;
		struct event event = event_of(EVENT_CURED, &good, 0);

		good.state = SECTOR_GOOD;
		rc = change_extent(&p->change, &good, 0);
		rc = rc < 0 ? rc : change_event(&p->change, &event);
	}
	return rc < 0 ? rc : hold_memory(p->volume->map, &p->change);
}

/*
 * What was moved away from slots that are in order: from a retiring spare, which
 * is wiped when it is empty, or because they could not be confirmed. Those are
 * free while their descriptors say what is past.
 */
static void free_left_slots(struct volume *v, const struct settlement *s)
{
	for (size_t i = 0; i < s->move_count; i++) {
		const struct move *m = &s->moves[i];

		if (m->from.state != SECTOR_REMAPPED || is_bad(m->error))
			continue;
		if (m->error == UNCONFIRMED)
			atomic_store(&v->in_doubt, true);
		spare_release(volume_spare(v, m->from.spare), m->from.slot, m->from.count);
	}
}

/* Contract 1: only now does the map serve what is committed. */
static void publish(struct volume *v, const struct change *change)
{
	for (size_t i = 0; i < change->extent_count; i++) {
		const struct extent *e = &change->extents[i].extent;

		map_set(v->map, e);
		forget_intact(v, e->start, e->count);
	}
	for (size_t i = 0; i < change->bad_count; i++)
		spare_mark_bad(volume_spare(v, change->bad[i].spare), change->bad[i].first,
			       change->bad[i].count);
	atomic_store(&v->slots_needed, 0);
}

/*
 * A spare still has an older descriptor of a sector that main was to hold again:
 * one that is newer outvotes it.
 */
static int move_cured(struct settlement *s)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->cured_count; i++)
		rc = s->cured[i].data ? settlement_move(s, s->cured[i].from, s->cured[i].data, EIO)
				      : -EIO;
	s->cured_count = 0;
	return rc;
}

/* One try. -EAGAIN: a spare refused; another try may find other slots. */
static int settle_once(struct volume *v, struct settlement *s, struct spare_budget *budget)
{
	struct placing p = {.volume = v, .budget = budget};
	bool stale;
	int rc = prepare(&p, s);

	if (rc < 0) {
		release_slots(v, &p.change);
		change_clear(&p.change);
		return rc;
	}
	rc = commit_change(&v->committer, &p.change);
	if (rc == 0) {
		publish(v, &p.change);
		free_left_slots(v, s);
	} else if (p.change.uncertain || p.change.left) {
		distrust(v, s);
	} else {
		release_slots(v, &p.change);
	}
	release_memory(v->map, &p.change);
	stale = rc == -EBADSLT && p.change.refused_stale;
	if (rc == -EBADSLT)
		rc = refused(v, &p.change, budget);
	change_clear(&p.change);
	if (stale && rc == -EAGAIN && move_cured(s) < 0)
		rc = -EIO;
	return rc;
}

static void tell_spares_full(struct volume *v, const struct settlement *s)
{
	struct event event = event_of(EVENT_SPARES_FULL, &s->moves[0].from, ENOSPC);
	uint64_t needed = 0, found = slots_free_now(v);

	for (size_t i = 0; i < s->move_count; i++)
		needed += s->moves[i].from.count;
	atomic_store(&v->slots_found, found);
	if (atomic_exchange(&v->slots_needed, needed))
		return;
	log_error("not enough free slots are left for sector %llu (needed: %llu, free: %llu): "
		  "writes to bad sectors fail; add a spare with 'remapctl add-spare'",
		  (unsigned long long)event.sector, (unsigned long long)needed,
		  (unsigned long long)found);
	snprintf(event.detail, sizeof(event.detail), "%llu free slots were needed, %llu are left on "
		 "the spares", (unsigned long long)needed, (unsigned long long)found);
	tell(v, &event);
}

static void tell_not_committed(struct volume *v, const struct settlement *s, int error)
{
	struct event event = event_of(EVENT_COMMIT_FAILED,
				      s->move_count ? &s->moves[0].from : &s->cured[0].from, error);

	snprintf(event.detail, sizeof(event.detail), "the database did not commit the move");
	complain(v, &event);
}

int settle(struct volume *v, struct settlement *s)
{
	struct spare_budget own = {0};
	int rc = 0;

	if (s->move_count == 0 && s->cured_count == 0)
		return 0;
	for (int i = 0; i < TRIES_MAX; i++) {
		rc = settle_once(v, s, s->budget ? s->budget : &own);
		if (rc != -EAGAIN)
			break;
	}
	if (rc == NO_SLOT)
		tell_spares_full(v, s);
	else if (rc < 0 && rc != -EAGAIN && rc != -ENOMEM)
		tell_not_committed(v, s, -rc);
	return rc == 0 ? 0 : -EIO;
}
