/*
 * How a volume is. Takes no lock that anybody holds during I/O: while every
 * request is stuck on a dying disk, this still answers.
 */
#include <errno.h>
#include <stdio.h>

#include "volume/volume_impl.h"

static unsigned long long ull(uint64_t number)
{
	return number;
}

/* ---- what is wrong: contract 13 --------------------------------------------------- */

static void list_main(struct volume *v, const struct volume_status *s, struct troubles *t)
{
	const char *path = store_volume(v->store)->main_path;

	if (s->main_failed)
		trouble_add(t, VOLUME_FAILED, ON_MAIN, "check the disk and its cables",
			    "main '%.150s' does not answer: nothing is moved", path);
	if (s->main_full)
		trouble_add(t, VOLUME_FULL, ON_MAIN, "free space on it",
			    "the file system that holds main '%.150s' is full: writes fail", path);
	if (s->flush_failed)
		trouble_add(t, VOLUME_FAILED, ON_MAIN, "check the disks, and mount anew",
			    "a flush failed: writes since the last fsync may be lost, and fsync fails");
}

static void list_spare(struct spare *spare, struct troubles *t)
{
	const char *path = spare_path(spare), *error = errno_name(spare_error(spare));
	spare_id_t id = spare_id(spare);

	switch (spare_health(spare)) {
	case SPARE_WELL:
		break;
	case SPARE_NO_ROOM:
		trouble_add(t, VOLUME_FULL, id, "free space on it, or add a spare elsewhere with "
			    "'remapctl add-spare'", "the file system that holds spare %u '%.150s' is "
			    "full (%s): none of its free slots can be used", id, path, error);
		break;
	case SPARE_FAILING:
		trouble_add(t, VOLUME_FAILED, id, "add another one with 'remapctl add-spare', then "
			    "retire this one with 'remapctl retire-spare'", "spare %u '%.150s' does not "
			    "take what it is given (%s): its free slots are not used", id, path, error);
		break;
	case SPARE_AWAY:
		trouble_add(t, VOLUME_FAILED, id, "check the disk and its cables, or if it is lost for "
			    "ever give it up with 'remapctl retire-spare --lost'", "spare %u '%.150s' "
			    "does not answer (%s): sectors on it cannot be read", id, path, error);
		break;
	case SPARE_GONE:
		trouble_add(t, VOLUME_FAILED, id, "give it back and mount anew, or if it is lost for "
			    "ever give it up with 'remapctl retire-spare --lost'", "spare %u '%.150s' "
			    "is gone (%s): sectors on it cannot be read", id, path, error);
		break;
	}
}

static bool is_in_use(const struct spare *spare)
{
	return spare_state(spare) == SPARE_ACTIVE || spare_state(spare) == SPARE_RETIRING;
}

static void list_spares(struct volume *v, struct troubles *t)
{
	struct spare *silent = silent_spare(v);

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		if (is_in_use(v->spares.all[i]))
			list_spare(v->spares.all[i], t);
	if (silent && !spare_failed(silent))
		trouble_add(t, VOLUME_FAILED, spare_id(silent), "check what serves it, or if it is lost "
			    "for ever give it up with 'remapctl retire-spare --lost'", "spare %u "
			    "'%.150s' has not answered for 5 s: reads of what is on it wait",
			    spare_id(silent), spare_path(silent));
}

static void list_room(const struct volume_status *s, struct troubles *t)
{
	static const char remedy[] = "add a spare with 'remapctl add-spare'";

	if (s->free_slots == 0)
		trouble_add(t, VOLUME_FULL, ON_MAIN, remedy, "no slot is free: writes to bad sectors "
			    "fail");
	else if (s->slots_needed)
		trouble_add(t, VOLUME_FULL, ON_MAIN, remedy, "not enough slots are free: a write needed "
			    "%llu, and there were %llu", ull(s->slots_needed), ull(s->slots_found));
	if (s->pending_sectors)
		trouble_add(t, VOLUME_PENDING, ON_MAIN, "see 'remapctl pending', and restore what is "
			    "there", "some sectors are lost: reading them fails until they are written");
}

static void list_database(const struct volume_status *s, enum store_place place, struct troubles *t)
{
	char line[400];

	if (s->commit_failed) {
		snprintf(line, sizeof(line), "bad sectors cannot be moved, the database does not commit: "
			 "%s", commit_reason(s->commit_error, place));
		trouble_add_line(t, VOLUME_FAILED, ON_MAIN, line);
	}
	if (s->log_stuck)
		trouble_add(t, VOLUME_OK, ON_MAIN, "end what reads it all the time, perhaps sqlite3",
			    "the database's log has %llu MiB and cannot shrink", ull(s->log_bytes >> 20));
}

static void list_troubles(struct volume *v, struct volume_status *s, enum store_place place)
{
	list_main(v, s, &s->troubles);
	list_database(s, place, &s->troubles);
	list_spares(v, &s->troubles);
	list_room(s, &s->troubles);
	if (s->stuck[0])
		trouble_add_line(&s->troubles, VOLUME_OK, ON_MAIN, s->stuck);
}

/* ---- the figures ------------------------------------------------------------------ */

uint64_t slots_to_lend(struct spare *spare)
{
	bool lends = spare_state(spare) == SPARE_ACTIVE && !spare_failed(spare);

	return lends ? spare_counts(spare).free : 0;
}

uint64_t slots_free_now(struct volume *v)
{
	uint64_t count = 0;

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		count += slots_to_lend(v->spares.all[i]);
	return count;
}

bool volume_spare_status(struct volume *v, size_t i, struct volume_spare_status *ret)
{
	struct spare *spare = i < spare_set_count(&v->spares) ? v->spares.all[i] : NULL;

	if (!spare)
		return false;
	*ret = (struct volume_spare_status){
		.id = spare_id(spare),
		.free = slots_to_lend(spare),
		.health = !is_in_use(spare) || !spare_failed(spare)    ? VOLUME_OK
			  : spare_health(spare) == SPARE_NO_ROOM ? VOLUME_FULL : VOLUME_FAILED,
	};
	return true;
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
		.main_full = atomic_load(&v->full_at) != NOT_FULL,
		.slots_needed = atomic_load(&v->slots_needed),
		.slots_found = atomic_load(&v->slots_found),
		.free_slots = slots_free_now(v),
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

	snprintf(s.stuck, sizeof(s.stuck), "%s", stuck ? stuck : "");
	if (place != STORE_IN_PLACE && !s.commit_error)
		s.commit_error = ESTALE;
	s.commit_failed = s.commit_error != 0;
	list_troubles(v, &s, place);
	*ret = s;
}
