#include "volume/part.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "volume/verify.h"

char *part_absolute(const char *path)
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

/* A name of a disk that is not there: a file of that name would be in memory only. */
static bool is_among_devices(const char *path)
{
	CLEANUP_FREE char *folder = strdup(path);
	struct stat here, devices;

	if (!folder || strncmp(path, "/dev/", 5) != 0)
		return false;
	*strrchr(folder, '/') = 0;
	/* /dev/shm is a file system of its own, and for files. */
	return stat(folder, &here) == 0 && stat("/dev", &devices) == 0 &&
	       here.st_dev == devices.st_dev;
}

static int explain_missing(struct part *p, int code, struct error *err)
{
	const char *remedy = "check the path";

	p->path = part_absolute(p->spec->path);
	if (code == ENOENT && p->path)
		remedy = is_among_devices(p->path) ? "check the name with 'lsblk'"
						   : "check the path, or add size= for a new, "
						     "empty one";
	return error_set(err, code, "cannot open %s '%s': %s; %s", p->role, p->spec->path,
			 strerror(code), remedy);
}

int part_find(struct part *p, struct error *err)
{
	struct stat st;

	if (!p->spec->path || !p->spec->path[0])
		return error_set(err, EINVAL, "the path of %s is empty; give a file or block "
				 "device", p->role);
	if (stat(p->spec->path, &st) == 0) {
		bool block = S_ISBLK(st.st_mode);

		p->dev = block ? st.st_rdev : st.st_dev;
		p->ino = block ? 0 : st.st_ino;
		/* As it was given: /dev/disk/by-id/… names a disk for ever, sdX does not. */
		p->path = part_absolute(p->spec->path);
	} else if (errno == ENOENT && p->spec->size) {
		p->missing = true;
		p->path = part_absolute(p->spec->path);
	} else {
		return explain_missing(p, errno, err);
	}
	if (!p->path)
		return error_set(err, errno, "cannot use %s '%s': %s; check the path", p->role,
				 p->spec->path, strerror(errno));
	if (p->missing && is_among_devices(p->path))
		return error_set(err, ENOENT, "%s '%s' is not there, and no file is made among the "
				 "devices; check the name with 'lsblk', or give a file elsewhere",
				 p->role, p->path);
	return 0;
}

bool part_same_file(const struct part *a, const struct part *b)
{
	if (a->missing || b->missing)
		return strcmp(a->path, b->path) == 0;
	return a->dev == b->dev && a->ino == b->ino;
}

int part_open(struct part *p, struct error *warning, struct error *err)
{
	struct file_device_options o = {.role = p->role, .offset = p->spec->offset,
					.length = p->spec->length,
					.whole_blocks = p->is_spare};
	struct error why = {""};
	int rc = file_device_open(p->path, &o, &p->device, &why);

	/* Nothing is written to main here: for -o ro it will do. */
	if (!p->is_spare && (rc == -EROFS || rc == -EACCES || rc == -EPERM)) {
		o.read_only = true;
		if (file_device_open(p->path, &o, &p->device, NULL) == 0) {
			rc = 0;
			if (warning)
				error_set(warning, EROFS, "%.*s; until that changes, the volume can be "
					  "mounted with -o ro only", (int)strcspn(why.text, ";"),
					  why.text);
		}
	}
	if (rc < 0) {
		*err = why;
		return rc;
	}
	p->size = p->device->geometry.size;
	p->block_size = p->device->geometry.block_size;
	if (!p->device->geometry.direct && warning)
		error_set(warning, EINVAL, "%s '%s' has no direct I/O: it will be written "
			  "through, and slower; a file system with O_DIRECT is better", p->role,
			  p->path);
	return 0;
}

int part_check_existing(struct part *p, struct error *warning, struct error *err)
{
	struct stat st;

	if (p->missing) {
		p->size = p->spec->size;
		return 0;
	}
	/* Not the region: size= speaks of the file. */
	if (p->spec->size && stat(p->path, &st) == 0 && S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size != p->spec->size)
		return error_set(err, EEXIST, "%s '%s' exists with %llu bytes, not %llu; leave "
				 "size= out to use it as it is", p->role, p->path,
				 (unsigned long long)st.st_size,
				 (unsigned long long)p->spec->size);
	return part_open(p, warning, err);
}

int part_check_spare_size(const struct part *p, uint32_t sector_size, struct error *err)
{
	const struct part_spec *s = p->spec;
	uint64_t least = spare_bytes_min(sector_size), size = p->size;
	bool unmade = p->missing && !p->device; /* size is that of the file, not of the region */
	char have[32], need[32];

	if (unmade && (s->offset > size || s->length > size - s->offset))
		return error_set(err, EINVAL, "the region of spare '%s' lies outside its size; "
				 "choose offset= and length= inside size=", p->path);
	if (s->offset % sector_size || s->length % sector_size)
		return error_set(err, EINVAL, "the region of spare '%s' is not in whole sectors "
				 "of %u bytes; align offset= and length=", p->path, sector_size);
	if (unmade)
		size = s->length ? s->length : size - s->offset;
	if (size >= least)
		return 0;
	return error_set(err, EINVAL, "spare '%s' is too small: %s, at least %s (%d slots) are "
			 "needed; give a larger one", p->path, format_size(have, size),
			 format_size(need, least), SPARE_SLOTS_MIN);
}

int part_make(struct part *p, bool allocate, struct error *err)
{
	CLEANUP_CLOSE int fd = -1;
	int rc;

	if (!p->missing || p->made)
		return 0;
	fd = open(p->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, errno, "cannot make %s '%s': %s; choose a folder you may "
				 "write", p->role, p->path, strerror(errno));
	p->made = true;
	rc = allocate ? posix_fallocate(fd, 0, (off_t)p->spec->size)
		      : ftruncate(fd, (off_t)p->spec->size) < 0 ? errno : 0;
	if (rc == 0 && fsync(fd) < 0)
		rc = errno;
	if (rc)
		return error_set(err, rc, "cannot make %s '%s' of that size: %s; free space, or "
				 "choose a smaller size=", p->role, p->path, strerror(rc));
	return 0;
}

int part_make_spare(struct part *p, const struct spare_identity *id,
		    bool (*progress)(void *context, const char *what, uint64_t done,
				     uint64_t total),
		    void *context, struct store_spare *ret, struct error *err)
{
	struct spare_identity mine = *id;
	int rc = verify_spare(p->device, p->path, progress, context, err);

	if (rc < 0)
		return rc;
	uuid_generate(mine.spare);
	*ret = (struct store_spare){
		.id = mine.id,
		.path = p->path,
		.offset = p->spec->offset,
		.length = p->device->geometry.size,
		.slots = spare_layout(p->device->geometry.size, mine.sector_size).slots,
	};
	uuid_unparse_lower(mine.spare, ret->uuid);
	rc = spare_format(p->device, &mine);
	if (rc < 0)
		return error_set(err, -rc, "cannot format spare '%s': %s; use another spare",
				 p->path, errno_name(-rc));
	return 0;
}

void part_let_go(struct part *p, bool keep)
{
	device_close(p->device);
	if (!keep && p->made)
		unlink(p->path);
	free(p->path);
}
