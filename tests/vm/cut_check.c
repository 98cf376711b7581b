/*
 * cut-check FOLDER FIRST: opens the volume on the disks that a power cut left
 * in FOLDER, and looks whether it is as promised (contract 6). FOLDER/volume is
 * the database. Writes FOLDER/disk.img, for fsck. FOLDER/holes has the sectors
 * of disk.img that main never took, ascending.
 */
#include "cut.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/volume.h"

#define CHUNK (1u << 20)

static const char *folder;
static unsigned wrong;

static char *in_folder(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		errx(1, "out of memory");
	return path;
}

/* In the machine they had other names. */
static int open_device(void *context, const char *path, const struct file_device_options *o,
		       struct device **ret, struct error *error)
{
	struct file_device_options here = *o;
	char *name = in_folder(strcmp(o->role, "main") == 0 ? "main" : "spare");
	int rc;

	(void)context;
	(void)path;
	rc = file_device_open(name, &here, ret, error);
	free(name);
	return rc;
}

/* ---- what was promised ------------------------------------------------------------ */

static struct cut_expectation *load_expected(size_t *ret_count)
{
	char *path = in_folder("expected");
	struct cut_expectation *all = malloc(1u << 24);
	FILE *file = fopen(path, "re");

	if (!file || !all)
		err(1, "%s", path);
	*ret_count = fread(all, sizeof(*all), (1u << 24) / sizeof(*all), file);
	fclose(file);
	free(path);
	return all;
}

static bool *load_holes(uint64_t sectors)
{
	char *path = in_folder("holes");
	FILE *file = fopen(path, "re");
	bool *holes = calloc(sectors, sizeof(*holes));
	unsigned long long sector;

	if (!file || !holes)
		err(1, "%s", path);
	while (fscanf(file, "%llu", &sector) == 1)
		if (sector < sectors)
			holes[sector] = true;
	fclose(file);
	free(path);
	return holes;
}

/*
 * A sector that main refused is as it was acknowledged first, or newer: writes
 * that came later went to its slot, as to a disk with a cache.
 */
static void check_sector(const struct cut_tag *tag, uint64_t sector,
			 const struct cut_expectation *e, bool hole)
{
	static const struct cut_tag never;
	uint64_t least = hole && e->first > e->synced ? e->first : e->synced;
	uint64_t seen = tag->sequence;

	if (memcmp(tag, &never, sizeof(never)) == 0)
		seen = 0;
	else if (!cut_tag_is_valid(tag, sector))
		seen = UINT64_MAX;
	/* One more may have been on its way. */
	if (seen >= least && seen <= e->last + 1)
		return;
	wrong++;
	warnx("sector %llu%s: write %lld is there, but %llu was promised (acknowledged up to %llu)",
	      (unsigned long long)sector, hole ? ", a hole" : "", (long long)seen,
	      (unsigned long long)least, (unsigned long long)e->last);
}

/* ---- reading all of it -------------------------------------------------------------- */

static char *read_image(struct volume *v)
{
	uint64_t size = volume_size(v);
	char *path = in_folder("disk.img");
	FILE *file = fopen(path, "we");
	void *image;

	if (!file || posix_memalign(&image, VOLUME_ALIGNMENT, size) != 0)
		err(1, "%s", path);
	for (uint64_t at = 0; at < size; at += CHUNK) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		int rc = volume_read(v, (char *)image + at, n, at);

		if (rc < 0)
			errx(1, "reading at byte %llu: %s", (unsigned long long)at, strerror(-rc));
	}
	if (fwrite(image, 1, size, file) != size || fclose(file) != 0)
		err(1, "%s", path);
	free(path);
	return image;
}

int main(int argc, char **argv)
{
	struct volume_parts parts = {.open_device = open_device};
	struct volume_options options = {.parts = &parts, .opener = "cut-check"};
	struct cut_expectation *expected;
	struct volume *v;
	struct error error = {0};
	uint64_t first;
	size_t count;
	bool *holes;
	char *path, *image;

	if (argc != 3)
		errx(2, "cut-check FOLDER FIRST");
	folder = argv[1];
	first = strtoull(argv[2], NULL, 10);
	path = in_folder("volume");
	if (volume_open(path, &options, &v, &error) < 0)
		errx(1, "the volume does not open: %s", error.text);
	image = read_image(v);
	holes = load_holes(volume_size(v) / CUT_SECTOR);
	expected = load_expected(&count);
	for (uint64_t s = first; s < volume_size(v) / CUT_SECTOR; s++) {
		uint64_t block = (s - first) / CUT_BLOCK;

		if (block < count && expected[block].last)
			check_sector((const struct cut_tag *)(image + s * CUT_SECTOR), s,
				     &expected[block], holes[s]);
	}
	if (volume_close(v) < 0)
		errx(1, "the volume does not close");
	return wrong ? 1 : 0;
}
