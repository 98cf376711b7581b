/*
 * The region itself is asked first, then what it is a part of: a file that has a file
 * system on it from its beginning on carries no sign of that in its middle.
 */
#include "volume/content.h"

#include <blkid/blkid.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/storage.h"
#include "remapfs/store.h"

#define MIB ((uint64_t)1 << 20)
#define PIECE MIB
#define BLOCK 4096u
#define NEAR (256 * MIB)
#define FAR (2048 * MIB)

struct content {
	struct part *part;
	bool (*progress)(void *context, const char *what, uint64_t done, uint64_t total);
	void *context;
	struct error *err;
	const unsigned char *own; /* the uuid of a spare that may be there; NULL: none */
	/* What is looked at: a layer of the region's storage, and where the region is on it. */
	int fd;
	uint64_t size, start, end;
	char *buf; /* PIECE bytes */
};

/* ---- file systems, tables, RAID ------------------------------------------------------ */

/* The type of what these bytes carry, in text; false: nothing that is known. */
static bool find_type(int fd, uint64_t start, uint64_t length, char *text, size_t size)
{
	blkid_probe probe = blkid_new_probe();
	const char *type = NULL;
	int rc = -1;

	if (probe && blkid_probe_set_device(probe, fd, (blkid_loff_t)start,
					    (blkid_loff_t)length) == 0) {
		blkid_probe_enable_superblocks(probe, 1);
		blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
		blkid_probe_enable_partitions(probe, 1);
		rc = blkid_do_safeprobe(probe);
	}
	if (rc == -2)
		type = "several signatures";
	else if (rc == 0 && blkid_probe_lookup_value(probe, "TYPE", &type, NULL) < 0 &&
		 blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) < 0)
		type = NULL;
	if (type)
		snprintf(text, size, "%s", type);
	blkid_free_probe(probe);
	return type != NULL;
}

/* Names what the region carries. */
static int check_signature(struct content *c)
{
	struct part *p = c->part;
	CLEANUP_CLOSE int fd = open(p->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char type[64];

	if (fd < 0)
		return error_set(c->err, EIO, "cannot look at spare '%s'; check its permissions",
				 p->path);
	if (!find_type(fd, p->spec->offset, p->size, type, sizeof(type)))
		return 0;
	return error_set(c->err, EEXIST, "spare '%s' carries data (%s); use another one, or --force "
			 "to overwrite it", p->path, type);
}

static int tell_inside(struct content *c, const char *what, const char *type)
{
	return error_set(c->err, EEXIST, "the region of spare '%s' lies in %s (%s); choose another "
			 "place, or --force to overwrite it", c->part->path, what, type);
}

static bool meets(const struct content *c, uint64_t start, uint64_t end)
{
	return c->start < end && start < c->end;
}

/* In a partition that nothing is known of, a region is as good as on a bare disk. */
static int check_partition(struct content *c, blkid_partition partition)
{
	uint64_t start = (uint64_t)blkid_partition_get_start(partition) * 512;
	uint64_t length = (uint64_t)blkid_partition_get_size(partition) * 512;
	char type[64];

	if (!meets(c, start, start + length))
		return 0;
	if (blkid_partition_is_extended(partition))
		return tell_inside(c, "an extended partition", "its tables are all over it");
	if (!find_type(c->fd, start, length, type, sizeof(type)))
		return 0;
	return tell_inside(c, "a partition that carries data", type);
}

/* Before the first partition are the table and boot code; GPT has a copy at the end. */
static int check_table(struct content *c, blkid_partlist list, unsigned sector)
{
	const char *type = blkid_parttable_get_type(blkid_partlist_get_table(list));
	int n = blkid_partlist_numof_partitions(list);
	uint64_t head = MIB, tail = 34ull * sector;

	for (int i = 0; i < n; i++) {
		blkid_partition p = blkid_partlist_get_partition(list, i);
		uint64_t start = (uint64_t)blkid_partition_get_start(p) * 512;
		int rc = check_partition(c, p);

		if (rc < 0)
			return rc;
		head = start < head ? start : head;
	}
	if (meets(c, 0, head) ||
	    (strcmp(type, "gpt") == 0 && meets(c, c->size > tail ? c->size - tail : 0, c->size)))
		return tell_inside(c, "a partition table", type);
	return 0;
}

static int check_partitions(struct content *c, bool *ret_table)
{
	blkid_probe probe = blkid_new_probe();
	blkid_partlist list = NULL;
	int rc = 0;

	if (probe && blkid_probe_set_device(probe, c->fd, 0, (blkid_loff_t)c->size) == 0)
		list = blkid_probe_get_partitions(probe);
	*ret_table = list && blkid_partlist_get_table(list);
	if (*ret_table)
		rc = check_table(c, list, blkid_probe_get_sectorsize(probe));
	blkid_free_probe(probe);
	return rc;
}

/* What the region is a part of. */
static int check_whole(struct content *c)
{
	bool table;
	char type[64];
	int rc = check_partitions(c, &table);

	if (rc < 0 || table)
		return rc;
	if (!find_type(c->fd, 0, c->size, type, sizeof(type)))
		return 0;
	return tell_inside(c, "a file or disk that carries data", type);
}

/* ---- layers ---------------------------------------------------------------------------- */

static bool open_layer(struct content *c, const struct storage_range *r, int flags)
{
	struct stat st;
	int fd = storage_open(r, flags);

	if (fd < 0 && flags & O_DIRECT)
		fd = storage_open(r, flags & ~O_DIRECT);
	if (fd < 0)
		return false;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = fd;
	if (fstat(fd, &st) < 0)
		return false;
	c->size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, &c->size) < 0)
		return false;
	c->start = r->start;
	c->end = r->end < c->size ? r->end : c->size;
	return true;
}

/* A partition or a logical volume is used as what it is, whatever the disk says of itself. */
static int check_layers(struct content *c, const struct storage *s)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->layer_count; i++) {
		const struct storage_layer *l = &s->layers[i];

		if (open_layer(c, &l->range, O_RDONLY) && (c->start > 0 || c->end < c->size))
			rc = check_whole(c);
		if (l->kind != STORAGE_LOOP)
			break;
	}
	return rc;
}

/* The lowest layer that the region is one piece of, and that can be read. */
static bool open_lowest(struct content *c, const struct storage *s)
{
	size_t last = 0;
	bool opened = false;

	while (last + 1 < s->layer_count && (s->layers[last].kind == STORAGE_LOOP ||
					     s->layers[last].kind == STORAGE_PARTITION))
		last++;
	for (size_t i = last + 1; i > 0 && !opened && s->layer_count; i--)
		opened = open_layer(c, &s->layers[i - 1].range, O_RDONLY | O_DIRECT);
	return opened;
}

/* ---- spares ------------------------------------------------------------------------------ */

/* Whole blocks, as O_DIRECT wants them; how many bytes came, 0 also on an error. */
static size_t read_at(struct content *c, void *to, uint64_t length, uint64_t offset)
{
	ssize_t n = pread(c->fd, to, (size_t)(length + BLOCK - 1) / BLOCK * BLOCK, (off_t)offset);

	return n > 0 ? (size_t)n : 0;
}

/* Whether the other superblock of the same spare is at offset. */
static bool has_other(struct content *c, const struct spare_trace *t, uint64_t offset)
{
	CLEANUP_FREE void *block = NULL;
	struct spare_trace other;
	size_t at = 0;

	return offset < c->size && posix_memalign(&block, BLOCK, BLOCK) == 0 &&
	       read_at(c, block, BLOCK, offset) >= 512 &&
	       spare_next_trace(block, 512, offset, &at, &other) &&
	       uuid_compare(other.identity.spare, t->identity.spare) == 0;
}

/* Where its other end is not found either, it may reach to both sides. */
static bool reaches(struct content *c, const struct spare_trace *t)
{
	uint64_t back = spare_trace_backup(t);
	bool is_own = c->own && uuid_compare(t->identity.spare, c->own) == 0;
	bool as_first = spare_trace_meets(t, false, c->start, c->end);
	bool as_backup = spare_trace_meets(t, true, c->start, c->end);

	if (!is_own && meets(c, t->at, t->at + 512))
		return true;
	if (is_own || (!as_first && !as_backup))
		return false;
	if (has_other(c, t, t->at + back))
		return as_first;
	return t->at >= back && has_other(c, t, t->at - back) ? as_backup : true;
}

static int tell_spare(struct content *c, const struct spare_trace *t)
{
	char uuid[UUID_STR_LEN];

	uuid_unparse_lower(t->identity.volume, uuid);
	return error_set(c->err, EEXIST, "the region of spare '%s' overlaps that of a spare of volume "
			 "%s; choose another place, or --force to overwrite it", c->part->path, uuid);
}

/* What cannot be read tells nothing; what is bad in the region is found by trying it. */
static int look_at(struct content *c, uint64_t from, uint64_t length)
{
	size_t got = read_at(c, c->buf, length, from), at = 0;
	struct spare_trace t;

	while (spare_next_trace(c->buf, got, from, &at, &t))
		if (reaches(c, &t))
			return tell_spare(c, &t);
	return 0;
}

static bool go_on(struct content *c, uint64_t done, uint64_t total)
{
	return !c->progress || c->progress(c->context, "looking", done, total);
}

/* All of it but its holes. Multiples of BLOCK, but for an end that is that of the file. */
static int look_through(struct content *c, uint64_t from, uint64_t to)
{
	int rc = 0;

	for (uint64_t at = from; rc == 0 && at < to;) {
		off_t data = lseek(c->fd, (off_t)at, SEEK_DATA);
		uint64_t left;

		if (data < 0 && errno == ENXIO)
			break;
		if (data > 0 && (uint64_t)data > at)
			at = (uint64_t)data / BLOCK * BLOCK;
		if (at >= to)
			break;
		left = to - at < PIECE ? to - at : PIECE;
		rc = look_at(c, at, left);
		at += left;
		if (rc == 0 && !go_on(c, at - from, to - from))
			rc = error_set(c->err, EINTR, "interrupted; nothing was made");
	}
	return rc;
}

static int look_at_steps(struct content *c, uint64_t from, uint64_t to)
{
	int rc = 0;

	for (uint64_t at = (from + MIB - 1) / MIB * MIB; rc == 0 && at + BLOCK <= to; at += MIB)
		rc = look_at(c, at, BLOCK);
	return rc;
}

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static int check_spares(struct content *c)
{
	uint64_t near = less(c->start, NEAR) / BLOCK * BLOCK;
	uint64_t past = c->size - c->end < NEAR ? c->size : c->end + NEAR;
	uint64_t last = less(c->size / BLOCK * BLOCK, BLOCK);
	int rc = look_through(c, near, past);

	rc = rc < 0 ? rc : look_at_steps(c, less(near, FAR), near);
	rc = rc < 0 ? rc : look_at_steps(c, past, c->size - past < FAR ? c->size : past + FAR);
	rc = rc < 0 || c->size < BLOCK ? rc : look_at(c, 0, BLOCK);
	return rc < 0 || c->size < BLOCK ? rc : look_at(c, last, BLOCK);
}

static int tell_use(const char *path, const char *role, const char *what, struct error *err)
{
	return error_set(err, EEXIST, "'%s' is %s; use another %s, or --force to overwrite it", path,
			 what, role);
}

static int refuse_spare(const char *path, const char *role, int rc,
			const struct spare_identity *other, struct error *err)
{
	char what[UUID_STR_LEN + 32] = "a spare of a newer version";

	if (rc == 0) {
		int n = snprintf(what, sizeof(what), "a spare of volume ");

		uuid_unparse_lower(other->volume, what + n);
	}
	return tell_use(path, role, what, err);
}

/* A volume's above all: it is a plain file, and nothing else knows it for more. */
static int check_database(const char *path, const char *role, uint64_t offset, struct error *err)
{
	static const char magic[16] = "SQLite format 3";
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	unsigned char head[72];
	uint32_t application;

	if (fd < 0 || pread(fd, head, sizeof(head), (off_t)offset) != sizeof(head) ||
	    memcmp(head, magic, sizeof(magic)) != 0)
		return 0;
	memcpy(&application, head + 68, sizeof(application));
	return tell_use(path, role, be32toh(application) == STORE_APPLICATION_ID
			? "the database of a volume" : "an SQLite database", err);
}

/* The spare that it is, if it is one. */
static int check_same(struct content *c)
{
	struct spare_identity other;
	int rc = spare_probe(c->part->device, &other);

	if (rc == -ENOENT)
		return check_database(c->part->path, "spare", c->part->spec->offset, c->err);
	if (rc < 0 && rc != -EPROTO)
		return error_set(c->err, -rc, "cannot read spare '%s': %s; use another one",
				 c->part->path, strerror(-rc));
	return refuse_spare(c->part->path, "spare", rc, &other, c->err);
}

static int check_around(struct content *c, uint64_t length)
{
	const struct part *p = c->part;
	struct storage s;
	int rc = storage_find(p->path, p->spec->offset, length, &s);

	if (rc < 0)
		return error_set(c->err, ENOMEM, "out of memory; end other programs");
	rc = c->own ? 0 : check_layers(c, &s);
	if (rc == 0 && open_lowest(c, &s))
		rc = check_spares(c);
	storage_free(&s);
	return rc;
}

static int prepare(struct content *c)
{
	void *buf;

	c->fd = -1;
	if (posix_memalign(&buf, BLOCK, PIECE) != 0)
		return error_set(c->err, ENOMEM, "out of memory; end other programs");
	c->buf = buf;
	return 0;
}

static void finish(struct content *c)
{
	free(c->buf);
	if (c->fd >= 0)
		close(c->fd);
}

int content_check_spares(const char *path, uint64_t offset, uint64_t length, const uuid_t own,
			 struct error *err)
{
	const struct part_spec spec = {.path = path, .offset = offset};
	struct part p = {.spec = &spec, .path = (char *)(uintptr_t)path};
	struct content c = {.part = &p, .own = own, .err = err};
	int rc = prepare(&c);

	rc = rc < 0 ? rc : check_around(&c, length);
	finish(&c);
	return rc;
}

int content_check(struct part *p, bool (*progress)(void *context, const char *what, uint64_t done,
						    uint64_t total),
		  void *context, struct error *err)
{
	struct content c = {.part = p, .progress = progress, .context = context, .err = err};
	int rc = prepare(&c);

	rc = rc < 0 ? rc : check_same(&c);
	rc = rc < 0 ? rc : check_signature(&c);
	rc = rc < 0 ? rc : check_around(&c, p->size);
	finish(&c);
	return rc;
}

int content_check_main(const char *path, struct device *device, struct error *err)
{
	struct spare_identity other;
	int rc = spare_probe(device, &other);

	if (rc == 0 || rc == -EPROTO)
		return refuse_spare(path, "main", rc, &other, err);
	/* What cannot be read is what main is here for. */
	return check_database(path, "main", 0, err);
}
