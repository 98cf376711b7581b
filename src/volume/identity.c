/*
 * Which disk main is. What every file system rewrites, and a spread of places
 * besides, is read when a volume is closed in order and compared when it is opened.
 */
#include "volume/identity.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "remapfs/cleanup.h"
#include "remapfs/volume.h"
#include "volume/clock.h"

#define SPREAD 32     /* places over the whole of main */
#define PARTITIONS 16 /* that are looked into */
#define HEAD 16       /* places at the beginning */

/* A dying disk: so long at most, but for the read that is under way; and so many failures. */
#define READING_MS 2000
#define SLOW_MS 1000
#define FAILURES_MAX 3

struct reader {
	struct device *main;
	struct map *map; /* NULL: all is good */
	uint32_t sector_size;
	uint8_t *buffer; /* MAIN_PLACE bytes, aligned */
	int64_t until;   /* in now_ms(); 0: nothing was read yet */
	unsigned failures;
};

/* ---- reading one place --------------------------------------------------------------- */

static bool is_over(const struct reader *r)
{
	return r->failures >= FAILURES_MAX || (r->until && now_ms() > r->until);
}

static int read_run(struct reader *r, uint64_t offset, uint64_t length, uint64_t in_buffer)
{
	int64_t begun = now_ms();
	struct device *d = device_stand_in(r->main, offset, length);
	int rc = d ? device_read(d, r->buffer + in_buffer, length, offset) : -EIO;

	if (!r->until)
		r->until = now_ms() + READING_MS;
	if (d && rc < 0)
		r->failures += now_ms() - begun > SLOW_MS ? FAILURES_MAX : 1;
	return rc;
}

/* The sectors from here to the end of the place that are of one kind. */
static struct extent next_run(const struct reader *r, uint64_t offset, uint64_t length)
{
	struct extent all = {.start = offset / r->sector_size, .count = length / r->sector_size,
			     .state = SECTOR_GOOD};

	return r->map ? map_get(r->map, all.start, all.count) : all;
}

/* 1: all that lives on main is in the buffer, the rest is zeros; 0: it cannot be had. */
static int read_place(struct reader *r, uint64_t offset, uint64_t length)
{
	bool any = false;

	memset(r->buffer, 0, MAIN_PLACE);
	for (uint64_t done = 0; done < length;) {
		struct extent run = next_run(r, offset + done, length - done);
		uint64_t bytes = run.count * r->sector_size;

		if (is_over(r))
			return 0;
		if (run.state == SECTOR_GOOD && read_run(r, offset + done, bytes, done) < 0)
			return 0;
		any |= run.state == SECTOR_GOOD;
		done += bytes;
	}
	return any;
}

static uint64_t digest_of(const uint8_t *data)
{
	uint64_t digest;

	if (data[0] == 0 && memcmp(data, data + 1, MAIN_PLACE - 1) == 0)
		return 0;
	digest = XXH3_64bits(data, MAIN_PLACE);
	return digest ? digest : 1;
}

/* 1: *ret has its digest, 0: it cannot be had, or there is no such place. */
static int digest_place(struct reader *r, uint64_t offset, uint64_t *ret)
{
	uint64_t size = r->main->geometry.size;
	int rc;

	if (offset % MAIN_PLACE || offset >= size)
		return 0;
	rc = read_place(r, offset, size - offset < MAIN_PLACE ? size - offset : MAIN_PLACE);
	if (rc > 0)
		*ret = digest_of(r->buffer);
	return rc;
}

static int reader_init(struct reader *r, struct device *main, struct map *map, uint32_t sector_size)
{
	void *buffer;

	*r = (struct reader){.main = main, .map = map, .sector_size = sector_size};
	if (posix_memalign(&buffer, VOLUME_ALIGNMENT, MAIN_PLACE) != 0)
		return -ENOMEM;
	r->buffer = buffer;
	return 0;
}

/* ---- which places ---------------------------------------------------------------------- */

struct places {
	struct main_place *all;
	size_t count;
	uint64_t size; /* of main */
};

static void add_place(struct places *p, uint64_t offset)
{
	offset -= offset % MAIN_PLACE;
	if (offset < p->size && p->count < MAIN_PLACES_MAX)
		p->all[p->count++].offset = offset;
}

/*
 * What a file system rewrites while it is used: superblocks (ext, XFS, FAT, NTFS at its
 * beginning, btrfs 64 KiB on), labels of ZFS, checkpoints of f2fs; and the same
 * behind a header of LVM or LUKS.
 */
static void add_file_system(struct places *p, uint64_t start)
{
	static const uint64_t behind[] = {0,	   64 << 10, 128 << 10, 192 << 10, 1 << 20,
					  1088 << 10, 2 << 20,  4 << 20,   16 << 20};

	for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++)
		add_place(p, start + behind[i]);
}

static uint32_t le32_at(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return le32toh(value);
}

static uint64_t le64_at(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return le64toh(value);
}

/* The table of a GPT, where it is whole in the first place of main. */
static void add_gpt(struct places *p, const uint8_t *head, uint32_t block)
{
	const uint8_t *header = head + block;
	uint64_t table = le64_at(header + 72) * block;
	uint32_t count = le32_at(header + 80), size = le32_at(header + 84);

	if (size < 128 || size > 4096 || table > MAIN_PLACE)
		return;
	for (uint32_t i = 0; i < count && i < PARTITIONS; i++) {
		uint64_t entry = table + (uint64_t)i * size;
		uint64_t first = entry + size <= MAIN_PLACE ? le64_at(head + entry + 32) : 0;

		if (first && first < p->size / block)
			add_file_system(p, first * block);
	}
}

static void add_partitions(struct places *p, const uint8_t *head)
{
	for (uint32_t block = 512; block <= 4096; block *= 8)
		if (memcmp(head + block, "EFI PART", 8) == 0)
			add_gpt(p, head, block);
	if (head[510] != 0x55 || head[511] != 0xaa)
		return;
	for (unsigned i = 0; i < 4; i++)
		if (head[446 + 16 * i + 4])
			add_file_system(p, (uint64_t)le32_at(head + 446 + 16 * i + 8) * 512);
}

static int by_offset(const void *a, const void *b)
{
	const struct main_place *x = a, *y = b;

	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void sort_places(struct places *p)
{
	size_t kept = 0;

	qsort(p->all, p->count, sizeof(*p->all), by_offset);
	for (size_t i = 0; i < p->count; i++)
		if (!kept || p->all[i].offset != p->all[kept - 1].offset)
			p->all[kept++] = p->all[i];
	p->count = kept;
}

/* head: the first place of main, zeros where that cannot be read. */
static void list_places(struct places *p, const uint8_t *head)
{
	for (uint64_t i = 0; i < HEAD; i++)
		add_place(p, i * MAIN_PLACE);
	for (uint64_t i = 0; i < SPREAD; i++)
		add_place(p, p->size / SPREAD * i);
	add_file_system(p, 0);
	add_partitions(p, head);
	/* The copy of a GPT, labels of md and ZFS. */
	add_place(p, p->size - 1);
	add_place(p, p->size > MAIN_PLACE ? p->size - MAIN_PLACE - 1 : 0);
	sort_places(p);
}

int main_read_places(struct device *main, struct map *map, uint32_t sector_size,
		     struct store_identity *ret)
{
	struct places p = {.all = calloc(MAIN_PLACES_MAX, sizeof(*p.all)), .size = main->geometry.size};
	struct reader r = {0};
	uint64_t ignored;
	int rc = p.all ? reader_init(&r, main, map, sector_size) : -ENOMEM;

	if (rc < 0) {
		free(p.all);
		return rc;
	}
	if (digest_place(&r, 0, &ignored) == 0)
		memset(r.buffer, 0, MAIN_PLACE);
	list_places(&p, r.buffer);
	ret->place_count = 0;
	for (size_t i = 0; i < p.count; i++) {
		struct main_place place = p.all[i];

		if (digest_place(&r, place.offset, &place.digest) > 0)
			p.all[ret->place_count++] = place;
	}
	ret->places = p.all;
	free(r.buffer);
	return 0;
}

struct loading {
	struct map *map;
	sector_t sectors;
};

static int set_extent(void *context, const struct extent *e)
{
	struct loading *l = context;

	if (e->start >= l->sectors || e->count > l->sectors - e->start)
		return -EUCLEAN;
	return map_set(l->map, e);
}

int main_map(struct store *s, struct map **ret)
{
	struct loading l = {.sectors = store_volume(s)->main_sectors};
	int rc = map_new(l.sectors, &l.map);

	if (rc < 0)
		return rc;
	rc = store_each_extent(s, set_extent, &l);
	if (rc < 0)
		map_free(l.map);
	else
		*ret = l.map;
	return rc;
}

/* ---- comparing -------------------------------------------------------------------------- */

struct comparison {
	unsigned different;
	unsigned told; /* not blank in both, so that being equal says something */
	unsigned kept; /* of those that were not blank */
	unsigned were; /* not blank before */
};

static int compare_places(const struct store_volume *v, struct map *map, struct device *main,
			  struct comparison *ret)
{
	struct reader r;
	int rc = reader_init(&r, main, map, v->sector_size);

	*ret = (struct comparison){0};
	for (size_t i = 0; rc == 0 && i < v->main.place_count; i++) {
		const struct main_place *was = &v->main.places[i];
		uint64_t now;

		if (digest_place(&r, was->offset, &now) <= 0)
			continue;
		ret->different += now != was->digest;
		ret->told += now || was->digest;
		ret->were += was->digest != 0;
		ret->kept += was->digest && now == was->digest;
	}
	free(r.buffer);
	return rc;
}

enum relation { ID_SAME, ID_OTHER, ID_DOUBTED, ID_UNKNOWN };

static bool is_lasting(const char *file)
{
	return strncmp(file, "inode ", 6) == 0;
}

static enum relation relate(const struct store_identity *was, const struct device_identity *now)
{
	const char *before = was->hardware[0] ? was->hardware : was->file;
	const char *after = now->hardware[0] ? now->hardware : now->file;
	bool doubted = (!was->hardware[0] && !is_lasting(before)) ||
		       (!now->hardware[0] && !is_lasting(after));

	if (!before[0] || !after[0])
		return ID_UNKNOWN;
	if (strcmp(before, after) == 0)
		return ID_SAME;
	return doubted ? ID_DOUBTED : ID_OTHER;
}

/* Of places that can be compared, and of which some say something. */
static enum main_is weigh(enum relation relation, const struct comparison *c)
{
	bool differs = c->different > 0;

	if (relation == ID_SAME)
		return differs ? MAIN_CHANGED : MAIN_SAME;
	if (!differs)
		return relation == ID_UNKNOWN ? MAIN_SAME : MAIN_COPY;
	/* Of a disk that has no number most places stay as they are while it is used. */
	if (relation == ID_UNKNOWN && c->kept * 2 >= c->were)
		return MAIN_CHANGED;
	return MAIN_OTHER;
}

/* A blank file that was copied is as good as any copy; of a disk that is no reason. */
static enum main_is weigh_without_places(enum relation relation, bool orderly, bool disks)
{
	if (relation == ID_OTHER && !orderly)
		return MAIN_UNKNOWN;
	if (relation == ID_OTHER && disks)
		return MAIN_BLANK;
	return relation == ID_OTHER || relation == ID_DOUBTED ? MAIN_DOUBTED : MAIN_SAME;
}

static bool was_rewritten(const struct store_identity *was, const struct device_identity *now)
{
	return is_lasting(now->file) && was->written_at && now->written_at > was->written_at;
}

int main_judge(struct store *s, struct map *map, struct device *main, struct main_judgement *ret)
{
	const struct store_volume *v = store_volume(s);
	enum store_life last = STORE_UNCLEAN;
	struct comparison c = {0};
	enum relation relation;
	bool orderly, disks;
	int rc = store_last_life(s, &last);

	*ret = (struct main_judgement){.is = MAIN_SAME};
	rc = rc < 0 ? rc : store_last_close(s, ret->since);
	if (rc < 0)
		return rc;
	device_identify(main, &ret->now);
	if (!v->main.known)
		return 0;
	orderly = last != STORE_UNCLEAN && v->main.opens == v->opens;
	relation = relate(&v->main, &ret->now);
	if (orderly)
		rc = compare_places(v, map, main, &c);
	disks = v->main.hardware[0] || ret->now.hardware[0];
	ret->is = c.told ? weigh(relation, &c) : weigh_without_places(relation, orderly, disks);
	if (ret->is == MAIN_SAME && relation == ID_SAME && orderly &&
	    was_rewritten(&v->main, &ret->now))
		ret->is = MAIN_CHANGED;
	return rc;
}

/* ---- telling ------------------------------------------------------------------------------ */

/* " (now, before …)" */
static void name_both(const struct store_identity *was, const struct device_identity *now, char *to,
		      size_t size)
{
	const char *before = was->hardware[0] ? was->hardware : was->file;
	const char *after = now->hardware[0] ? now->hardware : now->file;

	to[0] = 0;
	if (after[0] && before[0])
		snprintf(to, size, " (%.120s, before %.120s)", after, before);
}

int main_refuse(const struct store_volume *v, const char *path, const struct main_judgement *j,
		struct error *err)
{
	static const char remedy[] = "give the right one back its place, or if this one is main from now "
				     "on tell the volume with 'remapctl set-path";
	char both[300];

	name_both(&v->main, &j->now, both, sizeof(both));
	switch (j->is) {
	case MAIN_OTHER:
		return error_set(err, EBADMSG, "main '%s' is another disk or file than when the volume "
				 "was last closed, at %s, with other content%s; %s --force --main'", path,
				 j->since, both, remedy);
	case MAIN_UNKNOWN:
		return error_set(err, EBADMSG, "main '%s' is another disk or file than before%s, and the "
				 "volume was not closed in order, so what it holds cannot be compared; "
				 "%s --force --main'", path, both, remedy);
	case MAIN_BLANK:
		return error_set(err, EBADMSG, "main '%s' is another disk or file than when the volume "
				 "was last closed, at %s%s, and blank where it can be compared; %s "
				 "--main'", path, j->since, both, remedy);
	case MAIN_COPY:
		if (!v->main.hardware[0])
			return 0;
		return error_set(err, EBADMSG, "main '%s' is another disk than when the volume was last "
				 "closed, at %s%s, and seems to be a copy of it; %s --main'", path,
				 j->since, both, remedy);
	default:
		return 0;
	}
}

bool main_warn(const char *path, const struct main_judgement *j, struct error *warning)
{
	if (j->is == MAIN_CHANGED)
		error_set(warning, ESTALE, "main '%s' was written to by something else since the volume "
			  "was last closed, at %s: sectors that live on spares are as they were then; "
			  "check the file system that is on it", path, j->since);
	else if (j->is == MAIN_DOUBTED)
		error_set(warning, ESTALE, "main '%s' may be another one than before, and what it holds "
			  "cannot be compared; be sure that it is the right one", path);
	return j->is == MAIN_CHANGED || j->is == MAIN_DOUBTED;
}

/* ---- keeping ------------------------------------------------------------------------------ */

void main_identify(struct device *main, const struct store_identity *before,
		   struct store_identity *ret)
{
	struct device_identity now;

	device_identify(main, &now);
	*ret = (struct store_identity){.known = true, .written_at = now.written_at};
	if (before) {
		ret->opens = before->opens;
		memcpy(ret->changed_since, before->changed_since, sizeof(ret->changed_since));
	}
	memcpy(ret->file, now.file, sizeof(ret->file));
	/* A disk that had a number and shows nothing now (no sysfs here) still has it. */
	if (before && !now.hardware[0] && !now.file[0])
		memcpy(ret->hardware, before->hardware, sizeof(ret->hardware));
	else
		memcpy(ret->hardware, now.hardware, sizeof(ret->hardware));
}
