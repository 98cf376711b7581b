/*
 * Sectors that are known to be bad before anything failed on them.
 *
 * What is readable now is taken to a spare while it still is: by settle, in the
 * order of contract 1. What is not becomes pending, as by any read of it
 * (contract 3). Sectors that are remapped or pending stay as they are: there is
 * nothing to add to what is known of them.
 *
 * Sectors that are lost already become pending without being read: a copy of a
 * dying disk can be read there, and holds what nobody wrote (contract 2).
 */
#include <errno.h>

#include "volume/batch.h"

static const char why[] = "marked as bad";

struct marking {
	struct batch *batch;
	struct walk walk;
	struct settlement moves;
	uint64_t moved; /* in moves */
	struct volume_progress done;
};

static int keep(struct marking *m, struct extent e, const char *data)
{
	int rc = settlement_move(&m->moves, e, data, 0);

	m->moved += rc == 0 ? e.count : 0;
	return rc;
}

/* 0: it is kept, or lost. -EIO: main does not answer. */
static int take_one(struct marking *m, struct piece *p, sector_t sector, char *to)
{
	struct volume *v = m->batch->volume;
	struct extent one = map_get(v->map, sector, 1);
	int rc = 0;

	if (one.state == SECTOR_GOOD) {
		rc = read_sectors(v, &p->request, to, sector, 1);
		if (rc == 0)
			return keep(m, one, to);
		one = map_get(v->map, sector, 1);
	}
	m->done.lost += one.state == SECTOR_PENDING;
	return one.state == SECTOR_PENDING ? 0 : rc;
}

/*
 * Some of e could not be read. Each read may take a dying disk long: when the
 * time is over, what was looked at is settled and let go of first.
 */
static int take_each(struct marking *m, struct piece *p, const struct extent *e, char *to)
{
	struct volume *v = m->batch->volume;
	int rc = 0;

	for (uint64_t i = 0; rc == 0 && i < e->count; i++) {
		rc = take_one(m, p, e->start + i, to + bytes_of(v, i));
		if (rc == 0 && now_ms() >= p->request.deadline) {
			batch_stop(m->batch, &m->walk, p, e->start + i + 1);
			break;
		}
	}
	return rc;
}

static int take_piece(struct marking *m, struct piece *p)
{
	struct volume *v = m->batch->volume;
	sector_t start = p->extent.start, end = extent_end(&p->extent);
	int rc = 0;

	while (rc == 0 && start < end && !m->batch->stopped) {
		struct extent e = map_get(v->map, start, end - start);
		char *to = p->data + bytes_of(v, start - p->extent.start);

		start = extent_end(&e);
		if (e.state != SECTOR_GOOD)
			continue;
		if (read_sectors(v, &p->request, to, e.start, e.count) == 0)
			rc = keep(m, e, to);
		else
			rc = take_each(m, p, &e, to);
	}
	return rc;
}

static int settle_marked(struct marking *m, struct error *err)
{
	struct volume *v = m->batch->volume;
	int rc;

	for (size_t i = 0; i < m->moves.move_count; i++)
		m->moves.moves[i].detail = why;
	rc = settle(v, &m->moves);
	if (rc == 0) {
		m->done.moved += m->moved;
		return 0;
	}
	if (atomic_load(&v->in_doubt))
		return error_set(err, -rc, "it is in doubt whether the move to a spare was committed, so "
				 "these sectors cannot be read until the volume is mounted anew; check "
				 "the disk of the database, then unmount and mount it");
	if (atomic_load(&v->slots_needed))
		return error_set(err, ENOSPC, "no slot is free on the spares, so the rest stays where "
				 "it is; add a spare with 'remapctl add-spare', and try again");
	return error_set(err, -rc, "the move to a spare was not committed, so the rest stays where it "
			 "is; see 'remapctl status', and try again");
}

static int mark_batch(struct marking *m, struct error *err)
{
	struct batch *b = m->batch;
	int rc = 0;

	m->moved = 0;
	for (size_t i = 0; rc == 0 && i < b->count && !b->stopped; i++)
		rc = take_piece(m, &b->pieces[i]);
	if (rc < 0)
		error_set(err, -rc, rc == -ENOMEM ? "out of memory; end other programs"
						  : "main does not answer; check the disk and its "
						    "cables, then mark the rest again");
	else
		rc = settle_marked(m, err);
	settlement_clear(&m->moves);
	if (rc < 0)
		batch_stop(b, &m->walk, &b->pieces[0], b->pieces[0].extent.start);
	batch_release(b);
	return rc;
}

/* At least one sector is looked at: what cannot be read needs no slot. */
static uint64_t room(struct volume *v)
{
	uint64_t slots = 0;

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		slots += slots_to_lend(v->spares.all[i]);
	return slots ? slots : 1;
}

/* ---- sectors that are lost --------------------------------------------------------- */

/* What is still good of the piece, and is to be pending; memory for that is held. */
static int lose_piece(struct volume *v, struct change *change, const struct piece *p)
{
	sector_t start = p->extent.start, end = extent_end(&p->extent);
	int rc = 0;

	while (rc == 0 && start < end) {
		struct extent e = map_get(v->map, start, end - start);
		struct event event = {.kind = EVENT_PENDING, .sector = e.start, .sectors = e.count,
				      .detail = "marked as lost"};

		start = extent_end(&e);
		if (e.state != SECTOR_GOOD)
			continue;
		e.state = SECTOR_PENDING;
		/* Should it be readable, that is not what was written last. */
		forget_intact(v, e.start, e.count);
		rc = map_reserve(v->map, e.start, e.count);
		if (rc < 0)
			break;
		rc = change_extent(change, &e, 0);
		if (rc < 0)
			map_unreserve(v->map, e.start, e.count);
		rc = rc < 0 ? rc : change_event(change, &event);
	}
	return rc;
}

/*
 * The batch is owned, so that the rows can come first: nobody cures what is not
 * marked yet. Where it is in doubt whether they are durable, only a sector that is
 * marked has its row deleted by the write that cures it.
 */
static int lose_batch(struct marking *m, struct error *err)
{
	struct volume *v = m->batch->volume;
	struct change change = {0};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->batch->count; i++)
		rc = lose_piece(v, &change, &m->batch->pieces[i]);
	if (rc < 0)
		error_set(err, -rc, "out of memory; end other programs");
	else if (change.extent_count && (rc = commit_change(&v->committer, &change)) < 0)
		error_set(err, EIO, "the lost sectors were not recorded (%s); see 'remapctl status', "
			  "then mark them again", errno_name(-rc));
	for (size_t i = 0; i < change.extent_count; i++) {
		const struct extent *e = &change.extents[i].extent;

		if (rc == 0 || change.uncertain)
			map_set(v->map, e);
		map_unreserve(v->map, e->start, e->count);
		m->done.lost += rc == 0 ? e->count : 0;
	}
	if (rc < 0)
		batch_stop(m->batch, &m->walk, &m->batch->pieces[0],
			   m->batch->pieces[0].extent.start);
	change_clear(&change);
	batch_release(m->batch);
	return rc == 0 || rc == -ENOMEM ? rc : -EIO;
}

/* ---- batch after batch --------------------------------------------------------------- */

static int mark_all(struct volume *v, const struct sector_range *ranges, size_t count, bool lost,
		    unsigned patience_ms, struct volume_progress *ret, struct error *err)
{
	int64_t until = now_ms() + patience_ms;
	struct marking m = {.walk = {.ranges = ranges, .count = count, .wanted = SECTOR_GOOD}};
	int rc = check_ranges(v, ranges, count, err);

	if (rc < 0)
		return rc;
	if (batch_new(v, !lost, &m.batch) < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	do {
		if (!batch_take(m.batch, &m.walk, lost ? UINT64_MAX : room(v)))
			break;
		rc = lost ? lose_batch(&m, err) : mark_batch(&m, err);
	} while (rc == 0 && now_ms() < until);
	m.done.next = walk_position(&m.walk);
	batch_free(m.batch);
	*ret = m.done;
	return rc;
}

int volume_mark(struct volume *v, const struct sector_range *ranges, size_t count,
		unsigned patience_ms, struct volume_progress *ret, struct error *err)
{
	return mark_all(v, ranges, count, false, patience_ms, ret, err);
}

int volume_mark_lost(struct volume *v, const struct sector_range *ranges, size_t count,
		     unsigned patience_ms, struct volume_progress *ret, struct error *err)
{
	return mark_all(v, ranges, count, true, patience_ms, ret, err);
}
