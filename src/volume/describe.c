/*
 * Changes of the committing thread on the spares: the descriptors that say what the
 * slots of a round hold, and what becomes of them when that is not recorded.
 */
#include "volume/commit.h"
#include "volume/stale.h"

/* The table sector that descriptors are made in, before it is written. */
struct filling {
	struct change *since; /* the first one that has some there; NULL: there are none */
	struct spare *spare;
	struct extent group; /* spare, slot and count */
};

/* Whether the change has slots that the table sector describes: *ret_slot is one. */
static bool uses_group(const struct change *c, const struct extent *group, slot_t *ret_slot)
{
	for (size_t i = 0; i < c->extent_count; i++) {
		const struct extent *e = &c->extents[i].extent;

		*ret_slot = e->slot > group->slot ? e->slot : group->slot;
		if (e->state == SECTOR_REMAPPED && e->spare == group->spare &&
		    e->slot < group->slot + group->count && group->slot < e->slot + e->count)
			return true;
	}
	return false;
}

/* All of it is there, up to those of `last`. */
static void write_filled(struct filling *f, const struct change *last)
{
	struct change *c = f->since;
	int rc = c ? spare_save_table(f->spare) : 0;

	f->since = NULL;
	for (; rc < 0 && c; c = c == last ? NULL : c->next) {
		slot_t slot;

		if (c->result == 0 && uses_group(c, &f->group, &slot))
			change_refuse(c, f->group.spare, slot, -rc, false);
	}
}

/* Those of e that its first table sector has; how many. 0: the change was refused. */
static uint64_t describe_some(struct committer *m, struct change *c, struct filling *f,
			      struct extent e, const uint32_t *sums)
{
	struct spare *spare = spare_set_find(m->spares, e.spare);
	struct extent group = {.spare = e.spare};
	uint64_t most;
	int rc;

	spare_table_group(spare, e.slot, &group.slot, &group.count);
	if (group.spare != f->group.spare || group.slot != f->group.slot)
		write_filled(f, c);
	if (c->result)
		return 0;
	most = group.slot + group.count - e.slot;
	e.count = e.count < most ? e.count : most;
	c->described = true;
	rc = spare_describe(spare, e.slot, e.count, e.start, c->sequence, sums);
	if (rc < 0) {
		change_refuse(c, e.spare, e.slot, -rc, false);
		return 0;
	}
	f->since = f->since ? f->since : c;
	f->spare = spare;
	f->group = group;
	return e.count;
}

/*
 * Descriptors of one change; its data is on the spare already. Those that come
 * at the same time have slots one after the other, so their descriptors share
 * table sectors, and these are written once.
 */
static void describe(struct committer *m, struct change *c, struct filling *f)
{
	c->sequence = ++m->sequence;
	for (size_t i = 0; i < c->extent_count && c->result == 0; i++) {
		const struct extent *e = &c->extents[i].extent;
		uint64_t done = e->state == SECTOR_REMAPPED ? 0 : e->count;

		while (done < e->count && c->result == 0)
			done += describe_some(m, c, f, extent_part(*e, e->start + done, e->count - done),
					      c->extents[i].sums + done);
	}
}

void describe_all(struct committer *m, struct change *list)
{
	struct filling f = {0};
	struct change *last = NULL;

	for (struct change *c = list; c; last = c, c = c->next)
		describe(m, c, &f);
	write_filled(&f, last);
}

/*
 * What was described but not recorded must not be found by a rebuild. Where it
 * is not known whether it was recorded, the next open looks, and describes it
 * again if so. What cannot be cleared is tried again before each flush, and is
 * without effect once a newer descriptor of the sectors is committed.
 */
void undescribe(struct committer *m, struct change *c)
{
	for (size_t i = 0; i < c->extent_count; i++) {
		const struct extent *e = &c->extents[i].extent;
		int rc;

		if (e->state != SECTOR_REMAPPED)
			continue;
		rc = spare_clear_sequence(spare_set_find(m->spares, e->spare), e->slot, e->count, c->sequence);
		stale_note(m, e, c->sequence, rc == 0);
		c->left |= rc < 0;
	}
}
