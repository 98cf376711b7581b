#include "rig.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remapfs/spare.h"

static char scratch[256]; /* to be removed, whatever happens; "" when there is none */

/* ---- ending --------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st, (void)type, (void)ftw;
	return remove(path);
}

static void remove_scratch(void)
{
	if (scratch[0])
		nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	scratch[0] = 0;
}

void rig_die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("model: FAILED: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\nmodel: again with: --seed %llu --ops %llu --threads %u --sector-size %u\n",
		(unsigned long long)settings.seed, (unsigned long long)settings.ops,
		settings.threads, settings.sector_size);
	remove_scratch();
	/* Other threads may still be at work on what exit handlers would free. */
	_exit(1);
}

/* ---- making --------------------------------------------------------------------- */

static void make_scratch(struct rig *r)
{
	const char *base = settings.dir;

	if (!base && access("/dev/shm", W_OK) == 0)
		base = "/dev/shm";
	if (!base)
		base = getenv("TMPDIR");
	snprintf(r->dir, sizeof(r->dir), "%s/remapfs-model-XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(r->dir))
		rig_die("mkdtemp %s: %s", r->dir, strerror(errno));
	memcpy(scratch, r->dir, sizeof(scratch));
}

const char *rig_path(const struct rig *r, const char *part, unsigned id)
{
	static _Thread_local char path[512];

	if (id)
		snprintf(path, sizeof(path), "%s/%s%u", r->dir, part, id);
	else
		snprintf(path, sizeof(path), "%s/%s", r->dir, part);
	return path;
}

static void create(struct rig *r)
{
	const struct rig_shape *s = &r->shape;
	char paths[SPARES_MAX + 2][512];
	struct part_spec spares[SPARES_MAX] = {0};
	struct error warning = {""}, err = {""};
	struct create_options o = {
		.path = paths[SPARES_MAX],
		.main = {.path = paths[SPARES_MAX + 1], .size = s->main_bytes},
		.spares = spares,
		.spare_count = s->spare_count,
		.sector_size = s->sector_size,
	};

	snprintf(paths[SPARES_MAX], 512, "%s", rig_path(r, "volume", 0));
	snprintf(paths[SPARES_MAX + 1], 512, "%s", rig_path(r, "main", 0));
	for (unsigned i = 0; i < s->spare_count; i++) {
		snprintf(paths[i], 512, "%s", rig_path(r, "spare", i + 1));
		spares[i] = (struct part_spec){.path = paths[i], .size = s->spare_bytes[i]};
	}
	if (volume_create(&o, &warning, &err) < 0)
		rig_die("create: %s", err.text);
}

void rig_open(struct rig *r)
{
	const struct volume_options o = {.opener = "the model test"};
	struct error err = {""};

	if (volume_open(rig_path(r, "volume", 0), &o, &r->volume, &err) < 0)
		rig_die("open: %s", err.text);
}

void rig_close(struct rig *r)
{
	int rc = volume_close(r->volume);

	r->volume = NULL;
	if (rc < 0)
		rig_die("close: %s", strerror(-rc));
}

void rig_start(struct rig *r, const struct rig_shape *shape)
{
	struct error err = {""};

	*r = (struct rig){.shape = *shape, .sectors = shape->main_bytes / shape->sector_size};
	make_scratch(r);
	create(r);
	rig_open(r);
	if (store_open(rig_path(r, "volume", 0), STORE_WRITE, &r->store, &err) < 0)
		rig_die("open the database: %s", err.text);
	for (size_t i = 0; i < shape->spare_count; i++) {
		struct spare_layout l = spare_layout(shape->spare_bytes[i], shape->sector_size);

		r->slots[i] = l.slots;
		r->first_slot[i] = l.slots_offset / shape->sector_size;
	}
}

void rig_end(struct rig *r)
{
	if (r->volume)
		rig_close(r);
	store_close(r->store);
	remove_scratch();
}

/* ---- faults --------------------------------------------------------------------- */

static void committed(struct rig *r, int rc)
{
	rc = rc < 0 ? rc : store_commit(r->store);
	rc = rc < 0 ? rc : volume_reload_faults(r->volume);
	if (rc < 0)
		rig_die("changing faults: %s", strerror(-rc));
}

void rig_add_faults(struct rig *r, const struct fault *faults, size_t count)
{
	int rc = store_begin(r->store);

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = store_add_fault(r->store, &faults[i]);
	committed(r, rc);
}

void rig_clear_faults(struct rig *r, spare_id_t spare, sector_t start, uint64_t count)
{
	uint64_t cleared;
	int rc = store_begin(r->store);

	committed(r, rc < 0 ? rc
			    : store_clear_faults_in(r->store, spare, start, count, &cleared));
}

void rig_clear_all_faults(struct rig *r)
{
	uint64_t cleared;
	int rc = store_begin(r->store);

	committed(r, rc < 0 ? rc : store_clear_all_faults(r->store, &cleared));
}

void *rig_buffer(uint64_t length)
{
	void *p = NULL;

	if (posix_memalign(&p, VOLUME_ALIGNMENT, length) != 0)
		rig_die("out of memory");
	return p;
}
