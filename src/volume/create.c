/*
 * Making a volume: every check first, then every change.
 */
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <uuid/uuid.h>

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/spare.h"
#include "remapfs/store.h"
#include "remapfs/volume.h"
#include "volume/verify.h"

/* Main or a spare on its way into the volume. */
struct part {
	const struct part_spec *spec;
	const char *role;
	char *path;            /* absolute; of a file to be made: in an existing folder */
	bool missing, made;
	dev_t dev;             /* what it is, if it exists */
	ino_t ino;
	uint64_t size;         /* bytes of the file or device */
	uint32_t block_size;   /* 0 while unknown */
	struct device *device; /* opened, locked */
};

struct creation {
	const struct create_options *options;
	struct error *warning, *err;
	struct part main;
	struct part *spares;
	char *path; /* of the volume, absolute */
	uint32_t sector_size;
};

/* ---- paths ----------------------------------------------------------------------------- */

/* The absolute path of something whose folder exists; NULL with errno. */
static char *absolute(const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	CLEANUP_FREE char *folder = NULL;
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *result;

	if (!copy)
		return NULL;
	if (slash)
		copy[slash == path ? 1 : slash - path] = 0;
	folder = realpath(slash ? copy : ".", NULL);
	if (!folder)
		return NULL;
	if (!name[0] || asprintf(&result, "%s/%s", strcmp(folder, "/") ? folder : "", name) < 0) {
		errno = name[0] ? ENOMEM : EISDIR;
		return NULL;
	}
	return result;
}

/* SQLite would take the log of a volume that was removed for that of the new one. */
static int check_no_log(struct creation *c)
{
	static const char *const suffixes[] = {"-wal", "-shm", "-journal"};

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		CLEANUP_FREE char *name = NULL;
		struct stat st;

		if (asprintf(&name, "%s%s", c->options->path, suffixes[i]) < 0)
			return error_set(c->err, ENOMEM, "out of memory; end other programs");
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
	c->path = absolute(path);
	if (!c->path)
		return error_set(c->err, errno, "cannot make volume '%s': %s; choose a folder that "
				 "exists", path, strerror(errno));
	return store_can_create(c->path, c->err);
}

static int find_part(struct creation *c, struct part *p)
{
	struct stat st;

	if (!p->spec->path || !p->spec->path[0])
		return error_set(c->err, EINVAL, "the path of %s is empty; give a file or block "
				 "device", p->role);
	if (stat(p->spec->path, &st) == 0) {
		bool block = S_ISBLK(st.st_mode);

		p->dev = block ? st.st_rdev : st.st_dev;
		p->ino = block ? 0 : st.st_ino;
		/* As it was given: /dev/disk/by-id/… names a disk for ever, sdX does not. */
		p->path = absolute(p->spec->path);
	} else if (errno == ENOENT && p->spec->size) {
		p->missing = true;
		p->path = absolute(p->spec->path);
	} else {
		return error_set(c->err, errno, "cannot open %s '%s': %s; %s", p->role,
				 p->spec->path, strerror(errno), errno == ENOENT
				 ? "add size= to make it" : "check the path");
	}
	if (!p->path)
		return error_set(c->err, errno, "cannot use %s '%s': %s; check the path", p->role,
				 p->spec->path, strerror(errno));
	return 0;
}

static bool same_file(const struct part *a, const struct part *b)
{
	if (a->missing || b->missing)
		return strcmp(a->path, b->path) == 0;
	return a->dev == b->dev && a->ino == b->ino;
}

/* Two regions of one file may both be spares where they do not overlap. */
static bool overlap(const struct part *a, const struct part *b)
{
	uint64_t a_end = a->spec->length ? a->spec->offset + a->spec->length : UINT64_MAX;
	uint64_t b_end = b->spec->length ? b->spec->offset + b->spec->length : UINT64_MAX;

	return same_file(a, b) && a->spec->offset < b_end && b->spec->offset < a_end;
}

static int check_distinct(struct creation *c)
{
	size_t n = c->options->spare_count;

	for (size_t i = 0; i < n; i++) {
		if (same_file(&c->main, &c->spares[i]))
			return error_set(c->err, EINVAL, "'%s' is main and a spare at once; give "
					 "the spare another disk", c->spares[i].path);
		for (size_t j = i + 1; j < n; j++)
			if (overlap(&c->spares[i], &c->spares[j]))
				return error_set(c->err, EINVAL, "'%s' is a spare twice; give each "
						 "its own file or region", c->spares[i].path);
	}
	for (size_t i = 0; i <= n; i++) {
		const struct part *p = i < n ? &c->spares[i] : &c->main;

		if (strcmp(p->path, c->path) == 0)
			return error_set(c->err, EINVAL, "'%s' is the volume and %s at once; give "
					 "each its own file", c->path, p->role);
	}
	return 0;
}

/* ---- what is there --------------------------------------------------------------------------- */

static int open_part(struct creation *c, struct part *p)
{
	struct file_device_options o = {.role = p->role, .offset = p->spec->offset,
					.length = p->spec->length,
					.whole_blocks = p != &c->main};
	int rc = file_device_open(p->path, &o, &p->device, c->err);

	if (rc < 0)
		return rc;
	p->size = p->device->geometry.size;
	p->block_size = p->device->geometry.block_size;
	if (!p->device->geometry.direct && c->warning)
		error_set(c->warning, EINVAL, "%s '%s' has no direct I/O: it will be written "
			  "through, and slower; a file system with O_DIRECT is better", p->role,
			  p->path);
	return 0;
}

/* Names the file system, partition table or RAID that the region carries. */
static int check_signature(struct creation *c, struct part *p)
{
	CLEANUP_CLOSE int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	blkid_probe probe = fd >= 0 ? blkid_new_probe() : NULL;
	const char *type = NULL;
	int rc = 0;

	if (!probe)
		return error_set(c->err, EIO, "cannot look at spare '%s'; check its permissions",
				 p->path);
	blkid_probe_set_device(probe, fd, (blkid_loff_t)p->spec->offset, (blkid_loff_t)p->size);
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
	blkid_probe_enable_partitions(probe, 1);
	if (blkid_do_safeprobe(probe) == -2)
		type = "several signatures";
	else if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) < 0 &&
		 blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) < 0)
		type = NULL;
	if (type)
		rc = error_set(c->err, EEXIST, "spare '%s' carries data (%s); use another one, or "
			       "--force to overwrite it", p->path, type);
	blkid_free_probe(probe);
	return rc;
}

static int check_spare_content(struct creation *c, struct part *p)
{
	struct spare_identity other;
	char uuid[37] = "(of a newer version)";
	int rc;

	if (c->options->force)
		return 0;
	rc = spare_probe(p->device, &other);
	if (rc == -ENOENT)
		return check_signature(c, p);
	if (rc < 0 && rc != -EPROTO)
		return error_set(c->err, -rc, "cannot read spare '%s': %s; use another one", p->path,
				 strerror(-rc));
	if (rc == 0)
		uuid_unparse_lower(other.volume, uuid);
	return error_set(c->err, EEXIST, "'%s' is a spare of volume %s; use another one, or --force "
			 "to overwrite it", p->path, uuid);
}

static int check_existing(struct creation *c, struct part *p)
{
	struct stat st;

	if (p->missing) {
		p->size = p->spec->size;
		return 0;
	}
	/* Not the region: size= speaks of the file. */
	if (p->spec->size && stat(p->path, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size != p->spec->size)
		return error_set(c->err, EEXIST, "%s '%s' exists with %llu bytes, not %llu; leave "
				 "size= out to use it as it is", p->role, p->path,
				 (unsigned long long)st.st_size,
				 (unsigned long long)p->spec->size);
	return open_part(c, p);
}

/* ---- sizes ------------------------------------------------------------------------------------ */

static int choose_sector_size(struct creation *c)
{
	uint32_t main_size = c->main.block_size ? c->main.block_size : 512;

	c->sector_size = c->options->sector_size ? c->options->sector_size : main_size;
	if (c->sector_size != 512 && c->sector_size != 4096)
		return error_set(c->err, EINVAL, "sectors of %u bytes are not supported; choose "
				 "--sector-size 512 or 4096", c->sector_size);
	if (c->sector_size < main_size)
		return error_set(c->err, EINVAL, "main '%s' has sectors of %u bytes; choose "
				 "--sector-size %u", c->main.path, main_size, main_size);
	for (size_t i = 0; i < c->options->spare_count; i++)
		if (c->spares[i].block_size > c->sector_size)
			return error_set(c->err, EINVAL, "main has sectors of %u bytes, spare '%s' "
					 "of %u; use a spare with smaller ones, or --sector-size "
					 "%u where nothing on main depends on it", c->sector_size,
					 c->spares[i].path, c->spares[i].block_size,
					 c->spares[i].block_size);
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

static int check_spare_size(struct creation *c, const struct part *p)
{
	const struct part_spec *s = p->spec;
	uint64_t least = spare_bytes_min(c->sector_size), size = p->size;
	char have[32], need[32];

	if (p->missing && (s->offset > size || s->length > size - s->offset))
		return error_set(c->err, EINVAL, "the region of spare '%s' lies outside its size; "
				 "choose offset= and length= inside size=", p->path);
	if (s->offset % c->sector_size || s->length % c->sector_size)
		return error_set(c->err, EINVAL, "the region of spare '%s' is not in whole sectors "
				 "of %u bytes; align offset= and length=", p->path, c->sector_size);
	if (p->missing)
		size = s->length ? s->length : size - s->offset;
	if (size >= least)
		return 0;
	return error_set(c->err, EINVAL, "spare '%s' is too small: %s, at least %s (%d slots) are "
			 "needed; give a larger one", p->path, format_size(have, size),
			 format_size(need, least), SPARE_SLOTS_MIN);
}

static int check_sizes(struct creation *c)
{
	int rc = choose_sector_size(c);

	rc = rc < 0 ? rc : check_main_size(c);
	for (size_t i = 0; rc == 0 && i < c->options->spare_count; i++)
		rc = check_spare_size(c, &c->spares[i]);
	return rc;
}

static int check_all(struct creation *c)
{
	size_t n = c->options->spare_count;
	int rc = check_volume_path(c);

	if (rc == 0 && (n < 1 || n > SPARE_ID_MAX))
		rc = error_set(c->err, EINVAL, "a volume needs 1 to %u spares; add --spare PATH",
			       SPARE_ID_MAX);
	rc = rc < 0 ? rc : find_part(c, &c->main);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = find_part(c, &c->spares[i]);
	rc = rc < 0 ? rc : check_distinct(c);
	rc = rc < 0 ? rc : check_existing(c, &c->main);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = check_existing(c, &c->spares[i]);
	rc = rc < 0 ? rc : check_sizes(c);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = c->spares[i].missing ? 0 : check_spare_content(c, &c->spares[i]);
	return rc;
}

/* ---- making ------------------------------------------------------------------------------------- */

static int make_file(struct creation *c, struct part *p, bool allocate)
{
	CLEANUP_CLOSE int fd = -1;
	int rc;

	if (!p->missing || p->made)
		return 0;
	fd = open(p->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(c->err, errno, "cannot make %s '%s': %s; choose a folder you may "
				 "write", p->role, p->path, strerror(errno));
	p->made = true;
	rc = allocate ? posix_fallocate(fd, 0, (off_t)p->spec->size)
		      : ftruncate(fd, (off_t)p->spec->size) < 0 ? errno : 0;
	if (rc == 0 && fsync(fd) < 0)
		rc = errno;
	if (rc)
		return error_set(c->err, rc, "cannot make %s '%s' of that size: %s; free space, or "
				 "choose a smaller size=", p->role, p->path, strerror(rc));
	return 0;
}

/* Several spares may be regions of one file that is to be made. */
static bool made_already(const struct creation *c, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (same_file(&c->spares[i], &c->spares[index]))
			return true;
	return false;
}

static int make_missing(struct creation *c)
{
	int rc = make_file(c, &c->main, false);

	if (rc == 0 && c->main.missing)
		rc = open_part(c, &c->main);
	for (size_t i = 0; rc == 0 && i < c->options->spare_count; i++) {
		if (!c->spares[i].missing)
			continue;
		rc = made_already(c, i) ? 0 : make_file(c, &c->spares[i], true);
		rc = rc < 0 ? rc : open_part(c, &c->spares[i]);
	}
	/* What a new file can do is known only now. */
	return rc < 0 ? rc : check_sizes(c);
}

static int make_spare(struct creation *c, const struct part *p, const uuid_t volume,
		      struct store_spare *ret)
{
	struct spare_identity id = {
		.id = ret->id,
		.sector_size = c->sector_size,
		.main_sectors = c->main.size / c->sector_size,
		.spares = (uint32_t)c->options->spare_count,
	};
	int rc = verify_spare(p->device, p->path, c->options->progress, c->options->context,
			      c->err);

	if (rc < 0)
		return rc;
	uuid_copy(id.volume, volume);
	uuid_generate(id.spare);
	uuid_unparse_lower(id.spare, ret->uuid);
	ret->path = p->path;
	ret->offset = p->spec->offset;
	ret->length = p->device->geometry.size;
	ret->slots = spare_layout(ret->length, c->sector_size).slots;
	rc = spare_format(p->device, &id);
	if (rc < 0)
		return error_set(c->err, -rc, "cannot format spare '%s': %s; use another spare",
				 p->path, errno_name(-rc));
	return 0;
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
	uuid_t uuid;
	int rc = 0;

	if (!spares)
		return error_set(c->err, ENOMEM, "out of memory; end other programs");
	uuid_generate(uuid);
	uuid_unparse_lower(uuid, volume.uuid);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		spares[i].id = (spare_id_t)(i + 1);
		rc = make_spare(c, &c->spares[i], uuid, &spares[i]);
	}
	return rc < 0 ? rc : store_create(c->path, &volume, spares, n, c->err);
}

static void let_go(struct part *p, bool failed)
{
	device_close(p->device);
	if (failed && p->made)
		unlink(p->path);
	free(p->path);
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
		c.spares[i] = (struct part){.spec = &options->spares[i], .role = "spare"};
	rc = check_all(&c);
	rc = rc < 0 ? rc : make_missing(&c);
	rc = rc < 0 ? rc : make_volume(&c);
	let_go(&c.main, rc < 0);
	for (size_t i = 0; i < n; i++)
		let_go(&c.spares[i], rc < 0);
	free(c.spares);
	free(c.path);
	return rc;
}
