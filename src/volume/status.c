/*
 * How a volume is. Takes no lock that anybody holds during I/O: while every
 * request is stuck on a dying disk, this still answers.
 */
#include <stdio.h>

#include "volume/volume_impl.h"

static const char *trouble(const struct volume_status *s)
{
	if (s->main_failed)
		return "main does not answer: nothing is moved; check the disk and its cables";
	if (s->flush_failed)
		return "a flush failed: writes since the last fsync may be lost; mount anew";
	if (s->commit_failed)
		return "the database does not commit: bad sectors cannot be moved; check its disk "
		       "and who holds its lock";
	if (s->stuck[0])
		return s->stuck;
	if (s->free_slots == 0 || s->spares_full)
		return "not enough free slots are left: writes to bad sectors fail; add a spare "
		       "with 'remapctl add-spare'";
	if (s->pending_sectors)
		return "some sectors are lost: reading them fails until they are written";
	return "";
}

uint64_t slots_to_lend(struct spare *spare)
{
	bool lends = spare_state(spare) == SPARE_ACTIVE && !spare_failed(spare);

	return lends ? spare_counts(spare).free : 0;
}

void volume_status(struct volume *v, struct volume_status *ret)
{
	const char *stuck = atomic_load(&v->stuck);
	struct map_counts counts = map_counts(v->map);
	struct volume_status s = {
		.main_failed = atomic_load(&v->reading.failed) || atomic_load(&v->writing.failed),
		.flush_failed = atomic_load(v->flush_failed),
		.commit_failed = atomic_load(&v->committer.failed),
		.spares_full = atomic_load(&v->spares_full),
		.main_direct = v->main->geometry.direct,
		.faults = faulty_sectors(v),
		.remapped_sectors = counts.remapped,
		.pending_sectors = counts.pending,
		.reads = atomic_load(&v->reads),
		.writes = atomic_load(&v->writes),
		.errors = atomic_load(&v->errors),
		.commits = atomic_load(&v->committer.commits),
		.map_bytes = counts.bytes,
	};

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		s.free_slots += slots_to_lend(v->spares.all[i]);
	snprintf(s.stuck, sizeof(s.stuck), "%s", stuck ? stuck : "");
	snprintf(s.trouble, sizeof(s.trouble), "%s", trouble(&s));
	*ret = s;
}
