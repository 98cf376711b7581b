/*
 * Sectors that go back to a main that was repaired or replaced.
 *
 *   write     what the slots hold goes to main, is flushed, and read back equal
 *   empty     their descriptors are taken out, durably, the oldest first (commit.c)
 *   commit    the rows go
 *   publish   the map serves main
 *   release   the slots may be given out again
 *
 * The sectors are owned all the while, so from the first step on both places
 * hold the same, and it does not matter which of them a crash leaves behind:
 * with a row and no descriptor the next opening describes the slot again, and a
 * rebuild that finds none serves main. A descriptor without a row would be a
 * contradiction, so that order it is.
 *
 * No other descriptor of such a sector may be left, or a rebuild would bring
 * back what it held once: not in a slot that failed under it (those are looked
 * for here), not one that was never committed (stale.c), and not on a spare
 * that is out of reach, or in a slot that is in doubt (refused).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "volume/batch.h"

/* A bad slot that still says which sector it held. */
struct leftover {
	sector_t sector;
	spare_id_t spare;
	slot_t slot;
};

struct unmapping {
	struct batch *batch;
	struct walk walk;
	struct volume_progress done;

	struct leftover *leftovers; /* sorted by sector */
	size_t leftover_count, leftover_room;
	uint64_t known_bad; /* bad slots when they were looked for; UINT64_MAX: never */
	uint64_t retired;   /* spares, when it began */
	const struct spare *looking_at;

	/* Of the piece at work, a flag for each sector: main holds it. */
	bool *holds;
};

/* ---- what other descriptors there are ----------------------------------------------- */

static int add_leftover(void *context, slot_t slot, sector_t sector)
{
	struct unmapping *u = context;

	if (u->leftover_count == u->leftover_room) {
		size_t room = u->leftover_room * 2 + 64;
		struct leftover *more = realloc(u->leftovers, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		u->leftovers = more;
		u->leftover_room = room;
	}
	u->leftovers[u->leftover_count++] =
		(struct leftover){sector, spare_id(u->looking_at), slot};
	return 0;
}

static int by_sector(const void *a, const void *b)
{
	const struct leftover *x = a, *y = b;

	return (x->sector > y->sector) - (x->sector < y->sector);
}

static uint64_t count_retired(struct volume *v)
{
	uint64_t retired = 0;

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		retired += spare_state(v->spares.all[i]) >= SPARE_RETIRED;
	return retired;
}

/* -EBUSY: not all of the spares can be asked. *ret_bad: how many bad slots they have. */
static int check_spares(const struct unmapping *u, uint64_t *ret_bad, struct error *err)
{
	struct volume *v = u->batch->volume;

	*ret_bad = 0;
	if (atomic_load(&v->in_doubt))
		return error_set(err, EBUSY, "since a commit failed it is in doubt what is in some slots, "
				 "until the volume is mounted anew; unmount and mount it");
	if (count_retired(v) != u->retired)
		return error_set(err, EBUSY, "a spare left meanwhile; try again");
	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		struct spare *s = v->spares.all[i];
		spare_id_t id = spare_id(s);

		if (spare_state(s) == SPARE_RETIRING)
			return error_set(err, EBUSY, "spare %u is being emptied; wait until 'remapctl "
					 "status' does not show it any more", id);
		if (spare_state(s) == SPARE_RETIRED)
			continue;
		if (spare_failed(s))
			return error_set(err, EBUSY, "spare %u does not do what is asked; mount anew, "
					 "or retire it with 'remapctl retire-spare'", id);
		*ret_bad += spare_counts(s).bad;
	}
	return 0;
}

/*
 * While the batch owns its sectors no slot fails under them: what is not found
 * now does not come into being before they are settled.
 */
static int find_leftovers(struct unmapping *u, struct error *err)
{
	struct volume *v = u->batch->volume;
	uint64_t bad;
	int rc = check_spares(u, &bad, err);

	if (rc < 0 || bad == u->known_bad)
		return rc;
	u->leftover_count = 0;
	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++) {
		u->looking_at = v->spares.all[i];
		if (spare_state(u->looking_at) != SPARE_ACTIVE)
			continue;
		committer_enter(&v->committer);
		rc = spare_each_bad(v->spares.all[i], add_leftover, u);
		committer_leave(&v->committer);
	}
	if (rc < 0)
		return error_set(err, -rc, "the slot table of spare %u cannot be read (%s), so it "
				 "cannot be told which sectors it claims; retire it with 'remapctl "
				 "retire-spare'", spare_id(u->looking_at), errno_name(-rc));
	if (u->leftover_count)
		qsort(u->leftovers, u->leftover_count, sizeof(*u->leftovers), by_sector);
	u->known_bad = bad;
	return 0;
}

/* The first leftover of a sector from there on. */
static size_t seek_leftover(const struct unmapping *u, sector_t sector)
{
	size_t low = 0, high = u->leftover_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (u->leftovers[middle].sector < sector)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int empty_leftovers(const struct unmapping *u, struct change *c, const struct extent *e)
{
	int rc = 0;

	for (size_t i = seek_leftover(u, e->start);
	     rc == 0 && i < u->leftover_count && u->leftovers[i].sector < extent_end(e); i++)
		rc = change_emptied(c, u->leftovers[i].spare, u->leftovers[i].slot, 1,
				    true);
	return rc;
}

/* ---- main holds it ------------------------------------------------------------------- */

static size_t place_in(const struct batch *b, const char *data)
{
	return (size_t)(data - b->buf) / b->volume->sector_size;
}

struct putting {
	struct isolation isolation;
	struct unmapping *unmapping;
	struct piece *piece;
};

static char *data_of(const struct putting *p, sector_t sector)
{
	struct volume *v = p->unmapping->batch->volume;

	return p->piece->data + bytes_of(v, sector - p->piece->extent.start);
}

static bool *flags_of(const struct putting *p, sector_t sector)
{
	return p->unmapping->holds + place_in(p->unmapping->batch, data_of(p, sector));
}

static int write_again(struct isolation *i, sector_t start, uint64_t count)
{
	const struct putting *p = (const struct putting *)i;
	struct volume *v = p->unmapping->batch->volume;

	return device_write(v->main, data_of(p, start), bytes_of(v, count), bytes_of(v, start));
}

static int verify_again(struct isolation *i, sector_t start, uint64_t count)
{
	const struct putting *p = (const struct putting *)i;
	struct batch *b = p->unmapping->batch;
	struct volume *v = b->volume;
	int rc = device_read(v->main, b->back, bytes_of(v, count), bytes_of(v, start));

	if (rc == 0 && memcmp(b->back, data_of(p, start), bytes_of(v, count)) != 0)
		rc = -EILSEQ;
	return rc;
}

static int does_not_hold(struct isolation *i, sector_t start, uint64_t count, int error)
{
	const struct putting *p = (const struct putting *)i;

	(void)error;
	p->unmapping->done.left += count;
	memset(flags_of(p, start), false, count * sizeof(bool));
	return 0;
}

/* Runs of sectors of the piece that main holds so far; false: no more. */
static bool next_held(const struct putting *p, sector_t *at, struct extent *ret)
{
	struct volume *v = p->unmapping->batch->volume;
	sector_t end = extent_end(&p->piece->extent);

	while (*at < end && !*flags_of(p, *at))
		++*at;
	if (*at == end)
		return false;
	*ret = map_get(v->map, *at, end - *at);
	for (uint64_t n = 1; n < ret->count; n++)
		if (!*flags_of(p, *at + n))
			ret->count = n;
	*at += ret->count;
	return true;
}

/* 0, or an error that is about main as a whole, or about us. */
static int try_main(struct putting *p, const struct extent *e, bool writing)
{
	struct volume *v = p->unmapping->batch->volume;
	struct request *r = &p->piece->request;
	uint64_t known = errors_known(v);
	int rc = p->isolation.again(&p->isolation, e->start, e->count);

	if (rc == 0) {
		if (writing)
			note_written(v, e->start, known);
		return 0;
	}
	/* Main answered, with something else: that is of these sectors. */
	if (rc != -EILSEQ || writing) {
		int judged = writing ? judge_main_write(v, r, -rc, e->start, e->count)
				     : judge_main_read(v, r, -rc, e->start, e->count);

		if (judged < 0)
			return judged;
	}
	rc = isolate(&p->isolation, e->start, e->count, -rc);
	return rc < 0 && rc != -ENOMEM ? -EIO : rc;
}

static int put_piece(struct unmapping *u, struct piece *piece, bool writing)
{
	struct putting p = {
		.isolation = {piece->request.deadline, writing ? write_again : verify_again,
			      does_not_hold},
		.unmapping = u,
		.piece = piece,
	};
	sector_t at = piece->extent.start;
	struct extent e;
	int rc = 0;

	while (rc == 0 && next_held(&p, &at, &e))
		rc = try_main(&p, &e, writing);
	return rc;
}

static bool read_one(struct unmapping *u, struct piece *p, sector_t sector, char *to)
{
	struct volume *v = u->batch->volume;

	/* Not tried again what was found to be lost. */
	if (map_get(v->map, sector, 1).state == SECTOR_REMAPPED &&
	    read_sectors(v, &p->request, to, sector, 1) == 0)
		return true;
	if (map_get(v->map, sector, 1).state == SECTOR_PENDING)
		u->done.lost++;
	else
		u->done.left++;
	return false;
}

/* What can be read of the piece is read; only that is put on main. */
static void read_piece(struct unmapping *u, struct piece *p)
{
	struct volume *v = u->batch->volume;
	sector_t start = p->extent.start, end = extent_end(&p->extent);

	while (start < end) {
		struct extent e = map_get(v->map, start, end - start);
		char *to = p->data + bytes_of(v, start - p->extent.start);
		bool *holds = u->holds + place_in(u->batch, to);

		start = extent_end(&e);
		memset(holds, false, e.count * sizeof(bool));
		if (e.state != SECTOR_REMAPPED)
			continue;
		if (read_sectors(v, &p->request, to, e.start, e.count) == 0) {
			memset(holds, true, e.count * sizeof(bool));
			continue;
		}
		for (uint64_t i = 0; i < e.count; i++)
			holds[i] = read_one(u, p, e.start + i, to + bytes_of(v, i));
	}
}

static int put_on_main(struct unmapping *u)
{
	struct batch *b = u->batch;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->count; i++) {
		read_piece(u, &b->pieces[i]);
		rc = put_piece(u, &b->pieces[i], true);
	}
	rc = rc < 0 ? rc : flush_main(b->volume);
	for (size_t i = 0; rc == 0 && i < b->count; i++)
		rc = put_piece(u, &b->pieces[i], false);
	return rc;
}

/* ---- and is forgotten elsewhere ---------------------------------------------------------- */

static int forget(const struct unmapping *u, struct change *c, const struct extent *was)
{
	struct event event = {
		.kind = EVENT_UNMAPPED,
		.sector = was->start,
		.sectors = was->count,
		.spare = was->spare,
		.slot = was->slot,
	};
	struct extent good = {.start = was->start, .count = was->count};
	int rc = change_emptied(c, was->spare, was->slot, was->count, false);

	rc = rc < 0 ? rc : empty_leftovers(u, c, was);
	rc = rc < 0 ? rc : change_extent(c, &good, 0);
	return rc < 0 ? rc : change_event(c, &event);
}

static int gather(struct unmapping *u, struct change *c)
{
	struct batch *b = u->batch;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->count; i++) {
		struct putting p = {.unmapping = u, .piece = &b->pieces[i]};
		sector_t at = p.piece->extent.start;
		struct extent e;

		while (rc == 0 && next_held(&p, &at, &e))
			rc = forget(u, c, &e);
	}
	return rc;
}

/* Each slot that was left is in an event. */
static void publish(struct volume *v, const struct change *c)
{
	for (size_t i = 0; i < c->extent_count; i++)
		map_set(v->map, &c->extents[i].extent);
	for (size_t i = 0; i < c->event_count; i++)
		spare_release(volume_spare(v, c->events[i].spare), c->events[i].slot,
			      c->events[i].sectors);
	atomic_store(&v->slots_needed, 0);
}

/*
 * The rows may be gone at the next opening, or not. Until something is
 * committed over them nobody may write to the slots, and so nobody can read
 * them either: as after any commit in doubt (relocate.c).
 */
static void distrust(struct volume *v, const struct change *c)
{
	for (size_t i = 0; i < c->event_count; i++) {
		const struct event *was = &c->events[i];
		struct extent e = {was->sector, was->sectors, SECTOR_PENDING, was->spare, was->slot};

		map_set(v->map, &e);
	}
}

static void release_memory(struct map *map, const struct change *c, size_t count)
{
	for (size_t i = 0; i < count; i++)
		map_unreserve(map, c->extents[i].extent.start, c->extents[i].extent.count);
}

static int hold_memory(struct map *map, const struct change *c)
{
	for (size_t i = 0; i < c->extent_count; i++) {
		const struct extent *e = &c->extents[i].extent;

		if (map_reserve(map, e->start, e->count) == 0)
			continue;
		release_memory(map, c, i);
		return -ENOMEM;
	}
	return 0;
}

/* What was not done, and what has to be seen to because of that. */
static int not_committed(struct volume *v, const struct change *c, int rc, struct error *err)
{
	struct spare *refusing = rc == -EBADSLT ? volume_spare(v, c->refused_by) : NULL;

	if (c->uncertain)
		distrust(v, c);
	if (c->uncertain || c->not_put_back)
		atomic_store(&v->in_doubt, true);
	if (!refusing)
		return error_set(err, EIO, "the database does not commit (%s), so the rest stays on "
				 "the spares; check its disk and what holds its lock, then try again",
				 errno_name(-rc));
	if (c->refused_flush)
		spare_is(v, refusing, SPARE_FAILING, c->refused_error);
	return error_set(err, EIO, "spare %u does not take that its slots are free (%s), so the rest "
			 "stays there; retire it with 'remapctl retire-spare'", c->refused_by,
			 errno_name(c->refused_error));
}

static int commit(struct unmapping *u, struct change *c, struct error *err)
{
	struct volume *v = u->batch->volume;
	int rc = commit_change(&v->committer, c);

	if (rc < 0)
		return not_committed(v, c, rc, err);
	publish(v, c);
	for (size_t i = 0; i < c->extent_count; i++)
		u->done.moved += c->extents[i].extent.count;
	return 0;
}

static int record(struct unmapping *u, struct error *err)
{
	struct volume *v = u->batch->volume;
	struct change c = {0};
	int rc = gather(u, &c);

	rc = rc < 0 ? rc : hold_memory(v->map, &c);
	if (rc < 0) {
		error_set(err, ENOMEM, "out of memory; end other programs");
	} else {
		rc = c.extent_count ? commit(u, &c, err) : 0;
		release_memory(v->map, &c, c.extent_count);
	}
	change_clear(&c);
	return rc;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static int refuse_main(int rc, struct error *err)
{
	if (rc == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (rc == -ENOSPC)
		return error_set(err, ENOSPC, "the file system that holds main is full; free it");
	return error_set(err, EIO, "main does not do what is asked, so the rest stays on the spares; "
			 "check the disk and its cables, see 'remapctl status'");
}

static int unmap_batch(struct unmapping *u, struct error *err)
{
	struct batch *b = u->batch;
	int rc = find_leftovers(u, err);

	if (rc == 0) {
		rc = put_on_main(u);
		rc = rc < 0 ? refuse_main(rc, err) : record(u, err);
	}
	if (rc < 0)
		batch_stop(b, &u->walk, &b->pieces[0], b->pieces[0].extent.start);
	batch_release(b);
	return rc;
}

/*
 * A spare that was given up is out of reach, not out of the world: if it is
 * found again after the database was lost, a rebuild believes it.
 */
static int check_lost(struct volume *v, struct error *err)
{
	HOLD_LOCK(&v->membership);
	uint32_t here = 0;

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		here += spare_state(v->spares.all[i]) < SPARE_RETIRED;
	if (here == v->spares_in_use)
		return 0;
	return error_set(err, EBUSY, "a spare was given up as lost, and should it be found, what it "
			 "says of these sectors would be taken for the truth; they stay on the "
			 "spares: to leave them, copy disk.img to a good disk");
}

static int prepare(struct unmapping *u, struct volume *v, struct error *err)
{
	int rc = check_ranges(v, u->walk.ranges, u->walk.count, err);

	rc = rc < 0 ? rc : check_lost(v, err);
	if (rc < 0)
		return rc;
	u->retired = count_retired(v);
	u->holds = calloc(BATCH_BYTES / v->sector_size, sizeof(*u->holds));
	if (!u->holds || batch_new(v, true, &u->batch) < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	return 0;
}

int volume_unmap(struct volume *v, const struct sector_range *ranges, size_t count,
		 unsigned patience_ms, struct volume_progress *ret, struct error *err)
{
	int64_t until = now_ms() + patience_ms;
	struct unmapping u = {
		.walk = {.ranges = ranges, .count = count, .wanted = SECTOR_REMAPPED},
		.known_bad = UINT64_MAX,
	};
	int rc = prepare(&u, v, err);

	if (rc == 0) {
		do {
			if (!batch_take(u.batch, &u.walk, UINT64_MAX))
				break;
			rc = unmap_batch(&u, err);
		} while (rc == 0 && now_ms() < until);
		u.done.next = walk_position(&u.walk);
		*ret = u.done;
		batch_free(u.batch);
	}
	free(u.holds);
	free(u.leftovers);
	return rc;
}
