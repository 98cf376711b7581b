/*
 * A volume with many remaps, without ten million failing writes:
 *
 *     bench_make_remaps VOLUME MAIN SPARE COUNT RUN STRIDE
 *
 * Sector i * STRIDE + j (j < RUN) of MAIN is remapped, COUNT sectors in all.
 * SPARE, which is there and large enough, is formatted and described by the
 * engine's own code. The rows are the engine's as well, but go in without its
 * triggers: these look at every row from six sides, and opening the volume, or
 * 'remapctl check', tells whether they would have agreed. There is no history.
 *
 * Slots are given out in another order than that of the sectors, as for sectors
 * that fail one by one all over a disk. What the file holds is their content.
 */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/spare.h"
#include "remapfs/store.h"
#include "volume/cross.h"

#define SECTOR 512u
#define PER_GROUP (SECTOR / 32)

struct plan {
	const char *volume, *main, *spare;
	uint64_t count, run, stride;
	uint64_t runs, step; /* run i is in place i * step modulo runs */
	uint64_t first;      /* the sequence before that of the run in the first place */
	struct spare_identity id;
	uint64_t spare_bytes;
};

/* ---- a spare written through the page cache ------------------------------------------- */

struct cached {
	struct device device;
	int fd;
};

static int cached_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	return pread(((struct cached *)d)->fd, buf, length, (off_t)offset) == (ssize_t)length
		       ? 0 : -EIO;
}

static int cached_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	return pwrite(((struct cached *)d)->fd, buf, length, (off_t)offset) == (ssize_t)length
		       ? 0 : -EIO;
}

static int cached_flush(struct device *d)
{
	return fdatasync(((struct cached *)d)->fd) == 0 ? 0 : -errno;
}

static void cached_close(struct device *d)
{
	close(((struct cached *)d)->fd);
	free(d);
}

static const struct device_ops cached_ops = {
	.read = cached_read,
	.write = cached_write,
	.flush = cached_flush,
	.close = cached_close,
};

static struct device *open_cached(const char *path)
{
	struct cached *c = calloc(1, sizeof(*c));
	struct stat st;

	if (!c)
		return NULL;
	c->fd = open(path, O_RDWR | O_CLOEXEC);
	if (c->fd < 0 || fstat(c->fd, &st) < 0) {
		free(c);
		return NULL;
	}
	c->device = (struct device){.ops = &cached_ops,
				    .geometry = {.size = (uint64_t)st.st_size,
						 .block_size = SECTOR}};
	return &c->device;
}

/* ---- the slot table -------------------------------------------------------------------- */

static uint64_t gcd(uint64_t a, uint64_t b)
{
	return b ? gcd(b, a % b) : a;
}

/* The golden section of the runs: neighbours come to lie far apart. */
static uint64_t choose_step(uint64_t runs)
{
	uint64_t step = (uint64_t)((double)runs * 0.6180339887) | 1;

	while (gcd(step, runs) != 1)
		step += 2;
	return step;
}

/* The first sectors of the runs, by the place of the run on the spare. */
static sector_t *place_runs(const struct plan *p)
{
	sector_t *starts = malloc(p->runs * sizeof(*starts));

	for (uint64_t i = 0, place = 0; starts && i < p->runs; i++) {
		starts[place] = i * p->stride;
		place = (place + p->step) % p->runs;
	}
	return starts;
}

static int describe_all(const struct plan *p, struct spare *spare)
{
	CLEANUP_FREE sector_t *starts = place_runs(p);
	struct slot_group g = {0};
	int rc = starts ? 0 : -ENOMEM;

	for (slot_t slot = 0; rc == 0 && slot < p->count; slot++) {
		char data[SECTOR];

		rc = spare_read(spare, data, slot, 1);
		g.slots[g.count++] = (struct slot_descriptor){
			.state = DESCRIPTOR_VALID,
			.sector = starts[slot / p->run] + slot % p->run,
			.sequence = p->first + slot / p->run + 1,
			.data_sum = spare_data_sum(data, SECTOR),
		};
		if (rc < 0 || (g.count < PER_GROUP && slot + 1 < p->count))
			continue;
		rc = spare_write_group(spare, &g);
		g = (struct slot_group){.first = slot + 1};
	}
	return rc;
}

static int make_spare(struct plan *p, struct error *err)
{
	struct device *d = open_cached(p->spare);
	struct spare *spare;
	bool damaged;
	int rc;

	if (!d)
		return error_set(err, errno, "cannot open '%s'", p->spare);
	p->spare_bytes = d->geometry.size;
	rc = spare_format(d, &p->id);
	rc = rc < 0 ? rc : spare_open(d, &p->id, &spare, &damaged, err);
	if (rc < 0)
		return err->text[0] ? rc : error_set(err, -rc, "cannot format '%s'", p->spare);
	if (spare_counts(spare).slots < p->count)
		rc = error_set(err, ENOSPC, "'%s' has too few slots", p->spare);
	rc = rc < 0 ? rc : describe_all(p, spare);
	rc = rc < 0 ? rc : spare_flush(spare);
	rc = rc < 0 ? rc : spare_confirm(spare, p->first + p->runs);
	rc = rc < 0 ? rc : spare_flush(spare);
	if (rc < 0 && !err->text[0])
		error_set(err, -rc, "cannot write '%s'", p->spare);
	spare_close(spare);
	return rc;
}

/* ---- the rows ------------------------------------------------------------------------------ */

static int create_database(const struct plan *p, struct error *err)
{
	CLEANUP_FREE char *main_path = realpath(p->main, NULL);
	CLEANUP_FREE char *spare_path = realpath(p->spare, NULL);
	struct store_volume volume = {.main_path = main_path, .sector_size = SECTOR,
				      .main_sectors = p->id.main_sectors, .opens = 1};
	struct store_spare spare = {.id = 1, .path = spare_path, .length = p->spare_bytes,
				    .slots = spare_layout(p->spare_bytes, SECTOR).slots};

	if (!main_path || !spare_path)
		return error_set(err, errno, "cannot find '%s'", p->main);
	uuid_unparse_lower(p->id.volume, volume.uuid);
	uuid_unparse_lower(p->id.spare, spare.uuid);
	return store_create(p->volume, &volume, &spare, 1, err);
}

/* What the triggers of remap are made with; the caller frees it with sqlite3_free. */
static char *take_triggers(sqlite3 *db)
{
	char *drop = NULL, *make = NULL;
	sqlite3_stmt *row;

	if (sqlite3_prepare_v2(db, "SELECT group_concat('DROP TRIGGER ' || name, ';'),"
			       " group_concat(sql, ';') || ';' FROM sqlite_schema"
			       " WHERE type = 'trigger' AND tbl_name = 'remap'", -1, &row, NULL) !=
	    SQLITE_OK)
		return NULL;
	if (sqlite3_step(row) == SQLITE_ROW) {
		drop = sqlite3_mprintf("%s", sqlite3_column_text(row, 0));
		make = sqlite3_mprintf("%s", sqlite3_column_text(row, 1));
	}
	sqlite3_finalize(row);
	if (!drop || !make || sqlite3_exec(db, drop, NULL, NULL, NULL) != SQLITE_OK) {
		sqlite3_free(make);
		make = NULL;
	}
	sqlite3_free(drop);
	return make;
}

/* As src/store/extents.c keeps it, which opening the volume asks for. */
static uint64_t sum_of_row(sector_t sector, uint64_t count, slot_t slot, uint64_t sequence)
{
	const uint64_t words[] = {SECTOR_REMAPPED, sector, count, 1, slot, sequence};

	return XXH3_64bits(words, sizeof(words));
}

static int insert_rows(const struct plan *p, sqlite3 *db, uint64_t *ret_sum)
{
	sqlite3_stmt *row;
	int rc = sqlite3_prepare_v2(db, "INSERT INTO remap VALUES (?, ?, 1, ?, ?, 'EIO',"
				    " strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", -1, &row, NULL);

	for (uint64_t i = 0, place = 0; rc == SQLITE_OK && i < p->runs; i++) {
		uint64_t sequence = p->first + place + 1;

		sqlite3_bind_int64(row, 1, (int64_t)(i * p->stride));
		sqlite3_bind_int64(row, 2, (int64_t)p->run);
		sqlite3_bind_int64(row, 3, (int64_t)(place * p->run));
		sqlite3_bind_int64(row, 4, (int64_t)sequence);
		sqlite3_step(row);
		rc = sqlite3_reset(row);
		*ret_sum ^= sum_of_row(i * p->stride, p->run, place * p->run, sequence);
		place = (place + p->step) % p->runs;
	}
	sqlite3_finalize(row);
	return rc;
}

/* SQLite's number of the first statement that fails. */
static int fill_database(const struct plan *p, sqlite3 *db)
{
	char *triggers, *end;
	uint64_t sum = 0;
	int rc = sqlite3_exec(db, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
			      "PRAGMA cache_size = -1000000; BEGIN", NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		return rc;
	triggers = take_triggers(db);
	if (!triggers)
		return SQLITE_ERROR;
	rc = insert_rows(p, db, &sum);
	end = sqlite3_mprintf("%s UPDATE volume SET map_sum = %lld; COMMIT;"
			      "PRAGMA journal_mode = WAL", triggers, (long long)sum);
	if (rc == SQLITE_OK)
		rc = end ? sqlite3_exec(db, end, NULL, NULL, NULL) : SQLITE_NOMEM;
	sqlite3_free(triggers);
	sqlite3_free(end);
	return rc;
}

static int make_database(const struct plan *p, struct error *err)
{
	int rc = create_database(p, err);
	sqlite3 *db;

	if (rc < 0)
		return rc;
	if (sqlite3_open(p->volume, &db) != SQLITE_OK || fill_database(p, db) != SQLITE_OK)
		rc = error_set(err, EIO, "cannot fill '%s': %s", p->volume, sqlite3_errmsg(db));
	sqlite3_close(db);
	return rc;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int make_volume(struct plan *p, struct error *err)
{
	struct stat st;
	int rc;

	if (stat(p->main, &st) < 0)
		return error_set(err, errno, "cannot look at '%s'", p->main);
	p->id = (struct spare_identity){.id = 1, .sector_size = SECTOR, .spares = 1, .in_use = 1,
					.main_sectors = (sector_t)st.st_size / SECTOR};
	uuid_generate(p->id.volume);
	uuid_generate(p->id.spare);
	if (p->count % p->run || p->run > p->stride ||
	    p->count / p->run * p->stride > p->id.main_sectors)
		return error_set(err, EINVAL, "'%s' has no room for so many remaps", p->main);
	p->runs = p->count / p->run;
	p->step = choose_step(p->runs);
	p->first = (uint64_t)1 << SEQUENCE_EPOCH;
	rc = make_spare(p, err);
	return rc < 0 ? rc : make_database(p, err);
}

int main(int argc, char **argv)
{
	struct plan p;
	struct error err = {""};

	if (argc != 7) {
		fprintf(stderr, "usage: %s VOLUME MAIN SPARE COUNT RUN STRIDE\n", argv[0]);
		return 2;
	}
	p = (struct plan){.volume = argv[1], .main = argv[2], .spare = argv[3]};
	if (parse_number(argv[4], 1, SECTOR_MAX, &p.count, &err) < 0 ||
	    parse_number(argv[5], 1, 65536, &p.run, &err) < 0 ||
	    parse_number(argv[6], 1, SECTOR_MAX, &p.stride, &err) < 0 ||
	    make_volume(&p, &err) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], err.text);
		return 1;
	}
	return 0;
}
