/*
 * A volume with many remaps, without ten million failing writes:
 *
 *     bench_make_remaps VOLUME MAIN SPARE COUNT RUN STRIDE
 *
 * Sector i * STRIDE + j (j < RUN) of MAIN is remapped, COUNT sectors in all.
 * SPARE, which is there and large enough, is formatted and described as the
 * engine does it, then the database is made from it as 'remapctl rebuild' does
 * it: opening the volume compares all that it compares of any other. Slots are
 * given out in another order than that of the sectors, as for sectors that
 * fail one by one all over a disk. What the file holds is their content.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/rebuild.h"
#include "remapfs/spare.h"
#include "volume/commit.h"
#include "volume/cross.h"

#define SECTOR 512u
#define PER_GROUP (SECTOR / 32)

struct plan {
	const char *volume, *main, *spare;
	uint64_t count, run, stride;
	uint64_t runs, step; /* run i is in place i * step modulo runs */
	sector_t main_sectors;
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
	c->device = (struct device){&cached_ops, {.size = (uint64_t)st.st_size,
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

static int describe_all(const struct plan *p, struct spare *spare, uint64_t first_sequence)
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
			.sequence = first_sequence + slot / p->run + 1,
			.data_sum = spare_data_sum(data, SECTOR),
		};
		if (rc < 0 || (g.count < PER_GROUP && slot + 1 < p->count))
			continue;
		rc = spare_write_group(spare, &g);
		g = (struct slot_group){.first = slot + 1};
	}
	return rc;
}

static int make_spare(const struct plan *p, struct error *err)
{
	struct spare_identity id = {.id = 1, .sector_size = SECTOR,
				    .main_sectors = p->main_sectors, .spares = 1, .in_use = 1};
	uint64_t first = (uint64_t)1 << SEQUENCE_EPOCH;
	struct device *d = open_cached(p->spare);
	struct spare *spare;
	bool damaged;
	int rc;

	if (!d)
		return error_set(err, errno, "cannot open '%s'", p->spare);
	uuid_generate(id.volume);
	uuid_generate(id.spare);
	rc = spare_format(d, &id);
	rc = rc < 0 ? rc : spare_open(d, &id, &spare, &damaged, err);
	if (rc < 0)
		return err->text[0] ? rc : error_set(err, -rc, "cannot format '%s'", p->spare);
	if (spare_counts(spare).slots < p->count)
		rc = error_set(err, ENOSPC, "'%s' has too few slots", p->spare);
	rc = rc < 0 ? rc : describe_all(p, spare, first);
	rc = rc < 0 ? rc : spare_flush(spare);
	rc = rc < 0 ? rc : spare_confirm(spare, first + p->runs);
	rc = rc < 0 ? rc : spare_flush(spare);
	if (rc < 0 && !err->text[0])
		error_set(err, -rc, "cannot write '%s'", p->spare);
	spare_close(spare);
	return rc;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static int make_volume(struct plan *p, struct error *err)
{
	const struct part_spec spare = {.path = p->spare};
	const struct rebuild_options o = {.path = p->volume, .main = {.path = p->main},
					  .spares = &spare, .spare_count = 1};
	struct rebuild_result made;
	struct stat st;
	int rc;

	if (stat(p->main, &st) < 0)
		return error_set(err, errno, "cannot look at '%s'", p->main);
	p->main_sectors = (sector_t)st.st_size / SECTOR;
	if (p->count % p->run || p->run > p->stride ||
	    p->count / p->run * p->stride > p->main_sectors)
		return error_set(err, EINVAL, "'%s' has no room for so many remaps", p->main);
	p->runs = p->count / p->run;
	p->step = choose_step(p->runs);
	rc = make_spare(p, err);
	rc = rc < 0 ? rc : volume_rebuild(&o, &made, err);
	if (rc == 0 && made.remapped != p->count)
		rc = error_set(err, EUCLEAN, "%llu sectors are remapped, not %llu",
			       (unsigned long long)made.remapped, (unsigned long long)p->count);
	return rc;
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
