/*
 * From a path down to the lowest devices and files, layer by layer: a partition is a
 * part of its disk, a loop device a part of its file, a linear dm target a part of
 * another device. Everything else ends the walk, or hides what is below it.
 */
#include "remapfs/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "device/dm.h"
#include "device/mounted.h"
#include "device/sysfs.h"
#include "remapfs/cleanup.h"

/* A stack of devices that is deeper is not followed. */
#define DEPTH_MAX 16
#define SECTOR 512u
#define NO_END UINT64_MAX

struct walk {
	struct storage *storage;
	dev_t through; /* see struct storage_range */
	int depth;
};

/* Bytes of the device that the walk is at. */
struct span {
	uint64_t start, end;
};

static int walk_device(struct walk w, dev_t device, struct span span);

/* ---- the result --------------------------------------------------------------- */

static int add_range(const struct walk *w, struct storage_range range)
{
	struct storage *s = w->storage;
	struct storage_range *more = reallocarray(s->ranges, s->count + 1, sizeof(*more));
	char *path = range.path ? strdup(range.path) : NULL;

	if (more)
		s->ranges = more;
	if (!more || (range.path && !path)) {
		free(path);
		return -ENOMEM;
	}
	range.path = path;
	range.through = w->through;
	s->ranges[s->count++] = range;
	return 0;
}

static int add_device_range(const struct walk *w, dev_t device, struct span span)
{
	return add_range(w, (struct storage_range){.device = device, .start = span.start,
						   .end = span.end});
}

static int add_layer(struct storage *s, enum storage_kind kind, struct storage_range range)
{
	struct storage_layer *more = reallocarray(s->layers, s->layer_count + 1, sizeof(*more));
	char *path = range.path ? strdup(range.path) : NULL;

	if (more)
		s->layers = more;
	if (!more || (range.path && !path)) {
		free(path);
		return -ENOMEM;
	}
	range.path = path;
	s->layers[s->layer_count++] = (struct storage_layer){range, kind};
	return 0;
}

void storage_free(struct storage *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->ranges[i].path);
	for (size_t i = 0; i < s->layer_count; i++)
		free(s->layers[i].range.path);
	free(s->ranges);
	free(s->layers);
	*s = (struct storage){0};
}

/* Moved by what is before it in the layer below; limit: where that ends. */
static struct span moved(struct span span, uint64_t offset, uint64_t limit)
{
	span.start += offset;
	span.end = span.end > NO_END - offset ? NO_END : span.end + offset;
	span.end = span.end < limit ? span.end : limit;
	return span;
}

/* ---- files ---------------------------------------------------------------------- */

static int walk_file(struct walk w, struct storage_range file, struct span span)
{
	int rc;

	file.is_file = true;
	file.start = span.start;
	file.end = span.end;
	rc = add_layer(w.storage, STORAGE_END, file);
	return rc < 0 ? rc : add_range(&w, file);
}

static int walk_found(struct walk w, const char *path, const struct stat *st, struct span span)
{
	if (S_ISBLK(st->st_mode))
		return walk_device(w, st->st_rdev, span);
	return walk_file(w, (struct storage_range){.device = st->st_dev, .inode = st->st_ino,
						   .path = (char *)(uintptr_t)path}, span);
}

/* Of a file that is not there, or must not be looked at. */
static int walk_name(struct walk w, const char *path, struct span span)
{
	return walk_file(w, (struct storage_range){.path = (char *)(uintptr_t)path}, span);
}

/* A file without a name, which may have another one: the loop device knows its inode. */
static bool ask_loop(const char *folder, struct stat *ret)
{
	char path[300];
	struct loop_info64 info;
	CLEANUP_CLOSE int fd = -1;

	snprintf(path, sizeof(path), "/dev/%.200s", strrchr(folder, '/') + 1);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return false;
	*ret = (struct stat){.st_mode = info.lo_rdevice ? S_IFBLK : S_IFREG,
			     .st_dev = info.lo_device, .st_ino = info.lo_inode,
			     .st_rdev = info.lo_rdevice};
	return true;
}

static bool is_deleted(const char *path)
{
	static const char mark[] = " (deleted)";
	size_t length = strlen(path);

	return length >= sizeof(mark) && strcmp(path + length + 1 - sizeof(mark), mark) == 0;
}

static int walk_loop(struct walk w, const char *folder, const char *path, struct span span)
{
	uint64_t offset = 0, limit = 0;
	struct stat st;

	sysfs_number(folder, "loop/offset", &offset);
	sysfs_number(folder, "loop/sizelimit", &limit);
	span = moved(span, offset, limit ? offset + limit : NO_END);
	if (!path_may_block(path) &&
	    (stat(path, &st) == 0 || (is_deleted(path) && ask_loop(folder, &st))))
		return walk_found(w, path, &st, span);
	return walk_name(w, path, span);
}

/* ---- device-mapper, md and the like ----------------------------------------------- */

static int walk_below(void *context, dev_t device)
{
	return walk_device(*(const struct walk *)context, device, (struct span){0, NO_END});
}

/* What it maps is not known: all of what is below may be meant. */
static int walk_opaque(struct walk w, const char *folder, dev_t device, struct span span)
{
	int rc = add_device_range(&w, device, span);

	w.through = device;
	return rc < 0 ? rc : sysfs_each(folder, "slaves", walk_below, &w);
}

struct mapping {
	struct walk walk;
	struct span span;
	dev_t device; /* that is mapped */
	bool striped, opaque;
};

static int map_target(void *context, const struct dm_target *t)
{
	struct mapping *m = context;
	uint64_t end = t->start + t->length;
	struct span span = {m->span.start > t->start ? m->span.start : t->start,
			    m->span.end < end ? m->span.end : end};

	if (span.start >= span.end)
		return 0;
	if (!t->linear) {
		struct walk below = m->walk;

		below.through = m->device;
		m->striped |= t->device != 0;
		m->opaque |= t->device == 0;
		return t->device ? walk_device(below, t->device,
					       (struct span){t->offset, t->offset + t->bytes})
				 : 0;
	}
	return walk_device(m->walk, t->device,
			   (struct span){span.start - t->start + t->offset,
					 span.end - t->start + t->offset});
}

static int walk_dm(struct walk w, const char *folder, dev_t device, struct span span)
{
	struct mapping m = {.walk = w, .span = span, .device = device};
	int rc = dm_each_target(device, map_target, &m);

	if (rc == -ENOMEM)
		return rc;
	if (rc < 0 || m.opaque)
		return walk_opaque(w, folder, device, span);
	return m.striped ? add_device_range(&w, device, span) : 0;
}

static int count_one(void *context, dev_t device)
{
	(void)context, (void)device;
	return 1;
}

/* ---- the walk --------------------------------------------------------------------- */

static int walk_partition(struct walk w, char *folder, uint64_t start, struct span span)
{
	dev_t whole;

	*strrchr(folder, '/') = 0;
	if (!sysfs_device(folder, "dev", &whole))
		return -ENODEV;
	return walk_device(w, whole, moved(span, start * SECTOR, NO_END));
}

static enum storage_kind kind_of(const char *folder, char *path, size_t size)
{
	if (sysfs_line(folder, "partition", path, size))
		return STORAGE_PARTITION;
	if (sysfs_line(folder, "loop/backing_file", path, size))
		return STORAGE_LOOP;
	if (sysfs_line(folder, "dm/name", path, size) || sysfs_each(folder, "slaves", count_one, NULL))
		return STORAGE_MAPPED;
	return STORAGE_END;
}

static int walk_layer(struct walk w, char *folder, dev_t device, struct span span)
{
	char path[PATH_MAX];
	enum storage_kind kind = kind_of(folder, path, sizeof(path));
	uint64_t start = 0;
	int rc = add_layer(w.storage, kind, (struct storage_range){.device = device,
								   .start = span.start,
								   .end = span.end});

	if (rc < 0)
		return rc;
	if (kind == STORAGE_PARTITION && sysfs_number(folder, "start", &start))
		return walk_partition(w, folder, start, span);
	if (kind == STORAGE_LOOP)
		return walk_loop(w, folder, path, span);
	if (kind == STORAGE_MAPPED)
		return walk_dm(w, folder, device, span);
	return add_device_range(&w, device, span);
}

static int walk_device(struct walk w, dev_t device, struct span span)
{
	CLEANUP_FREE char *folder = sysfs_folder(device);
	uint64_t sectors = 0;
	int rc;

	if (!folder || ++w.depth > DEPTH_MAX)
		return add_device_range(&w, device, span);
	if (sysfs_number(folder, "size", &sectors) && sectors)
		span = moved(span, 0, sectors * SECTOR);
	rc = walk_layer(w, folder, device, span);
	return rc == -ENODEV ? add_device_range(&w, device, span) : rc;
}

static int finish(struct storage *s, int rc)
{
	if (rc < 0)
		storage_free(s);
	return rc;
}

int storage_find(const char *path, uint64_t offset, uint64_t length, struct storage *ret)
{
	struct walk w = {.storage = ret};
	struct span span = {offset, length && length < NO_END - offset ? offset + length : NO_END};
	CLEANUP_FREE char *real = realpath(path, NULL);
	struct stat st;

	*ret = (struct storage){0};
	if (stat(path, &st) < 0)
		return finish(ret, walk_name(w, path, span));
	return finish(ret, walk_found(w, real ? real : path, &st, span));
}

int storage_find_device(dev_t device, struct storage *ret)
{
	*ret = (struct storage){0};
	return finish(ret, walk_device((struct walk){.storage = ret}, device,
				       (struct span){0, NO_END}));
}

/* ---- comparing -------------------------------------------------------------------- */

static bool is_same_place(const struct storage_range *a, const struct storage_range *b)
{
	if (a->is_file != b->is_file)
		return false;
	if (!a->is_file)
		return a->device == b->device;
	if (a->inode && b->inode)
		return a->device == b->device && a->inode == b->inode;
	return strcmp(a->path, b->path) == 0;
}

/* Below the same device they are told apart by where they are on that one. */
static enum storage_shared compare(const struct storage_range *a, const struct storage_range *b,
				   struct storage_range *both)
{
	*both = *a;
	both->start = a->start > b->start ? a->start : b->start;
	both->end = a->end < b->end ? a->end : b->end;
	if (!is_same_place(a, b) || both->start >= both->end)
		return STORAGE_APART;
	if (!a->through && !b->through)
		return STORAGE_SHARED;
	return a->through == b->through ? STORAGE_APART : STORAGE_UNKNOWN;
}

enum storage_shared storage_compare(const struct storage *a, const struct storage *b,
				    struct storage_range *ret)
{
	enum storage_shared most = STORAGE_APART;

	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++) {
			struct storage_range both;
			enum storage_shared now = compare(&a->ranges[i], &b->ranges[j], &both);

			if (now > most && ret)
				*ret = both;
			most = now > most ? now : most;
		}
	return most;
}

/* ---- opening ---------------------------------------------------------------------- */

static bool is_at(int fd, const struct storage_range *r)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	if (!r->is_file)
		return S_ISBLK(st.st_mode) && st.st_rdev == r->device;
	return S_ISREG(st.st_mode) && st.st_dev == r->device && st.st_ino == r->inode;
}

int storage_open(const struct storage_range *r, int flags)
{
	char node[300];
	const char *path = r->is_file ? r->path : storage_device_name(r->device, node, sizeof(node));
	int fd = -1;

	/* Of a file only what is known by its inode: that is on a file system which answers. */
	if (!r->is_file || (r->inode && !path_may_block(path)))
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0 && !is_at(fd, r)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* ---- telling ------------------------------------------------------------------------ */

char *storage_device_name(dev_t device, char *text, size_t size)
{
	CLEANUP_FREE char *folder = sysfs_folder(device);

	if (folder)
		snprintf(text, size, "/dev/%s", strrchr(folder, '/') + 1);
	else
		snprintf(text, size, "%u:%u", major(device), minor(device));
	return text;
}

char *storage_describe(const struct storage_range *r, char *text, size_t size)
{
	char name[300], place[320], end[32] = "the end";

	if (r->is_file)
		snprintf(place, sizeof(place), "'%.150s'", r->path);
	else
		snprintf(place, sizeof(place), "%s",
			 storage_device_name(r->device, name, sizeof(name)));
	if (r->end != NO_END)
		snprintf(end, sizeof(end), "%llu", (unsigned long long)r->end - 1);
	if (r->start == 0 && r->end == NO_END)
		snprintf(text, size, "all of %s", place);
	else
		snprintf(text, size, "bytes %llu to %s of %s", (unsigned long long)r->start, end,
			 place);
	return text;
}

/* ---- who else ------------------------------------------------------------------------ */

struct search {
	const struct storage *storage;
	dev_t found;
	const char *why;
};

static bool was_passed(const struct storage *s, dev_t device)
{
	for (size_t i = 0; i < s->layer_count; i++)
		if (!s->layers[i].range.is_file && s->layers[i].range.device == device)
			return true;
	return false;
}

static const char *use_by_system(dev_t device)
{
	return device_is_mounted(device) ? "mounted" : device_is_swap(device) ? "swapped to" : NULL;
}

static const char *use_of(dev_t device)
{
	CLEANUP_FREE char *folder = sysfs_folder(device);
	char text[8];

	if (folder && sysfs_line(folder, "loop/backing_file", text, sizeof(text)))
		return "attached";
	if (folder && sysfs_each(folder, "holders", count_one, NULL))
		return "part of another device";
	return use_by_system(device);
}

/* 1: it is another name for the storage, and in use; *why is how. */
static int look_at(void *context, dev_t device)
{
	struct search *search = context;
	CLEANUP_FREE char *folder = sysfs_folder(device);
	struct storage other;
	uint64_t sectors = 0;
	enum storage_shared shared;

	if (!folder || !sysfs_number(folder, "size", &sectors) || !sectors ||
	    was_passed(search->storage, device) || storage_find_device(device, &other) < 0)
		return 0;
	shared = storage_compare(search->storage, &other, NULL);
	storage_free(&other);
	search->why = shared == STORAGE_SHARED ? use_of(device) : NULL;
	search->found = device;
	return search->why != NULL;
}

bool storage_in_use(const struct storage *s, dev_t *ret, const char **ret_why)
{
	struct search search = {.storage = s};
	size_t i;

	/* The first is the one that is to be used: it is claimed itself. */
	for (i = 1; i < s->layer_count && !search.why; i++) {
		search.found = s->layers[i].range.device;
		search.why = s->layers[i].range.is_file ? NULL : use_by_system(search.found);
	}
	if (!search.why && !sysfs_each("/sys/class", "block", look_at, &search))
		return false;
	*ret = search.found;
	*ret_why = search.why;
	return true;
}
