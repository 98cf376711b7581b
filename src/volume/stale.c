#include "volume/stale.h"

#include <stdlib.h>

/* What stands on the spare of a sector that main is to hold again; NULL: nothing. */
static const struct extent *stale_of(const struct committer *m, const struct extent *cured,
				     spare_id_t spare)
{
	for (size_t i = 0; i < m->stale_count; i++) {
		const struct extent *e = &m->stale[i].extent;

		if (e->spare == spare && e->start < extent_end(cured) &&
		    cured->start < extent_end(e))
			return e;
	}
	return NULL;
}

const struct extent *stale_cured(const struct committer *m, const struct change *c,
				 spare_id_t spare)
{
	const struct extent *stale = NULL;

	for (size_t i = 0; !stale && c->result == 0 && i < c->extent_count; i++)
		if (c->extents[i].extent.state == SECTOR_GOOD)
			stale = stale_of(m, &c->extents[i].extent, spare);
	return stale;
}

uint64_t stale_confirmable(const struct committer *m, spare_id_t spare)
{
	uint64_t sequence = m->settled < m->cap ? m->settled : m->cap - 1;

	for (size_t i = 0; i < m->stale_count; i++)
		if (m->stale[i].extent.spare == spare && m->stale[i].sequence <= sequence)
			sequence = m->stale[i].sequence - 1;
	return sequence;
}

void stale_clear(struct committer *m, struct spare *spare)
{
	for (size_t i = 0; i < m->stale_count; i++) {
		struct stale *s = &m->stale[i];

		if (s->extent.spare == spare_id(spare) && !s->cleared)
			s->cleared = spare_clear_sequence(spare, s->extent.slot, s->extent.count,
							  s->sequence) == 0;
	}
}

void stale_forget(struct committer *m, spare_id_t spare)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->stale_count; i++)
		if (m->stale[i].extent.spare != spare || !m->stale[i].cleared)
			m->stale[kept++] = m->stale[i];
	m->stale_count = kept;
}

static void drop(struct committer *m, size_t i)
{
	m->stale[i] = m->stale[--m->stale_count];
}

/* What is left of one on either side of the newer sectors stays. */
static void outvote(struct committer *m, const struct extent *newer)
{
	sector_t end = extent_end(newer);

	for (size_t i = m->stale_count; i-- > 0;) {
		struct stale s = m->stale[i];
		sector_t was = extent_end(&s.extent);
		struct extent rest;

		if (end <= s.extent.start || newer->start >= was)
			continue;
		drop(m, i);
		if (newer->start > s.extent.start) {
			rest = extent_part(s.extent, s.extent.start, newer->start - s.extent.start);
			stale_note(m, &rest, s.sequence, s.cleared);
		}
		if (end < was) {
			rest = extent_part(s.extent, end, was - end);
			stale_note(m, &rest, s.sequence, s.cleared);
		}
	}
}

void stale_outvote(struct committer *m, const struct change *c)
{
	for (size_t i = 0; i < c->extent_count; i++)
		if (c->extents[i].extent.state == SECTOR_REMAPPED)
			outvote(m, &c->extents[i].extent);
}

void stale_note(struct committer *m, const struct extent *e, uint64_t sequence, bool cleared)
{
	if (m->stale_count == m->stale_room) {
		size_t room = m->stale_room * 2 + 16;
		struct stale *more = realloc(m->stale, room * sizeof(*more));

		if (!more) {
			m->cap = sequence < m->cap ? sequence : m->cap;
			return;
		}
		m->stale = more;
		m->stale_room = room;
	}
	m->stale[m->stale_count++] = (struct stale){*e, sequence, cleared};
}
