/*
 * A spare that leaves: what is on it moves to the others, or is given up.
 *
 *   the row says retiring     it lends nothing any more, now and after a crash
 *   each piece is moved       as by a write that could not stay: contract 1
 *   the others are told       a rebuild does not miss it, though it may have it
 *   its superblocks are wiped and cannot take it for one that holds something
 *   the row says retired      it is not opened any more
 *   its device is closed      it can be taken away
 *
 * It is wiped only when no row of the database names a slot of it: what was moved
 * in memory may not be recorded yet. Until its row says retired a spare that
 * holds nothing may be wiped already: the next opening finds it so
 * (retired_already).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/volume_impl.h"

#define PIECE_BYTES (1u << 20)
#define PATIENCE_MS 10000 /* of one piece, as of a request */
#define RETRY_MS 3000
#define IDLE_MS 3600000 /* until it is woken */
#define PASSES 3 /* that find nothing to move, before what is used is in doubt */
#define PASS_MS 200

static const char no_room[] = "a retiring spare cannot be emptied: no slot is free on the others; "
			      "add a spare";
static const char no_answer[] = "a retiring spare cannot be read; if it is lost for ever, give it "
				"up with 'remapctl retire-spare --lost'";
static const char no_commit[] = "a retiring spare cannot be emptied: the move was not committed; "
				"check the disk of the database and what holds its lock";
static const char lost_there[] = "sectors that were lost on a retiring spare have to be written "
				 "before it can leave (see 'remapctl pending'), or give it up with "
				 "'remapctl retire-spare --lost'";
static const char in_doubt[] = "slots of a retiring spare are in doubt until the volume is mounted "
			       "anew";

/* ---- one piece ---------------------------------------------------------------------- */

struct emptying {
	struct volume *volume;
	struct spare *spare;
	char *buf; /* PIECE_BYTES, aligned */
	const char *stuck; /* why the pass did not come to its end; NULL: it did */
};

static bool is_on(const struct extent *e, const struct spare *spare)
{
	return e->state == SECTOR_REMAPPED && e->spare == spare_id(spare);
}

/* Sectors that cannot be read have become pending: those that can are taken along. */
static int take_each(struct emptying *x, const struct request *r, const struct extent *e,
		     struct settlement *s)
{
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < e->count; i++) {
		struct extent one = map_get(x->volume->map, e->start + i, 1);
		char *to = x->buf + bytes_of(x->volume, i);

		if (!is_on(&one, x->spare))
			continue;
		rc = read_sectors(x->volume, r, to, one.start, 1);
		rc = rc < 0 ? rc : settlement_move(s, one, to, 0);
	}
	return rc;
}

/* Takes the sectors of e along, which the request owns. */
static int move_off(struct emptying *x, const struct request *r, const struct extent *e)
{
	struct volume *v = x->volume;
	struct settlement s = {0};
	int rc;

	if (read_sectors(v, r, x->buf, e->start, e->count) == 0)
		rc = settlement_move(&s, *e, x->buf, 0);
	else
		rc = take_each(x, r, e, &s);
	if (rc < 0)
		x->stuck = no_answer;
	else if ((rc = settle(v, &s)) < 0)
		x->stuck = atomic_load(&v->slots_needed) ? no_room : no_commit;
	else
		atomic_store(&v->stuck, NULL);
	settlement_clear(&s);
	return rc;
}

static int give_up(struct emptying *x, const struct extent *e)
{
	struct settlement lost = {0};
	int rc = settlement_move(&lost, *e, NULL, ENODEV);

	if (rc == 0)
		mark_pending(x->volume, &lost);
	settlement_clear(&lost);
	return rc;
}

/* The sectors in [start, start + count) are owned meanwhile. */
static int empty_piece(struct emptying *x, sector_t start, uint64_t count)
{
	struct volume *v = x->volume;
	struct request r = {0};
	sector_t end = start + count;
	int rc = 0;

	range_own(&v->locks, &r.ticket, start, count);
	r.deadline = now_ms() + PATIENCE_MS;
	while (rc == 0 && start < end) {
		struct extent e = map_get(v->map, start, end - start);

		start = extent_end(&e);
		if (is_on(&e, x->spare))
			rc = spare_state(x->spare) == SPARE_LOST ? give_up(x, &e)
								 : move_off(x, &r, &e);
	}
	range_unlock(&v->locks, &r.ticket);
	return rc;
}

/* How many sectors the next piece may have; 0: nothing can be moved now. */
static uint64_t piece(struct emptying *x)
{
	uint64_t room = slots_free_now(x->volume), most = PIECE_BYTES / x->volume->sector_size;

	if (spare_state(x->spare) == SPARE_LOST)
		return most;
	if (room == 0)
		x->stuck = no_room;
	return room < most ? room : most;
}

/*
 * One pass over the map. 0: nothing was left behind. Half of the time is the
 * requests': the other half is theirs as well if they want it.
 */
static int empty_spare(struct emptying *x)
{
	struct volume *v = x->volume;
	sector_t at = map_next_special(v->map, 0);

	while (at < v->sectors) {
		uint64_t most = piece(x);
		struct extent e = map_get(v->map, at, v->sectors - at < most ? v->sectors - at : most);
		int64_t began = now_ms();
		int rc = 0;

		if (most == 0)
			return -ENOSPC;
		/* Also where sectors are lost: whoever still reads there is waited for. */
		if (e.state != SECTOR_GOOD && e.spare == spare_id(x->spare))
			rc = empty_piece(x, e.start, e.count);
		if (rc < 0)
			return rc;
		if (!background_pause(&v->emptying, (unsigned)(now_ms() - began)))
			return -EINTR;
		at = map_next_special(v->map, extent_end(&e));
	}
	return 0;
}

/* ---- the end -------------------------------------------------------------------------- */

struct leaving {
	spare_id_t id;
	enum spare_state state;
	enum event_kind kind;
};

static int set_state(void *context, struct store *s)
{
	const struct leaving *l = context;
	struct event event = {.kind = l->kind, .spare = l->id};
	int rc = store_set_spare_state(s, l->id, l->state);

	return rc < 0 ? rc : store_add_event(s, &event);
}

/*
 * The range of each of its sectors was owned since it left, so no request is at work
 * on it any more, unless it still holds a slot.
 */
static void close_device(struct volume *v, struct spare *spare)
{
	if (spare_counts(spare).used)
		return;
	committer_enter(&v->committer);
	/* One that hangs is closed with the volume. */
	if (spare_leave(spare))
		fault_device_pull(spare_device(spare));
	committer_leave(&v->committer);
}

/* What memory knows is recorded: no row of the database names a slot of it. */
static int check_rows(struct volume *v, const struct spare *spare)
{
	struct store *s = committer_enter(&v->committer);
	uint64_t used = 0, bad;
	int rc = store_spare_usage(s, spare_id(spare), &used, &bad);

	committer_leave(&v->committer);
	return rc < 0 ? rc : used ? -EBUSY : 0;
}

/* It is empty. */
static int let_go(struct volume *v, struct spare *spare)
{
	HOLD_LOCK(&v->membership);
	bool lost = spare_state(spare) == SPARE_LOST, uncertain;
	struct leaving l = {spare_id(spare), lost ? SPARE_LOST : SPARE_RETIRED,
			    lost ? EVENT_SPARE_LOST : EVENT_SPARE_RETIRED};
	int rc = check_rows(v, spare);

	if (rc < 0)
		return rc;
	/* A lost one is still missed: a rebuild must not take older places for it. */
	if (!lost) {
		tell_members(v, v->last_spare, v->spares_in_use - 1, spare);
		if (spare_wipe(spare) < 0)
			log_warning("spare %u is empty, but its superblocks cannot be wiped: do not "
				    "give it to 'remapctl rebuild'", l.id);
	}
	rc = commit_rows(&v->committer, set_state, &l, &uncertain);
	if (rc < 0)
		return rc;
	v->spares_in_use -= !lost;
	spare_set_state(spare, SPARE_RETIRED);
	close_device(v, spare);
	has_left(v, l.id);
	log_notice("spare %u %s", l.id, lost ? "was given up" : "is empty and retired");
	return 0;
}

/*
 * Slots that are used without a sector are those of a request that has not
 * ended, or of one whose commit is in doubt. Of a lost spare they do not matter:
 * a row that came of them would keep the spare from leaving (see schema/2.sql).
 */
static bool is_empty(struct spare *spare)
{
	return spare_state(spare) == SPARE_LOST || spare_counts(spare).used == 0;
}

/*
 * The spare's table is all that would keep a rebuild from older data on main:
 * see docs/states.md.
 */
static bool has_lost(struct volume *v, const struct spare *spare)
{
	sector_t at = map_next_special(v->map, 0);

	while (at < v->sectors && spare_state(spare) != SPARE_LOST) {
		struct extent e = map_get(v->map, at, v->sectors - at);

		if (e.state == SECTOR_PENDING && e.spare == spare_id(spare))
			return true;
		at = map_next_special(v->map, extent_end(&e));
	}
	return false;
}

static bool is_leaving(const struct spare *spare)
{
	return spare_state(spare) == SPARE_RETIRING || spare_state(spare) == SPARE_LOST;
}

/* Passes over one spare, and its end when it is empty. Why that was not reached, or NULL. */
static const char *try_to_empty(struct emptying *x)
{
	x->stuck = NULL;
	for (int i = 0; i < PASSES; i++) {
		if (empty_spare(x) < 0)
			return x->stuck;
		/* In this order: a sector that is lost is marked before its slot is. */
		if (is_empty(x->spare))
			return has_lost(x->volume, x->spare) ? lost_there
			       : let_go(x->volume, x->spare) < 0 ? no_commit : NULL;
		if (!background_pause(&x->volume->emptying, PASS_MS))
			return NULL;
	}
	return in_doubt;
}

static bool any_leaves(struct volume *v)
{
	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		if (is_leaving(v->spares.all[i]))
			return true;
	return false;
}

bool volume_empty_spares(struct volume *v)
{
	struct emptying x = {.volume = v};
	const char *first = NULL; /* of those that are stuck */

	if (posix_memalign((void **)&x.buf, VOLUME_ALIGNMENT, PIECE_BYTES) != 0)
		return true;
	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		const char *stuck;

		x.spare = v->spares.all[i];
		if (!is_leaving(x.spare))
			continue;
		stuck = try_to_empty(&x);
		first = first ? first : stuck;
	}
	atomic_store(&v->stuck, first);
	free(x.buf);
	/* Also one that began to leave after its turn. */
	return any_leaves(v);
}

static void *keep_emptying(void *context)
{
	struct volume *v = context;
	bool left;

	do {
		left = volume_empty_spares(v);
	} while (background_pause(&v->emptying, left ? RETRY_MS : IDLE_MS));
	return NULL;
}

void resume_emptying(struct volume *v)
{
	if (!any_leaves(v) || v->options.parts || v->options.read_only || v->options.no_remap)
		return;
	if (background_start(&v->emptying, keep_emptying, v) < 0)
		log_warning("no thread can be started: retiring spares are not emptied; end other "
			    "programs, then mount anew");
	background_wake(&v->emptying);
}

/* ---- the beginning ---------------------------------------------------------------------- */

static bool lends_alone(struct volume *v, const struct spare *spare)
{
	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		if (v->spares.all[i] != spare && spare_state(v->spares.all[i]) == SPARE_ACTIVE)
			return false;
	return true;
}

static int check_retirement(struct volume *v, const struct spare *spare, spare_id_t id, bool lost,
			    struct error *err)
{
	if (v->options.read_only || v->options.no_remap)
		return error_set(err, EROFS, "the volume is mounted so that nothing is moved; mount "
				 "it without ro and noremap");
	if (!spare || spare_state(spare) == SPARE_RETIRED)
		return error_set(err, ENOENT, "there is no spare %u in use; see 'remapctl status'", id);
	if (!lost && lends_alone(v, spare))
		return error_set(err, EINVAL, "spare %u is the last one that lends slots; add another "
				 "one first with 'remapctl add-spare'", id);
	return 0;
}

int volume_retire_spare(struct volume *v, spare_id_t id, bool lost, struct error *err)
{
	struct leaving l = {id, SPARE_RETIRING, EVENT_SPARE_RETIRING};
	HOLD_LOCK(&v->membership);
	struct spare *spare = volume_spare(v, id);
	int rc = check_retirement(v, spare, id, lost, err);
	bool uncertain;

	if (rc < 0)
		return rc;
	lost |= spare_state(spare) == SPARE_LOST;
	if (spare_state(spare) == SPARE_ACTIVE) {
		rc = commit_rows(&v->committer, set_state, &l, &uncertain);
		if (rc < 0)
			return error_set(err, -rc, "the database does not commit (%s), so spare %u "
					 "stays%s; free its disk, or end what holds its lock",
					 errno_name(-rc), id,
					 uncertain ? " until the next mount" : "");
	}
	spare_set_state(spare, lost ? SPARE_LOST : SPARE_RETIRING);
	resume_emptying(v);
	return 0;
}

/* ---- without it --------------------------------------------------------------------------- */

struct forgetting {
	struct leaving leaving;
	uint64_t sectors;
};

static int forget_sectors(struct store *s, struct forgetting *f)
{
	struct placed p;
	int rc = 0;

	/* Each changes the table that is gone through: so always the first one. */
	while (rc == 0) {
		struct extent e = {.state = SECTOR_PENDING, .spare = f->leaving.id};
		struct event event = {.kind = EVENT_PENDING, .spare = e.spare, .error = ENODEV};

		rc = store_placed_begin(s, f->leaving.id);
		rc = rc < 0 ? rc : store_placed_next(s, &p);
		store_placed_end(s);
		if (rc <= 0)
			return rc;
		e.start = event.sector = p.sector;
		e.count = event.sectors = p.count;
		e.slot = event.slot = p.slot;
		f->sectors += p.count;
		rc = store_set_extent(s, &e, ENODEV, 0);
		rc = rc < 0 ? rc : store_add_event(s, &event);
	}
	return rc;
}

static int forget(struct store *s, struct forgetting *f)
{
	int rc = store_begin(s);

	rc = rc < 0 ? rc : forget_sectors(s, f);
	rc = rc < 0 ? rc : set_state(&f->leaving, s);
	rc = rc < 0 ? rc : store_commit(s);
	if (rc < 0)
		store_rollback(s);
	return rc;
}

static bool is_here(const struct store *s, spare_id_t id)
{
	size_t count;
	const struct store_spare *spares = store_spares(s, &count);

	for (size_t i = 0; i < count; i++)
		if (spares[i].id == id)
			return spare_is_here(&spares[i]);
	return false;
}

int volume_forget_spare(const char *path, spare_id_t id, uint64_t *ret_sectors, struct error *err)
{
	struct forgetting f = {.leaving = {id, SPARE_LOST, EVENT_SPARE_LOST}};
	CLEANUP_CLOSE int lock = -1;
	struct store *s;
	int rc = volume_lock(path, 0, &lock, err);

	rc = rc < 0 ? rc : store_open(path, STORE_WRITE, &s, err);
	if (rc < 0)
		return rc;
	if (!is_here(s, id)) {
		rc = error_set(err, ENOENT, "there is no spare %u in use; see 'remapctl status'", id);
	} else if ((rc = forget(s, &f)) < 0) {
		error_set(err, -rc, "the database does not commit (%s), so nothing was changed; check "
			  "its disk", errno_name(-rc));
	}
	store_close(s);
	*ret_sectors = f.sectors;
	return rc;
}
