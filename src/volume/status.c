/*
 * How a volume is. Takes no lock that anybody holds during I/O: while every
 * request is stuck on a dying disk, this still answers.
 */
#include <errno.h>
#include <stdio.h>

#include "volume/volume_impl.h"

/* What stands in the way of the promise, gravest first. */
static void tell_trouble(const struct volume_status *s, enum store_place place, char *to,
			 size_t size)
{
	if (s->main_failed)
		snprintf(to, size, "main does not answer: nothing is moved; check the disk and its "
			 "cables");
	else if (s->flush_failed)
		snprintf(to, size, "a flush failed: writes since the last fsync may be lost; mount "
			 "anew");
	else if (s->commit_failed)
		snprintf(to, size, "bad sectors cannot be moved, the database does not commit: %s",
			 commit_reason(s->commit_error, place));
	else if (s->stuck[0])
		snprintf(to, size, "%s", s->stuck);
	else if (s->free_slots == 0 || s->spares_full)
		snprintf(to, size, "not enough free slots are left: writes to bad sectors fail; add "
			 "a spare with 'remapctl add-spare'");
	else if (s->pending_sectors)
		snprintf(to, size, "some sectors are lost: reading them fails until they are "
			 "written");
	else if (s->log_stuck)
		snprintf(to, size, "the database's log has %llu MiB and cannot shrink: end who reads "
			 "it all the time, a sqlite3 perhaps", (unsigned long long)(s->log_bytes >> 20));
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
	/* Now, not when it was last looked at: who asks may be about to open it. */
	enum store_place place = store_place(v->store);
	struct volume_status s = {
		.main_failed = atomic_load(&v->reading.failed) || atomic_load(&v->writing.failed),
		.flush_failed = atomic_load(v->flush_failed),
		.commit_error = atomic_load(&v->committer.error),
		.misplaced = place == STORE_MISPLACED,
		.log_stuck = atomic_load(&v->committer.log_stuck),
		.log_bytes = atomic_load(&v->committer.log_bytes),
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
	if (place != STORE_IN_PLACE && !s.commit_error)
		s.commit_error = ESTALE;
	s.commit_failed = s.commit_error != 0;
	tell_trouble(&s, place, s.trouble, sizeof(s.trouble));
	*ret = s;
}
