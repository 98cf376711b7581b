#include "audit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remapfs/spare.h"
#include "spare/format.h"
#include "trace.h"

struct place {
	enum sector_state state;
	spare_id_t spare;
	slot_t slot;
};

static void *must(void *p)
{
	if (!p)
		rig_die("out of memory");
	return p;
}

/* ---- the map in the database ---------------------------------------------------- */

struct loading {
	struct place *places;
	uint64_t sectors;
};

static int load_extent(void *context, const struct extent *e)
{
	struct loading *l = context;

	if (extent_end(e) > l->sectors)
		rig_die("an extent lies outside main");
	for (sector_t s = e->start; s < extent_end(e); s++) {
		struct extent one = extent_part(*e, s, 1);

		l->places[s] = (struct place){one.state, one.spare, one.slot};
	}
	return 0;
}

static struct place *load_map(struct rig *r)
{
	struct loading l = {must(calloc(r->sectors, sizeof(struct place))), r->sectors};

	if (store_each_extent(r->store, load_extent, &l) < 0)
		rig_die("the map cannot be read from the database");
	return l.places;
}

/* ---- slot tables ---------------------------------------------------------------- */

struct table {
	struct spare_identity identity;
	uint8_t *raw;
};

static void read_at(int fd, void *to, size_t length, uint64_t offset)
{
	if (pread(fd, to, length, (off_t)offset) != (ssize_t)length)
		rig_die("a file of the volume cannot be read");
}

static struct table read_table(struct rig *r, unsigned id)
{
	const struct file_device_options o = {.role = "spare", .read_only = true};
	struct spare_layout l = spare_layout(r->shape.spare_bytes[id - 1], r->shape.sector_size);
	struct table t = {.raw = must(malloc(l.slots * DESCRIPTOR_BYTES))};
	int fd = open(rig_path(r, "spare", id), O_RDONLY | O_CLOEXEC);
	struct error err = {""};
	struct device *d;

	if (fd < 0 || file_device_open(rig_path(r, "spare", id), &o, &d, &err) < 0)
		rig_die("spare %u cannot be opened: %s", id, err.text);
	if (spare_probe(d, &t.identity) < 0)
		rig_die("spare %u lost its superblock", id);
	read_at(fd, t.raw, l.slots * DESCRIPTOR_BYTES, l.table_offset);
	device_close(d);
	close(fd);
	return t;
}

struct best {
	uint64_t sequence;
	spare_id_t spare;
	slot_t slot;
};

/* The latest descriptor of each sector: where a rebuild would find it. */
static void collect(struct rig *r, unsigned id, struct best *best)
{
	struct table t = read_table(r, id);

	for (slot_t slot = 0; slot < r->slots[id - 1]; slot++) {
		struct descriptor d;
		int rc = descriptor_decode(t.raw + slot * DESCRIPTOR_BYTES, &t.identity, slot, &d);

		if (rc == -EBADMSG)
			rig_die("the descriptor of slot %llu of spare %u is damaged",
				(unsigned long long)slot, id);
		if (rc < 0)
			continue;
		if (d.sector >= r->sectors)
			rig_die("a descriptor speaks of a sector outside main");
		if (best[d.sector].sequence == d.sequence)
			rig_die("two slots hold sector %llu with one sequence number",
				(unsigned long long)d.sector);
		if (d.sequence > best[d.sector].sequence)
			best[d.sector] = (struct best){d.sequence, id, slot};
	}
	free(t.raw);
}

void audit_slots(struct rig *r)
{
	struct best *best = must(calloc(r->sectors, sizeof(*best)));
	struct place *places = load_map(r);

	for (unsigned id = 1; id <= r->shape.spare_count; id++)
		collect(r, id, best);
	for (sector_t s = 0; s < r->sectors; s++) {
		if (places[s].state != SECTOR_REMAPPED)
			continue;
		if (best[s].spare == places[s].spare && best[s].slot == places[s].slot)
			continue;
		trace_print(s);
		rig_die("sector %llu is in slot %llu of spare %u, but the slot tables say slot %llu "
			"of spare %u", (unsigned long long)s, (unsigned long long)places[s].slot,
			places[s].spare, (unsigned long long)best[s].slot, best[s].spare);
	}
	free(places);
	free(best);
}

/* ---- counts --------------------------------------------------------------------- */

void audit_counts(struct rig *r)
{
	struct volume_status status;
	struct store_totals totals;
	uint64_t expected = 0;

	for (unsigned id = 1; id <= r->shape.spare_count; id++) {
		uint64_t used, bad;

		if (store_spare_usage(r->store, id, &used, &bad) < 0)
			rig_die("the usage of spare %u cannot be read", id);
		expected += r->slots[id - 1] - used - bad;
	}
	volume_status(r->volume, &status);
	if (store_totals(r->store, &totals) < 0)
		rig_die("the totals cannot be read");
	if (status.free_slots != expected)
		rig_die("%llu slots are free in memory, %llu in the database",
			(unsigned long long)status.free_slots, (unsigned long long)expected);
	if (status.remapped_sectors != totals.remapped_sectors ||
	    status.pending_sectors != totals.pending_sectors)
		rig_die("the map in memory is not that of the database");
}

/* ---- the map -------------------------------------------------------------------- */

static const char *complaint(const struct suspicion *suspicion, sector_t s, enum sector_state state)
{
	if (state == SECTOR_REMAPPED && !may_be_remapped(suspicion, s))
		return "it is remapped without a reason";
	if (state == SECTOR_PENDING && !may_be_unreadable(suspicion, s, 1))
		return "it is pending without a reason";
	if (state == SECTOR_GOOD && must_be_remapped(suspicion, s))
		return "it cannot be on main";
	return NULL;
}

void audit_map(struct rig *r, struct shadow *shadow, const struct suspicion *suspicion)
{
	uint32_t size = r->shape.sector_size;
	int fd = open(rig_path(r, "main", 0), O_RDONLY | O_CLOEXEC);
	struct place *places = load_map(r);
	uint8_t *sector = must(malloc(size));
	uint64_t bad;

	if (fd < 0)
		rig_die("main cannot be opened");
	for (sector_t s = 0; s < r->sectors; s++) {
		const char *text = complaint(suspicion, s, places[s].state);

		if (!text && places[s].state == SECTOR_GOOD) {
			read_at(fd, sector, size, s * size);
			if (!shadow_accept(shadow, sector, size, s * size, &bad))
				text = "main does not hold what the image does";
		}
		if (!text)
			continue;
		trace_print(s);
		rig_die("at the end, sector %llu: %s", (unsigned long long)s, text);
	}
	free(sector);
	free(places);
	close(fd);
}
