/*
 * Sectors that could not be read and have no copy.
 *
 * They are marked in memory first, so that the next reader fails at once and
 * does not wear the disk, and then recorded. Readers share their range, so two
 * of them may come upon the same sector: the second one finds it marked.
 *
 * A pending sector remembers where it was: what a failed slot held must not be
 * looked for on main, where there is older data (contract 2).
 *
 * Those of main that were lost since the volume was opened, and that nobody
 * began to write since, are remembered as intact: could they be read again,
 * what main holds is what was acknowledged last. A write that began and failed
 * may have changed main; and before this opening main was anybody's: a copy of
 * it that was put in its place has zeros there, and so has a sector that hdparm
 * repaired.
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
	if (part.spare == ON_MAIN) {
		/* Without memory it just cannot be cleared by reading. */
		map_set(v->main_intact, &part);
		return;
	}
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

bool is_main_intact(struct volume *v, sector_t sector)
{
	struct extent now = map_get(v->map, sector, 1);

	return now.state == SECTOR_PENDING && now.spare == ON_MAIN &&
	       !atomic_load(&v->none_intact) &&
	       map_get(v->main_intact, sector, 1).state == SECTOR_PENDING;
}

void forget_intact(struct volume *v, sector_t start, uint64_t count)
{
	const struct extent e = {.start = start, .count = count, .state = SECTOR_GOOD};

	if (map_next_special(v->main_intact, start) < start + count &&
	    map_set(v->main_intact, &e) < 0)
		atomic_store(&v->none_intact, true);
}
