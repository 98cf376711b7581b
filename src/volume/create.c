/*
 * Making a volume: every check first, then every change.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "remapfs/cleanup.h"
#include "remapfs/folder.h"
#include "remapfs/parse.h"
#include "remapfs/spare.h"
#include "remapfs/store.h"
#include "remapfs/volume.h"
#include "volume/apart.h"
#include "volume/content.h"
#include "volume/identity.h"
#include "volume/part.h"

struct creation {
	const struct create_options *options;
	struct error *warning, *err;
	struct part main;
	struct part *spares;
	char *path; /* of the volume, absolute */
	uint32_t sector_size;
};

/* ---- paths ----------------------------------------------------------------------------- */

/* SQLite would take the log of a volume that was removed for that of the new one. */
static int check_no_log(struct creation *c)
{
	static const char *const suffixes[] = {"-wal", "-shm", "-journal"};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		CLEANUP_FREE char *name = NULL;
		struct stat st;

		if (asprintf(&name, "%s%s", c->options->path, suffixes[i]) < 0) {
			name = NULL;
			return error_set(c->err, ENOMEM, "out of memory; end other programs");
		}
		if (lstat(name, &st) == 0)
			return error_set(c->err, EEXIST, "'%s' is left from another volume of that "
					 "name; remove it, or choose another name", name);
	}
	return 0;
}

static int check_volume_path(struct creation *c)
{
	const char *path = c->options->path;
	struct stat st;
	int rc;

	if (!path[0])
		return error_set(c->err, EINVAL, "the name of the volume is empty; give the path "
				 "of a file to make");
	if (lstat(path, &st) == 0)
		return error_set(c->err, EEXIST, "volume '%s' exists already; choose another name, "
				 "or remove it first", path);
	rc = check_no_log(c);
	if (rc < 0)
		return rc;
	c->path = part_absolute(path);
	if (!c->path)
		return error_set(c->err, errno, "cannot make volume '%s': %s; choose a folder that "
				 "exists", path, strerror(errno));
	return store_can_create(c->path, c->err);
}

static int list_locations(const struct creation *c, struct locations *l)
{
	int rc = locations_add(l, "the database", ON_MAIN, c->path, 0, 0);

	rc = rc < 0 ? rc : locations_add(l, "main", ON_MAIN, c->main.path, 0, 0);
	for (size_t i = 0; rc == 0 && i < c->options->spare_count; i++)
		rc = locations_add(l, "spare", ON_MAIN, c->spares[i].path,
				   c->spares[i].spec->offset, c->spares[i].spec->length);
	return rc < 0 ? error_set(c->err, ENOMEM, "out of memory; end other programs") : 0;
}

static int check_distinct(struct creation *c)
{
	struct locations l = {0};
	int rc = list_locations(c, &l);

	rc = rc < 0 ? rc
		    : locations_apart(&l, 1, c->options->force,
				      "give each its own disk, file or region", c->err);
	locations_free(&l);
	return rc;
}

/* ---- sizes ------------------------------------------------------------------------------------ */

/* The next size of a sector that a volume can have; 0: there is none. */
static uint32_t next_size(uint32_t size)
{
	return size <= 512 ? 512 : size <= 4096 ? 4096 : 0;
}

static int refuse_size(struct creation *c, const struct part *p)
{
	uint32_t next = next_size(p->block_size);

	if (!next)
		return error_set(c->err, EINVAL, "%s '%s' has sectors of %u bytes, a volume at most "
				 "4096; use a disk with smaller ones", p->role, p->path, p->block_size);
	if (p->is_spare)
		return error_set(c->err, EINVAL, "the volume has sectors of %u bytes, spare '%s' of "
				 "%u; use a spare with smaller ones, or --sector-size %u where nothing "
				 "on main depends on it", c->sector_size, p->path, p->block_size, next);
	return error_set(c->err, EINVAL, "main '%s' has sectors of %u bytes; choose --sector-size %u%s",
			 p->path, p->block_size, next, next == p->block_size ? ""
			 : ", which is the next that a volume can have");
}

static int choose_sector_size(struct creation *c)
{
	uint32_t main_size = c->main.block_size ? c->main.block_size : 512;

	c->sector_size = c->options->sector_size ? c->options->sector_size : main_size;
	if (c->sector_size < main_size || c->sector_size != next_size(c->sector_size))
		return refuse_size(c, &c->main);
	for (size_t i = 0; i < c->options->spare_count; i++)
		if (c->spares[i].block_size > c->sector_size)
			return refuse_size(c, &c->spares[i]);
	return 0;
}

static int check_main_size(struct creation *c)
{
	const struct part *p = &c->main;

	if (p->size < c->sector_size)
		return error_set(c->err, EINVAL, "main '%s' is too small: %llu bytes, not even one "
				 "sector; give a larger one", p->path, (unsigned long long)p->size);
	if (p->size % c->sector_size)
		return error_set(c->err, EINVAL, "main '%s' has %llu bytes, no whole number of "
				 "sectors of %u; pad it with truncate -s %%%u", p->path,
				 (unsigned long long)p->size, c->sector_size, c->sector_size);
	if (p->size / c->sector_size > SECTOR_MAX)
		return error_set(c->err, EINVAL, "main '%s' is too large; at most %llu sectors",
				 p->path, (unsigned long long)SECTOR_MAX);
	return 0;
}

static int check_sizes(struct creation *c)
{
	int rc = choose_sector_size(c);

	rc = rc < 0 ? rc : check_main_size(c);
	for (size_t i = 0; rc == 0 && i < c->options->spare_count; i++)
		rc = part_check_spare_size(&c->spares[i], c->sector_size, c->err);
	return rc;
}

static int check_all(struct creation *c)
{
	size_t n = c->options->spare_count;
	int rc = check_volume_path(c);

	if (rc == 0 && (n < 1 || n > SPARE_ID_MAX))
		rc = error_set(c->err, EINVAL, "a volume needs 1 to %u spares; add --spare PATH",
			       SPARE_ID_MAX);
	rc = rc < 0 ? rc : part_find(&c->main, c->err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = part_find(&c->spares[i], c->err);
	rc = rc < 0 ? rc : check_distinct(c);
	rc = rc < 0 ? rc : part_check_existing(&c->main, c->warning, c->err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = part_check_existing(&c->spares[i], c->warning, c->err);
	rc = rc < 0 ? rc : check_sizes(c);
	if (rc == 0 && !c->main.missing && !c->options->force)
		rc = content_check_main(c->main.path, c->main.device, c->err);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (!c->spares[i].missing && !c->options->force)
			rc = content_check(&c->spares[i], c->options->progress,
					   c->options->context, c->err);
	return rc < 0 ? rc : folder_check(c->path, c->err);
}

/* ---- making ------------------------------------------------------------------------------------- */

/* Several spares may be regions of one file that is to be made. */
static bool made_already(const struct creation *c, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (part_same_file(&c->spares[i], &c->spares[index]))
			return true;
	return false;
}

static int make_missing(struct creation *c)
{
	int rc = part_make(&c->main, false, c->err);

	if (rc == 0 && c->main.missing)
		rc = part_open(&c->main, c->warning, c->err);
	for (size_t i = 0; rc == 0 && i < c->options->spare_count; i++) {
		if (!c->spares[i].missing)
			continue;
		rc = made_already(c, i) ? 0 : part_make(&c->spares[i], true, c->err);
		rc = rc < 0 ? rc : part_open(&c->spares[i], c->warning, c->err);
	}
	/* What a new file can do is known only now. */
	return rc < 0 ? rc : check_sizes(c);
}

static int make_volume(struct creation *c)
{
	size_t n = c->options->spare_count;
	CLEANUP_FREE struct store_spare *spares = calloc(n, sizeof(*spares));
	struct store_volume volume = {
		.main_path = c->main.path,
		.main_sectors = c->main.size / c->sector_size,
		.sector_size = c->sector_size,
	};
	struct spare_identity id = {
		.sector_size = c->sector_size,
		.main_sectors = c->main.size / c->sector_size,
		.spares = (uint32_t)n,
		.in_use = (uint32_t)n,
	};
	int rc = 0;

	if (!spares)
		return error_set(c->err, ENOMEM, "out of memory; end other programs");
	uuid_generate(id.volume);
	uuid_unparse_lower(id.volume, volume.uuid);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		id.id = (spare_id_t)(i + 1);
		rc = part_make_spare(&c->spares[i], &id, c->options->progress, c->options->context,
				     &spares[i], c->err);
	}
	if (rc < 0)
		return rc;
	main_identify(c->main.device, NULL, &volume.main);
	if (main_read_places(c->main.device, NULL, c->sector_size, &volume.main) < 0)
		return error_set(c->err, ENOMEM, "out of memory; end other programs");
	rc = store_create(c->path, &volume, spares, n, c->err);
	free(volume.main.places);
	return rc;
}

int volume_create(const struct create_options *options, struct error *warning, struct error *err)
{
	size_t n = options->spare_count;
	struct creation c = {
		.options = options,
		.warning = warning,
		.err = err,
		.main = {.spec = &options->main, .role = "main"},
		.spares = calloc(n + 1, sizeof(struct part)),
	};
	int rc;

	if (!c.spares)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (warning)
		warning->text[0] = 0;
	for (size_t i = 0; i < n; i++)
		c.spares[i] = (struct part){.spec = &options->spares[i], .role = "spare", .is_spare = true};
	rc = check_all(&c);
	rc = rc < 0 ? rc : make_missing(&c);
	rc = rc < 0 ? rc : make_volume(&c);
	part_let_go(&c.main, rc == 0);
	for (size_t i = 0; i < n; i++)
		part_let_go(&c.spares[i], rc == 0);
	free(c.spares);
	free(c.path);
	return rc;
}
