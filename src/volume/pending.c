/*
 * Sectors that could not be read and have no copy.
 *
 * They are marked in memory first, so that the next reader fails at once and
 * does not wear the disk, and then recorded. Readers share their range, so two
 * of them may come upon the same sector: the second one finds it marked.
 *
 * A pending sector remembers where it was: what a failed slot held must not be
 * looked for on main, where there is older data (contract 2).
 */
#include "volume/volume_impl.h"

#include "remapfs/cleanup.h"

/* Adds the part of `was` that is still as it was to the change; marks it. */
static void mark_part(struct volume *v, struct change *change, struct extent part, int error)
{
	struct event event = {
		.kind = EVENT_PENDING,
		.sector = part.start,
		.sectors = part.count,
		.spare = part.spare,
		.slot = part.slot,
		.error = error,
	};

	part.state = SECTOR_PENDING;
	/*
	 * Memory first: a row without a mark would outlive the write that cures
	 * the sector. Without memory it just fails again at the next read.
	 */
	if (map_reserve(v->map, part.start, part.count) < 0)
		return;
	map_set(v->map, &part);
	map_unreserve(v->map, part.start, part.count);
	if (change_extent(change, &part, error) < 0)
		return;
	change_event(change, &event);
	if (part.spare == ON_MAIN)
		return;
	spare_mark_bad(volume_spare(v, part.spare), part.slot, part.count);
	if (change_bad(change, part.spare, part.slot, part.count, error) < 0)
		atomic_store(&v->in_doubt, true);
	event.kind = EVENT_SLOT_BAD;
	change_event(change, &event);
}

static void mark_extent(struct volume *v, struct change *change, const struct move *lost)
{
	sector_t start = lost->from.start, end = extent_end(&lost->from);

	while (start < end) {
		struct extent now = map_get(v->map, start, end - start);

		if (now.state == lost->from.state)
			mark_part(v, change, now, lost->error);
		start = extent_end(&now);
	}
}

void mark_pending(struct volume *v, const struct settlement *lost)
{
	struct change change = {0};

	pthread_mutex_lock(&v->marking);
	for (size_t i = 0; i < lost->move_count; i++)
		mark_extent(v, &change, &lost->moves[i]);
	pthread_mutex_unlock(&v->marking);
	if (change.extent_count)
		record_change(v, &change);
	change_clear(&change);
}
