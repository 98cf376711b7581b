/*
 * Main and spares that have another path than before: each is opened there and
 * looked at first, so that a volume never points to what is not its own.
 *
 * A spare tells by its superblock whose it is. An older copy of it does too, and
 * must not come back: see age.h.
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
#include "volume/part.h"
#include "volume/spare_set.h"

struct relocation {
	const char *path; /* of the volume */
	const struct path_change *changes;
	size_t count;
	char **absolute; /* of each change */
	struct store *store;
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

static int check_main(struct relocation *r, const char *path)
{
	struct file_device_options o = {.role = "main", .read_only = true};
	struct device *d;
	int rc = file_device_open(path, &o, &d, r->err);

	if (rc < 0)
		return rc;
	rc = check_main_device(r, path, d);
	device_close(d);
	if (rc == 0)
		warn_of_old_main(r, path);
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

/* Nothing is recorded of what is where it was. */
static int record_one(struct relocation *r, size_t i)
{
	struct event event = {.kind = EVENT_PATH_CHANGED, .spare = r->changes[i].spare};
	const char *old = store_volume(r->store)->main_path;
	size_t index;
	int rc;

	if (event.spare != ON_MAIN)
		old = find_spare(r, event.spare, &index)->path;
	if (strcmp(old, r->absolute[i]) == 0)
		return 0;
	snprintf(event.detail, sizeof(event.detail), "%.90s, before %.90s", r->absolute[i], old);
	rc = store_set_path(r->store, event.spare, r->absolute[i]);
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
			 "check its disk, and who holds its lock", errno_name(-rc));
}

int volume_set_paths(const char *path, const struct path_change *changes, size_t count,
		     struct error *warning, struct error *err)
{
	struct relocation r = {.path = path, .changes = changes, .count = count,
			       .absolute = calloc(count + 1, sizeof(char *)), .warning = warning,
			       .err = err};
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
	for (size_t i = 0; i < count; i++)
		free(r.absolute[i]);
	free(r.absolute);
	return rc;
}
