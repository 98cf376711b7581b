#include "audit.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "memory.h"
#include "sim.h"
#include "spare/spare_impl.h"
#include "store/statement.h"
#include "volume/volume_impl.h"

struct auditing {
	struct volume *volume;
	const struct disk *disk;
	struct extent *places;          /* by sector, as the rows say */
	uint8_t *slots[SPARES];         /* 'u' used, 'b' bad, 0 free */
	uint64_t used[SPARES], bad[SPARES];
	uint64_t rows;
	char last_at[32];
};

static struct store *look(struct volume *v)
{
	sim_current()->quiet = true;
	memory_spare(true);
	return committer_enter(&v->committer);
}

static void look_away(struct volume *v)
{
	committer_leave(&v->committer);
	memory_spare(false);
	sim_current()->quiet = false;
}

/* ---- the rows --------------------------------------------------------------------- */

static void take_slot(struct auditing *a, spare_id_t id, slot_t slot, char what)
{
	const struct spare *spare = volume_spare(a->volume, id);

	if (!spare || slot >= spare->layout.slots)
		fail("a row names slot %llu of spare %u, which is not there",
		     (unsigned long long)slot, id);
	if (a->slots[id - 1][slot])
		fail("slot %llu of spare %u is there twice", (unsigned long long)slot, id);
	a->slots[id - 1][slot] = (uint8_t)what;
	*(what == 'u' ? &a->used[id - 1] : &a->bad[id - 1]) += 1;
}

static int add_extent(void *context, const struct extent *e)
{
	struct auditing *a = context;

	for (sector_t s = e->start; s < extent_end(e); s++) {
		struct extent one = extent_part(*e, s, 1);

		if (s >= a->volume->sectors || a->places[s].state != SECTOR_GOOD)
			fail("sector %llu is there twice or outside main", (unsigned long long)s);
		a->places[s] = one;
		if (e->state == SECTOR_REMAPPED)
			take_slot(a, one.spare, one.slot, 'u');
	}
	return 0;
}

static int add_bad(void *context, spare_id_t spare, slot_t first, uint64_t count)
{
	struct auditing *a = context;

	/* It may have left. */
	for (slot_t i = first; volume_spare(a->volume, spare) && i < first + count; i++)
		take_slot(a, spare, i, 'b');
	return 0;
}

/* ---- rows and memory -------------------------------------------------------------- */

static void compare_map(const struct auditing *a, bool live)
{
	for (sector_t s = 0; s < a->volume->sectors; s++) {
		struct extent map = map_get(a->volume->map, s, 1);
		const struct extent *row = &a->places[s];

		if (map.state == row->state && map.spare == row->spare && map.slot == row->slot)
			continue;
		if (live && map.state == SECTOR_PENDING)
			continue;
		fail("sector %llu: the map says state %d, spare %u, slot %llu; the database %d, %u, "
		     "%llu", (unsigned long long)s, (int)map.state, map.spare,
		     (unsigned long long)map.slot, (int)row->state, row->spare,
		     (unsigned long long)row->slot);
	}
}

static void compare_counts(const struct auditing *a, bool live)
{
	for (size_t n = 0; n < spare_set_count(&a->volume->spares); n++) {
		struct spare_counts c = spare_counts(a->volume->spares.all[n]);
		spare_id_t i = spare_id(a->volume->spares.all[n]) - 1;

		/* What memory gave up may not be recorded yet. */
		if (live ? c.used + c.bad < a->used[i] : c.used != a->used[i] || c.bad != a->bad[i])
			fail("spare %u: %llu slots used and %llu bad in memory, %llu and %llu in "
			     "the database", i + 1, (unsigned long long)c.used,
			     (unsigned long long)c.bad, (unsigned long long)a->used[i],
			     (unsigned long long)a->bad[i]);
	}
}

/* ---- descriptors ------------------------------------------------------------------ */

/* Contract 10: a rebuild finds each row in the slot table. */
static int check_row(void *context, const char *const *values)
{
	struct auditing *a = context;
	uint64_t sector = strtoull(values[0], NULL, 10), count = strtoull(values[1], NULL, 10);
	uint64_t slot = strtoull(values[3], NULL, 10), sequence = strtoull(values[6], NULL, 10);
	spare_id_t id = (spare_id_t)strtoul(values[2], NULL, 10);
	const struct spare *spare = volume_spare(a->volume, id);
	const uint8_t *table = a->disk->files[FILE_MAIN + id].data + spare->layout.table_offset;

	for (uint64_t i = 0; i < count; i++) {
		struct descriptor d = {0};
		int rc = descriptor_decode(table + (slot + i) * DESCRIPTOR_BYTES, &spare->identity,
					   slot + i, &d);

		if (rc < 0 || d.sector != sector + i || d.sequence != sequence)
			fail("sector %llu is in slot %llu of spare %u, whose descriptor does not say "
			     "so (%s, sector %llu, sequence %llx, not %llx)",
			     (unsigned long long)(sector + i), (unsigned long long)(slot + i), id,
			     rc < 0 ? errno_name(-rc) : "valid", (unsigned long long)d.sector,
			     (unsigned long long)d.sequence, (unsigned long long)sequence);
	}
	return 0;
}

/* ---- history ---------------------------------------------------------------------- */

static int check_event(void *context, const char *const *values)
{
	struct auditing *a = context;

	if (strtoull(values[0], NULL, 10) != ++a->rows)
		fail("row %llu of the history has number %s", (unsigned long long)a->rows,
		     values[0]);
	if (strcmp(values[1], a->last_at) < 0)
		fail("row %s of the history is from before the one above it", values[0]);
	snprintf(a->last_at, sizeof(a->last_at), "%s", values[1]);
	return 0;
}

/* ---- all of it -------------------------------------------------------------------- */

static void read_rows(struct auditing *a, struct store *s, uint64_t events)
{
	const struct store_filter all = {0};
	struct error err = {""};

	if (store_each_extent(s, add_extent, a) < 0 || store_each_bad_slots(s, add_bad, a) < 0 ||
	    store_query(s, STORE_REMAPS, &all, check_row, a, &err) < 0 ||
	    store_query(s, STORE_HISTORY, &all, check_event, a, &err) < 0)
		fail("the database cannot be read: %s", store_message(s));
	if (a->rows < events)
		fail("the history has %llu rows; %llu had been committed",
		     (unsigned long long)a->rows, (unsigned long long)events);
}

void audit(struct volume *v, const struct disk *d, uint64_t events, bool live)
{
	struct auditing a = {.volume = v, .disk = d};
	struct store *s = look(v);

	a.places = must(calloc(v->sectors, sizeof(*a.places)));
	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		a.slots[spare_id(v->spares.all[i]) - 1] =
			must(calloc(1, v->spares.all[i]->layout.slots));
	read_rows(&a, s, events);
	look_away(v);
	compare_map(&a, live);
	compare_counts(&a, live);
	free(a.places);
	for (size_t i = 0; i < SPARES; i++)
		free(a.slots[i]);
}

void audit_integrity(struct volume *v)
{
	struct store *s = look(v);
	sqlite3_stmt *row = NULL;

	if (sqlite3_prepare_v2(s->db, "PRAGMA integrity_check", -1, &row, NULL) != SQLITE_OK ||
	    sqlite3_step(row) != SQLITE_ROW ||
	    strcmp((const char *)sqlite3_column_text(row, 0), "ok") != 0)
		fail("the database is damaged: %s", sqlite3_errmsg(s->db));
	sqlite3_finalize(row);
	look_away(v);
}

uint64_t audit_events(struct volume *v)
{
	struct store_totals totals = {0};

	if (store_totals(look(v), &totals) < 0)
		totals.events = 0;
	look_away(v);
	return totals.events;
}
