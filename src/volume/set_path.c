/*
 * Main and spares that have another path than before: each is opened there and
 * looked at first, so that a volume never points to what is not its own.
 *
 * A spare tells by its superblock whose it is. An older copy of it does too, and
 * must not come back: see age.h. Main is known by what is kept of it: see identity.h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "remapfs/cleanup.h"
#include "remapfs/spare.h"
#include "remapfs/store.h"
#include "remapfs/volume.h"
#include "volume/age.h"
#include "volume/apart.h"
#include "volume/identity.h"
#include "volume/part.h"
#include "volume/spare_set.h"

struct relocation {
	const char *path; /* of the volume */
	const struct path_change *changes;
	size_t count;
	char **absolute; /* of each change */
	bool force; /* another main than the one that there was */
	struct store *store;
	struct store_identity main; /* known: what is kept of main from now on */
	struct error *warning, *err;
};

/* ---- what is given --------------------------------------------------------------------- */

static const struct store_spare *find_spare(const struct relocation *r, spare_id_t id,
					    size_t *ret_index)
{
	size_t count;
	const struct store_spare *spares = store_spares(r->store, &count);

	for (size_t i = 0; i < count; i++)
		if (spares[i].id == id && spare_is_here(&spares[i])) {
			*ret_index = i;
			return &spares[i];
		}
	return NULL;
}

static int check_given(const struct relocation *r)
{
	size_t index;

	for (size_t i = 0; i < r->count; i++) {
		spare_id_t id = r->changes[i].spare;

		for (size_t j = 0; j < i; j++)
			if (r->changes[j].spare == id)
				return error_set(r->err, EINVAL, "the path of %s is given twice; give "
						 "it once", id == ON_MAIN ? "main" : "a spare");
		if (id != ON_MAIN && !find_spare(r, id, &index))
			return error_set(r->err, ENOENT, "there is no spare %u in use; see "
					 "'remapctl status'", id);
	}
	return 0;
}

static int make_absolute(struct relocation *r)
{
	for (size_t i = 0; i < r->count; i++) {
		const char *path = r->changes[i].path;

		/* As it was given: /dev/disk/by-id/… names a disk for ever. */
		r->absolute[i] = part_absolute(path);
		if (!r->absolute[i])
			return error_set(r->err, errno, "cannot use '%s': %s; check the path", path,
					 strerror(errno));
	}
	return 0;
}

/* Where it is when all changes are made. */
static const char *path_of(const struct relocation *r, spare_id_t id, const char *now)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->changes[i].spare == id)
			return r->absolute[i];
	return now;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	if (stat(a, &x) < 0 || stat(b, &y) < 0)
		return strcmp(a, b) == 0;
	if (S_ISBLK(x.st_mode) && S_ISBLK(y.st_mode))
		return x.st_rdev == y.st_rdev;
	return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Of all members, wherever they are then. */
static int check_distinct(const struct relocation *r)
{
	struct locations l = {0};
	int rc = locations_add(&l, "the database", ON_MAIN, r->path, 0, 0);
	size_t count;
	const struct store_spare *spares = store_spares(r->store, &count);

	rc = rc < 0 ? rc
		    : locations_add(&l, "main", ON_MAIN,
				    path_of(r, ON_MAIN, store_volume(r->store)->main_path), 0, 0);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (spare_is_here(&spares[i]))
			rc = locations_add(&l, "spare", spares[i].id,
					   path_of(r, spares[i].id, spares[i].path),
					   spares[i].offset, spares[i].length);
	rc = rc < 0 ? error_set(r->err, ENOMEM, "out of memory; end other programs")
		    : locations_apart(&l, 1, true,
				      "give the path that each has now", r->err);
	locations_free(&l);
	return rc;
}

/* ---- main ------------------------------------------------------------------------------- */

/* Of a main that has another name the old one leads nowhere, or to another disk. */
static void warn_of_old_main(struct relocation *r, const char *path)
{
	const struct store_volume *volume = store_volume(r->store);
	struct file_device_options o = {.role = "main", .read_only = true};
	struct device *d;

	if (is_same_file(volume->main_path, path) ||
	    file_device_open(volume->main_path, &o, &d, NULL) < 0)
		return;
	if (d->geometry.size == volume->main_sectors * volume->sector_size)
		error_set(r->warning, EEXIST, "'%s' is still there and has the size of main too; be "
			  "sure that '%s' is the right one", volume->main_path, path);
	device_close(d);
}

static int check_main_device(struct relocation *r, const char *path, struct device *d)
{
	const struct store_volume *volume = store_volume(r->store);
	uint64_t size = volume->main_sectors * volume->sector_size;
	struct spare_identity id;

	if (d->geometry.size != size)
		return error_set(r->err, EBADMSG, "'%s' has %llu bytes, main of this volume %llu; give "
				 "the path that main has now", path,
				 (unsigned long long)d->geometry.size, (unsigned long long)size);
	if (d->geometry.block_size > volume->sector_size)
		return error_set(r->err, EBADMSG, "'%s' has sectors of %u bytes, the volume of %u; give "
				 "the path that main has now", path, d->geometry.block_size,
				 volume->sector_size);
	if (spare_probe(d, &id) == 0)
		return error_set(r->err, EBADMSG, "'%s' is a spare of a volume, not main; give the "
				 "path that main has now", path);
	return 0;
}

/* Bad sectors belong to one disk, and are no more bad on its successor. */
static void warn_of_copy(struct relocation *r, struct map *map, const char *path)
{
	struct map_counts counts = map_counts(map);

	if (counts.remapped + counts.pending == 0)
		warn_of_old_main(r, path);
	else
		error_set(r->warning, ESTALE, "'%s' is a copy of main: that %llu sector%s moved and "
			  "%llu %s lost is of the old disk, and stays so; 'remapctl unmap' brings "
			  "home what moved, and writing restores what is lost", path,
			  (unsigned long long)counts.remapped, counts.remapped == 1 ? "" : "s",
			  (unsigned long long)counts.pending, counts.pending == 1 ? "is" : "are");
}

static void warn_of_main(struct relocation *r, struct map *map, const char *path,
			 const struct main_judgement *judgement)
{
	struct error ignored;

	if (main_warn(path, judgement, r->warning ? r->warning : &ignored))
		return;
	if (judgement->is == MAIN_COPY)
		warn_of_copy(r, map, path);
	else
		warn_of_old_main(r, path);
}

static bool is_another(const struct main_judgement *judgement)
{
	return judgement->is == MAIN_OTHER || judgement->is == MAIN_UNKNOWN;
}

/* What is kept of it from now on. That it was changed is for the next opening to tell. */
static int keep_main(struct relocation *r, struct map *map, struct device *d,
		     const struct main_judgement *judgement)
{
	const struct store_volume *volume = store_volume(r->store);

	main_identify(d, &volume->main, &r->main);
	if (judgement->is == MAIN_CHANGED)
		r->main.written_at = volume->main.written_at;
	if (!is_another(judgement))
		return 0;
	r->main.opens = volume->opens;
	return main_read_places(d, map, volume->sector_size, &r->main);
}

static int judge_main(struct relocation *r, const char *path, struct device *d)
{
	struct main_judgement judgement;
	struct map *map;
	int rc = main_map(r->store, &map);

	if (rc < 0)
		return error_set(r->err, -rc, "the map in the database cannot be used (%s); see "
				 "'remapctl check'", errno_name(-rc));
	rc = main_judge(r->store, map, d, &judgement);
	if (rc < 0)
		rc = error_set(r->err, -rc, "main cannot be compared (%s); see 'remapctl check'",
			       errno_name(-rc));
	else if (is_another(&judgement) && !r->force)
		rc = main_refuse(store_volume(r->store), path, &judgement, r->err);
	else if ((rc = keep_main(r, map, d, &judgement)) < 0)
		error_set(r->err, -rc, "out of memory; end other programs");
	if (rc == 0 && !is_another(&judgement))
		warn_of_main(r, map, path, &judgement);
	map_free(map);
	return rc;
}

static int check_main(struct relocation *r, const char *path)
{
	struct file_device_options o = {.role = "main", .read_only = true};
	struct device *d;
	int rc = file_device_open(path, &o, &d, r->err);

	if (rc < 0)
		return rc;
	rc = check_main_device(r, path, d);
	rc = rc < 0 ? rc : judge_main(r, path, d);
	device_close(d);
	return rc;
}

/* ---- spares ------------------------------------------------------------------------------ */

static int check_superblock(struct relocation *r, const char *path, struct device *d,
			    const struct spare_identity *expected)
{
	char uuid[UUID_STR_LEN];
	struct spare_identity id;
	int rc = spare_probe(d, &id);

	if (rc == -EPROTO)
		return error_set(r->err, EPROTO, "spare '%s' has a newer format; use a newer remapfs",
				 path);
	if (rc < 0)
		return error_set(r->err, EBADMSG, "'%s' carries no superblock of a spare; give the path "
				 "that spare %u has now", path, expected->id);
	uuid_unparse_lower(id.volume, uuid);
	if (uuid_compare(id.volume, expected->volume) != 0)
		return error_set(r->err, EBADMSG, "'%s' is a spare of another volume (%s); give the "
				 "path that spare %u has now", path, uuid, expected->id);
	if (uuid_compare(id.spare, expected->spare) != 0)
		return error_set(r->err, EBADMSG, "'%s' is spare %u of this volume, not spare %u; give "
				 "the path that spare %u has now", path, id.id, expected->id,
				 expected->id);
	return 0;
}

static int check_spare(struct relocation *r, spare_id_t id, const char *path)
{
	size_t count, index = 0;
	const struct store_spare *spares = store_spares(r->store, &count);
	const struct store_spare *info = find_spare(r, id, &index);
	struct file_device_options o = {.role = "spare", .offset = info->offset,
					.length = info->length, .read_only = true};
	struct spare_identity expected;
	struct spare *spare;
	struct device *d;
	bool damaged;
	int rc = spare_identity_of(store_volume(r->store), spares, count, index, &expected);

	if (rc < 0)
		return error_set(r->err, EUCLEAN, "the volume is damaged (spare %u has no valid uuid); "
				 "restore it from a copy", id);
	rc = file_device_open(path, &o, &d, r->err);
	if (rc < 0)
		return rc;
	rc = check_superblock(r, path, d, &expected);
	if (rc < 0) {
		device_close(d);
		return rc;
	}
	rc = spare_open(d, &expected, &spare, &damaged, r->err);
	if (rc < 0)
		return rc;
	/* What an older copy holds was overwritten elsewhere since. */
	rc = spare_judge_alone(r->store, spare, r->err);
	if (rc < 0)
		error_prefix(r->err, "'%s'", path);
	spare_close(spare);
	return rc;
}

/* ---- the change --------------------------------------------------------------------------- */

static int check_all(struct relocation *r)
{
	int rc = check_given(r);

	rc = rc < 0 ? rc : make_absolute(r);
	rc = rc < 0 ? rc : check_distinct(r);
	for (size_t i = 0; rc == 0 && i < r->count; i++) {
		spare_id_t id = r->changes[i].spare;

		rc = id == ON_MAIN ? check_main(r, r->absolute[i]) : check_spare(r, id, r->absolute[i]);
	}
	return rc;
}

/* Whether something is kept of main that was not, as of another one at the same path. */
static bool is_new_main(const struct relocation *r)
{
	const struct store_identity *was = &store_volume(r->store)->main;

	return r->main.places || strcmp(was->hardware, r->main.hardware) != 0 ||
	       strcmp(was->file, r->main.file) != 0;
}

/* Nothing is recorded of what is what and where it was. */
static int record_one(struct relocation *r, size_t i)
{
	struct event event = {.kind = EVENT_PATH_CHANGED, .spare = r->changes[i].spare};
	const char *old = store_volume(r->store)->main_path;
	size_t index;
	bool forced = event.spare == ON_MAIN && r->main.places, is_new;
	int rc = 0;

	if (event.spare != ON_MAIN)
		old = find_spare(r, event.spare, &index)->path;
	is_new = event.spare == ON_MAIN && is_new_main(r);
	if (strcmp(old, r->absolute[i]) == 0 && !is_new)
		return 0;
	snprintf(event.detail, sizeof(event.detail), "%.80s, before %.80s%s", r->absolute[i], old,
		 forced ? ": another one, by --force" : "");
	if (is_new)
		rc = store_set_identity(r->store, &r->main);
	rc = rc < 0 ? rc : store_set_path(r->store, event.spare, r->absolute[i]);
	return rc < 0 ? rc : store_add_event(r->store, &event);
}

static int record(struct relocation *r)
{
	int rc = store_begin(r->store);

	for (size_t i = 0; rc == 0 && i < r->count; i++)
		rc = record_one(r, i);
	rc = rc < 0 ? rc : store_commit(r->store);
	if (rc == 0)
		return 0;
	store_rollback(r->store);
	return error_set(r->err, -rc, "the database does not commit (%s), so nothing was changed; "
			 "check its disk, and what holds its lock", errno_name(-rc));
}

int volume_set_paths(const char *path, const struct path_change *changes, size_t count, bool force,
		     struct error *warning, struct error *err)
{
	struct relocation r = {.path = path, .changes = changes, .count = count,
			       .absolute = calloc(count + 1, sizeof(char *)), .warning = warning,
			       .force = force, .err = err};
	CLEANUP_CLOSE int lock = -1;
	int rc;

	if (warning)
		warning->text[0] = 0;
	if (!r.absolute)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	rc = volume_lock(path, 0, &lock, err);
	rc = rc < 0 ? rc : store_open(path, STORE_WRITE, &r.store, err);
	rc = rc < 0 ? rc : store_quick_check(r.store, path, err);
	rc = rc < 0 ? rc : check_all(&r);
	rc = rc < 0 ? rc : record(&r);
	store_close(r.store);
	free(r.main.places);
	for (size_t i = 0; i < count; i++)
		free(r.absolute[i]);
	free(r.absolute);
	return rc;
}
