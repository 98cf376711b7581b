#include "rebuild.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "crash.h"
#include "engine.h"
#include "explore.h"
#include "remapfs/check.h"
#include "remapfs/rebuild.h"
#include "remapfs/spare.h"

/* ---- one rebuild ------------------------------------------------------------------ */

/* A copy of the disk, in use. */
static void take(struct session *s, const struct session *like, const struct disk *left)
{
	disk_copy(&s->disk, left);
	session_start(s, like->sector_size, like->sectors);
}

static void lose_database(struct session *s)
{
	static const enum file lost[] = {FILE_DB, FILE_LOG, FILE_JOURNAL};

	for (size_t i = 0; i < sizeof(lost) / sizeof(lost[0]); i++)
		sim_step(&s->sim, (struct step){.kind = STEP_DELETE, .file = lost[i]}, NULL);
}

/* Whether the file says that it is a spare. */
static bool is_spare(const char *path)
{
	const struct file_device_options o = {.role = "spare"};
	struct spare_identity id;
	struct error err;
	struct device *d;
	bool found;

	if (sim_parts.open_device(NULL, path, &o, &d, &err) < 0)
		return false;
	found = spare_probe(d, &id) == 0;
	device_close(d);
	return found;
}

/* With all spares that say they are some, but not that one. */
static int rebuild(struct session *s, unsigned without, unsigned *ret_spares, struct error *err)
{
	char paths[SPARES][32];
	struct part_spec spares[SPARES];
	struct rebuild_result result;
	struct rebuild_options o = {
		.path = SIM_PATH,
		.main = {.path = "/sim/main"},
		.spares = spares,
		.parts = &sim_parts,
	};

	lose_database(s);
	for (unsigned id = 1; id <= SPARES; id++) {
		char *path = paths[o.spare_count];

		snprintf(path, sizeof(paths[0]), "/sim/spare%u", id);
		if (id == without || !s->disk.files[FILE_MAIN + id].exists || !is_spare(path))
			continue;
		spares[o.spare_count++] = (struct part_spec){.path = path};
	}
	*ret_spares = (unsigned)o.spare_count;
	return engine_rebuild(&o, &result, err);
}

/* ---- after a cut ------------------------------------------------------------------ */

/*
 * What was given up with its spare is there again where that spare comes back.
 * What was lost when the record began may have been written by a request that
 * was under way before: only the database knew that it did not end.
 */
static void read_all(struct session *s, const struct record *r, const struct possible *p, bool live)
{
	struct possible *allowed = must(malloc(s->sectors * sizeof(*allowed)));

	memcpy(allowed, p, s->sectors * sizeof(*allowed));
	for (uint64_t i = 0; i < s->sectors; i++) {
		bool unknown = r->given_up || r->lost[i];

		if (unknown && allowed[i].lost)
			allowed[i].live = ANYTHING;
		if (unknown && allowed[i].lost_cut)
			allowed[i].cut = ANYTHING;
	}
	session_read_all(s, r, allowed, live, NULL);
	free(allowed);
}

static unsigned rebuild_without(const struct session *like, const struct disk *left,
				const struct record *r, const struct possible *p, bool live,
				unsigned without)
{
	struct session s = {0};
	struct error err = {""};
	unsigned spares;
	int rc;

	where.without = without;
	take(&s, like, left);
	rc = rebuild(&s, without, &spares, &err);
	/* One whose superblocks could not be written does not know who is in use. */
	if (rc < 0 && ((without == REBUILT_ALL && !r->forgiving) || rc != -EBADMSG))
		fail("there is no rebuild: %s", err.text);
	if (rc == 0) {
		if (session_open(&s) < 0)
			fail("what was rebuilt cannot be opened");
		audit(s.volume, &s.disk, 0, false);
		read_all(&s, r, p, live);
	}
	session_end(&s);
	where.without = 0;
	return spares;
}

void rebuild_after_cut(const struct session *like, const struct disk *left, const struct record *r,
		       const struct possible *p, bool live)
{
	unsigned spares = rebuild_without(like, left, r, p, live, REBUILT_ALL);

	/*
	 * One that is missing is missed, unless nothing was on it; or unless the
	 * others could not be told of it.
	 */
	for (unsigned id = 1; spares > 1 && !r->forgiving && id <= SPARES; id++)
		if (left->files[FILE_MAIN + id].exists)
			rebuild_without(like, left, r, p, live, id);
}

/* ---- after an orderly end --------------------------------------------------------- */

/*
 * Pending sectors are not known to the spares; but one that was lost in its slot
 * must not be looked for on main.
 */
static bool agrees(const struct extent *was, const struct extent *now)
{
	bool same_place = now->spare == was->spare && now->slot == was->slot;

	if (was->state == SECTOR_REMAPPED)
		return now->state == SECTOR_REMAPPED && same_place;
	if (was->state == SECTOR_PENDING && was->spare != ON_MAIN)
		return now->state != SECTOR_GOOD && same_place;
	return now->state == SECTOR_GOOD;
}

void rebuild_after_close(const struct session *like, const struct disk *left,
			 const struct extent *map)
{
	struct session s = {0};
	struct error err = {""};
	unsigned spares;

	where.without = REBUILT_ALL;
	take(&s, like, left);
	if (rebuild(&s, REBUILT_ALL, &spares, &err) < 0)
		fail("there is no rebuild after an orderly end: %s", err.text);
	if (session_open(&s) < 0)
		fail("what was rebuilt after an orderly end cannot be opened");
	for (uint64_t sector = 0; sector < s.sectors; sector++) {
		struct extent now = session_place(&s, sector);

		if (!agrees(&map[sector], &now))
			fail("sector %llu: the map said state %d, spare %u, slot %llu; rebuilt it says "
			     "%d, %u, %llu", (unsigned long long)sector, (int)map[sector].state,
			     map[sector].spare, (unsigned long long)map[sector].slot,
			     (int)now.state, now.spare, (unsigned long long)now.slot);
	}
	session_end(&s);
	where.without = 0;
}

/* Slots that a defect made unreadable, and what they leave in the table, are no news. */
static void take_finding(void *context, const struct finding *f)
{
	(void)context;
	if (f->kind != FINDING_UNREADABLE && f->kind != FINDING_LEFTOVER)
		fail("check finds '%s' on spare %u, slot %llu: %s", finding_name(f->kind), f->spare,
		     (unsigned long long)f->slot, f->detail);
}

void check_after_close(const struct session *like, const struct disk *left)
{
	const struct check_options o = {.path = SIM_PATH, .found = take_finding, .parts = &sim_parts};
	struct check_result result;
	struct session s = {0};
	struct error err = {""};

	take(&s, like, left);
	if (volume_check(&o, &result, &err) < 0)
		fail("the volume cannot be checked: %s", err.text);
	session_end(&s);
}
