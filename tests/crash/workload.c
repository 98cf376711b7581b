#include "workload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "../model/random.h"
#include "remapfs/spare.h"

#define W DEFECT_WRITE
#define R DEFECT_READ
#define HEALS (DEFECT_READ | DEFECT_HEALS)

/* ---- the lists -------------------------------------------------------------------- */

static const struct op relocate[] = {
	{OP_DEFECT, 5, 1, W}, {OP_DEFECT, 9, 2, W}, {OP_WRITE, 5, 1, 0}, {OP_WRITE, 8, 4, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_WRITE, 20, 4, 0}, {OP_WRITE, 5, 1, 0}, {OP_WRITE, 20, 2, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_WRITE, 20, 4, 0}, {OP_DEFECT, 21, 1, W}, {OP_WRITE, 20, 4, 0},
	{OP_WRITE, 9, 2, 0},
};

static const struct op rewrite[] = {
	{OP_DEFECT, 0, 4, W}, {OP_WRITE, 0, 4, 0}, {OP_WRITE, 1, 1, 0}, {OP_WRITE, 0, 3, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_WRITE, 2, 4, 0}, {OP_DEFECT, 5, 1, W}, {OP_WRITE, 3, 3, 0},
	{OP_READ, 0, 8, 0}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 0, 6, 0},
};

static const struct op slot_write[] = {
	{OP_DEFECT, 5, 2, W}, {OP_WRITE, 5, 2, 0}, {OP_FLUSH, 0, 0, 0}, {OP_SLOT_DEFECT, 5, 1, W},
	{OP_WRITE, 5, 1, 0}, {OP_WRITE, 5, 2, 0}, {OP_SLOT_DEFECT, 5, 2, W}, {OP_WRITE, 4, 4, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_WRITE, 5, 2, 0}, {OP_READ, 4, 4, 0},
};

static const struct op slot_read[] = {
	{OP_DEFECT, 5, 3, W}, {OP_WRITE, 5, 3, 0}, {OP_FLUSH, 0, 0, 0}, {OP_SLOT_DEFECT, 6, 1, R},
	{OP_READ, 4, 6, 0}, {OP_READ, 6, 1, 0}, {OP_WRITE, 6, 1, 0}, {OP_WRITE, 6, 1, 0},
	{OP_SLOT_DEFECT, 5, 3, R}, {OP_READ, 5, 3, 0}, {OP_WRITE, 5, 2, 0}, {OP_FLUSH, 0, 0, 0},
	{OP_READ, 7, 1, 0}, {OP_WRITE, 7, 1, 0},
};

static const struct op pending[] = {
	{OP_WRITE, 10, 4, 0}, {OP_FLUSH, 0, 0, 0}, {OP_DEFECT, 10, 1, HEALS}, {OP_READ, 8, 4, 0},
	{OP_WRITE, 10, 1, 0}, {OP_READ, 10, 1, 0}, {OP_DEFECT, 12, 2, R}, {OP_READ, 12, 1, 0},
	{OP_WRITE, 12, 1, 0}, {OP_READ, 12, 2, 0}, {OP_WRITE, 13, 1, 0},
	{OP_DEFECT, 30, 3, HEALS}, {OP_READ, 30, 3, 0}, {OP_WRITE, 29, 3, 0}, {OP_WRITE, 32, 1, 0},
	{OP_FLUSH, 0, 0, 0},
};

/* What is lost is not read before it is written. */
static const struct op unread[] = {
	{OP_WRITE, 10, 2, 0}, {OP_FLUSH, 0, 0, 0}, {OP_DEFECT, 10, 2, HEALS}, {OP_WRITE, 10, 1, 0},
	{OP_READ, 11, 1, 0}, {OP_DEFECT, 11, 1, HEALS | W}, {OP_WRITE, 11, 1, 0},
	{OP_DEFECT, 40, 2, R | W}, {OP_READ, 40, 2, 0}, {OP_WRITE, 40, 2, 0}, {OP_WRITE, 40, 1, 0},
};

static const struct op several[] = {
	{OP_DEFECT, 3, 1, W}, {OP_DEFECT, 7, 2, W}, {OP_DEFECT, 15, 1, W}, {OP_DEFECT, 11, 1, HEALS},
	{OP_READ, 11, 1, 0}, {OP_WRITE, 0, 16, 0}, {OP_WRITE, 2, 8, 0}, {OP_FLUSH, 0, 0, 0},
	{OP_DEFECT, 4, 2, W}, {OP_SLOT_DEFECT, 7, 1, W}, {OP_WRITE, 0, 16, 0}, {OP_READ, 0, 16, 0},
};

static const struct op erase[] = {
	{OP_DEFECT, 4, 2, W}, {OP_WRITE, 0, 8, 0}, {OP_DISCARD, 0, 8, 0}, {OP_WRITE, 4, 1, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_ZERO, 2, 6, 0}, {OP_DEFECT, 12, 2, HEALS}, {OP_READ, 12, 2, 0},
	{OP_ZERO, 10, 4, 0}, {OP_FLUSH, 0, 0, 0}, {OP_DEFECT, 20, 1, W}, {OP_ZERO, 18, 4, 0},
	{OP_DISCARD, 0, 24, 0}, {OP_WRITE, 3, 3, 0},
};

static const struct op full[] = {
	{OP_DEFECT, 0, 100, W}, {OP_FILL, 0, 16, 6}, {OP_WRITE, 80, 4, 0}, {OP_WRITE, 90, 4, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_WRITE, 90, 2, 0}, {OP_WRITE, 91, 3, 0}, {OP_WRITE, 0, 4, 0},
	{OP_SLOT_DEFECT, 1, 1, W}, {OP_WRITE, 0, 3, 0},
};

static const struct op table[] = {
	{OP_DEFECT, 5, 4, W}, {OP_WRITE, 5, 1, 0}, {OP_TABLE_DEFECT, 1, 0, W}, {OP_WRITE, 6, 1, 0},
	{OP_WRITE, 5, 3, 0}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 8, 2, 0},
};

static const struct op reopened[] = {
	{OP_DEFECT, 5, 4, W}, {OP_WRITE, 5, 2, 0}, {OP_WRITE, 30, 2, 0}, {OP_REOPEN, 0, 0, 0},
	{OP_WRITE, 5, 1, 0}, {OP_WRITE, 7, 1, 0}, {OP_REOPEN, 0, 0, 0}, {OP_SLOT_DEFECT, 7, 1, W},
	{OP_WRITE, 6, 3, 0}, {OP_REOPEN, 0, 0, 0}, {OP_WRITE, 6, 1, 0},
};

static const struct op flush_fails[] = {
	{OP_DEFECT, 5, 2, W}, {OP_WRITE, 4, 3, 0}, {OP_FLUSH_FAILS, 0, 0, 1}, {OP_FLUSH, 0, 0, 0},
	{OP_FLUSH_FAILS, 0, 0, 0}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 4, 3, 0}, {OP_REOPEN, 0, 0, 0},
	{OP_WRITE, 20, 2, 0}, {OP_FLUSH, 0, 0, 0},
};

/*
 * The last sync of a commit fails, so that it may turn out to be durable, while
 * its slot is the only one that was free.
 */
static const struct op sync_fails[] = {
	{OP_DEFECT, 0, 110, W}, {OP_FILL, 0, 16, 1}, {OP_FLUSH, 0, 0, 0}, {OP_SYNC_FAILS, 0, 0, 1},
	{OP_WRITE, 90, 1, 0}, {OP_WRITE, 100, 1, 0}, {OP_SYNC_FAILS, 0, 0, 0}, {OP_WRITE, 90, 1, 0},
	{OP_WRITE, 3, 1, 0}, {OP_FLUSH, 0, 0, 0}, {OP_REOPEN, 0, 0, 0}, {OP_WRITE, 100, 1, 0},
};

/* A killed process leaves the caches as they are: its successor's fsync has to cover them. */
static const struct op killed[] = {
	{OP_DEFECT, 5, 2, W}, {OP_WRITE, 4, 3, 0}, {OP_WRITE, 5, 1, 0}, {OP_WRITE, 20, 2, 0},
	{OP_KILL, 0, 0, 0}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 4, 3, 0}, {OP_KILL, 0, 0, 0},
	{OP_DEFECT, 12, 1, HEALS}, {OP_READ, 12, 1, 0}, {OP_WRITE, 12, 1, 0}, {OP_KILL, 0, 0, 0},
	{OP_WRITE, 6, 1, 0}, {OP_FLUSH, 0, 0, 0},
};

/* One more, used at once; then the first is emptied on to it. */
static const struct op added[] = {
	{OP_DEFECT, 4, 6, W}, {OP_WRITE, 4, 2, 0}, {OP_ADD_SPARE, 0, 0, 0}, {OP_FLUSH, 0, 0, 0},
	{OP_RETIRE, 1, 0, 0}, {OP_WRITE, 6, 2, 0}, {OP_WRITE, 5, 1, 0}, {OP_EMPTY, 0, 0, 1},
	{OP_WRITE, 4, 4, 0}, {OP_READ, 4, 4, 0}, {OP_REOPEN, 0, 0, 0}, {OP_WRITE, 4, 6, 0},
	{OP_ADD_SPARE, 0, 0, 0}, {OP_RETIRE, 2, 0, 0}, {OP_EMPTY, 0, 0, 1}, {OP_WRITE, 8, 1, 0},
};

/* Emptied while slots fail, and by a successor. */
static const struct op retired[] = {
	{OP_DEFECT, 4, 8, W}, {OP_WRITE, 4, 6, 0}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 5, 2, 0},
	{OP_SLOT_DEFECT, 7, 1, R}, {OP_RETIRE, 1, 0, 0}, {OP_KILL, 0, 0, 0}, {OP_WRITE, 9, 3, 0},
	{OP_EMPTY, 0, 0, 0}, {OP_READ, 7, 1, 0}, {OP_WRITE, 7, 1, 0}, {OP_EMPTY, 0, 0, 1},
	{OP_KILL, 0, 0, 0},
	{OP_WRITE, 4, 2, 0}, {OP_FLUSH, 0, 0, 0},
};

/* There is no room for all of it at first. */
static const struct op crowded[] = {
	{OP_DEFECT, 0, 110, W}, {OP_FILL, 0, 16, 8}, {OP_RETIRE, 1, 0, 0}, {OP_WRITE, 90, 4, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_EMPTY, 0, 0, 0}, {OP_WRITE, 2, 2, 0}, {OP_ADD_SPARE, 0, 0, 0},
	{OP_EMPTY, 0, 0, 1}, {OP_WRITE, 0, 2, 0},
};

/* Given up: nothing that is written from then on may go with it. */
static const struct op given_up[] = {
	{OP_DEFECT, 4, 8, W}, {OP_WRITE, 4, 6, 0}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 6, 2, 0},
	{OP_WRITE, 7, 2, 0}, {OP_RETIRE, 1, 0, 1}, {OP_FLUSH, 0, 0, 0}, {OP_WRITE, 5, 2, 0},
	{OP_READ, 5, 2, 0}, {OP_EMPTY, 0, 0, 1}, {OP_READ, 5, 2, 0}, {OP_READ, 8, 1, 0},
	{OP_WRITE, 8, 1, 0}, {OP_REOPEN, 0, 0, 0}, {OP_WRITE, 4, 2, 0}, {OP_FLUSH, 0, 0, 0},
};

#define LIST(list) list, sizeof(list) / sizeof((list)[0])

static const struct {
	const char *name;
	const struct op *ops;
	size_t count;
	unsigned spares, blank;
} lists[] = {
	{"relocate", LIST(relocate), 1, 0}, {"rewrite", LIST(rewrite), 1, 0},
	{"slot-write", LIST(slot_write), 2, 0}, {"slot-read", LIST(slot_read), 1, 0},
	{"pending", LIST(pending), 1, 0}, {"unread", LIST(unread), 1, 0}, {"several", LIST(several), 1, 0},
	{"erase", LIST(erase), 1, 0}, {"full", LIST(full), 1, 0}, {"table", LIST(table), 2, 0},
	{"reopened", LIST(reopened), 1, 0}, {"flush-fails", LIST(flush_fails), 1, 0}, {"sync-fails", LIST(sync_fails), 1, 0},
	{"killed", LIST(killed), 1, 0}, {"added", LIST(added), 1, 2}, {"retired", LIST(retired), 2, 0},
	{"crowded", LIST(crowded), 2, 1}, {"given-up", LIST(given_up), 2, 0},
};
#define LISTS (sizeof(lists) / sizeof(lists[0]))

const struct op workload_after[] = {
	{OP_WRITE, 5, 1, 0}, {OP_DEFECT, 44, 1, W}, {OP_WRITE, 43, 3, 0}, {OP_WRITE, 8, 4, 0},
	{OP_FLUSH, 0, 0, 0}, {OP_WRITE, 44, 1, 0}, {OP_EMPTY, 0, 0, 0},
};
const size_t workload_after_count = sizeof(workload_after) / sizeof(workload_after[0]);

/* ---- those that are made ---------------------------------------------------------- */

static void add(struct workload *w, enum op_kind kind, uint64_t start, uint64_t count, unsigned arg)
{
	w->ops[w->count++] = (struct op){kind, start, count, arg};
}

/*
 * Commits fail at one call after the other, before anything is durable, or when all
 * may be: once, so that another try may settle it, or until they are let.
 */
static void commits_fail(struct workload *w, int error, unsigned first, unsigned calls)
{
	w->commits_fail = true;
	add(w, OP_DEFECT, 0, 110, DEFECT_WRITE);
	add(w, OP_WRITE, 90, 8, 0);
	add(w, OP_FLUSH, 0, 0, 0);
	for (unsigned i = 0; i < 7; i++) {
		add(w, OP_COMMIT_FAILS, (uint64_t)error, first + i, calls);
		add(w, OP_WRITE, 20 + 2 * i, 2, 0);
		add(w, OP_COMMIT_FAILS, 0, 0, 0);
		add(w, OP_WRITE, 40 + i, 1, 0);
		add(w, OP_WRITE, 21 + 2 * i, 1, 0);
		if (i % 3 == 2)
			add(w, i == 2 ? OP_FLUSH : OP_REOPEN, 0, 0, 0);
	}
}

static void random_op(struct workload *w, uint64_t *seed)
{
	static const unsigned defects[] = {W, R, HEALS, W | R, W, HEALS};
	uint64_t start = random_below(seed, 40), count = 1 + random_below(seed, 8);

	switch (random_below(seed, 14)) {
	case 0:
		add(w, OP_DEFECT, start, 1 + random_below(seed, 3), defects[random_below(seed, 6)]);
		return;
	case 1:
		add(w, OP_SLOT_DEFECT, start, count, defects[random_below(seed, 6)]);
		return;
	case 2:
	case 3:
		add(w, OP_READ, start, count, 0);
		return;
	case 4:
		add(w, one_in(seed, 2) ? OP_ZERO : OP_DISCARD, start, count, 0);
		return;
	case 5:
	case 6:
		add(w, OP_FLUSH, 0, 0, 0);
		return;
	case 7:
		if (one_in(seed, 3))
			add(w, OP_REOPEN, 0, 0, 0);
		else if (one_in(seed, 3))
			add(w, OP_ADD_SPARE, 0, 0, 0);
		else
			add(w, OP_RETIRE, 1 + random_below(seed, 2), 0, one_in(seed, 4));
		return;
	case 8:
		add(w, OP_EMPTY, 0, 0, 0);
		return;
	default:
		add(w, OP_WRITE, start, count, 0);
	}
}

static void random_ops(struct workload *w, uint64_t seed)
{
	w->spares = 1 + (unsigned)random_below(&seed, 2);
	w->blank = 1;
	add(w, OP_DEFECT, random_below(&seed, 36), 4, DEFECT_WRITE);
	for (unsigned i = 0; i < 16; i++)
		random_op(w, &seed);
}

#define ALL 1000
static const struct {
	const char *name;
	int error;
	unsigned first, calls;
} failing[] = {
	{"commit-eio-a", EIO, 11, 1},	    {"commit-eio-b", EIO, 4, ALL},
	{"commit-eio-c", EIO, 11, ALL},	    {"commit-enospc-a", ENOSPC, 11, 1},
	{"commit-enospc-b", ENOSPC, 4, 1},
};
#define MADE (sizeof(failing) / sizeof(failing[0]))
#define RANDOM 6

static void make(struct workload *w, unsigned i, uint64_t seed)
{
	static const char *const random_names[RANDOM] = {"random-1", "random-2", "random-3",
							 "random-4", "random-5", "random-6"};

	w->name = i < MADE ? failing[i].name : random_names[i - MADE];
	if (i < MADE)
		commits_fail(w, failing[i].error, failing[i].first, failing[i].calls);
	else
		random_ops(w, seed * 64 + i - (unsigned)MADE);
}

bool workload_get(unsigned i, uint64_t seed, struct workload *ret)
{
	unsigned which = i / 2;

	if (which >= LISTS + MADE + RANDOM)
		return false;
	*ret = (struct workload){.sector_size = i % 2 ? 4096 : 512, .spares = 1, .sectors = 64};
	if (which >= LISTS) {
		ret->sectors = 128;
		make(ret, which - (unsigned)LISTS, seed + i % 2);
		return true;
	}
	ret->name = lists[which].name;
	ret->spares = lists[which].spares;
	ret->blank = lists[which].blank;
	ret->count = lists[which].count;
	memcpy(ret->ops, lists[which].ops, ret->count * sizeof(*ret->ops));
	if (lists[which].ops == full || lists[which].ops == sync_fails ||
	    lists[which].ops == crowded)
		ret->sectors = 128;
	return true;
}

/* ---- volumes ---------------------------------------------------------------------- */

static void load(struct content *c, const char *path, bool device, bool garbage)
{
	FILE *f = fopen(path, "rb");
	uint64_t state = 99;
	long size;

	if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0)
		give_up("cannot read %s", path);
	rewind(f);
	content_resize(c, (uint64_t)size);
	if (fread(c->data, 1, (size_t)size, f) != (size_t)size)
		give_up("cannot read %s", path);
	fclose(f);
	c->exists = true;
	if (device)
		c->defects = must(calloc(1, c->size / UNIT));
	/* What was on main before: neither zeros nor anything that is written later. */
	for (uint64_t i = 0; garbage && i < c->size; i++)
		c->data[i] = (uint8_t)random_next(&state);
}

static void make_blank(struct content *c, uint64_t size)
{
	content_resize(c, size);
	memset(c->data, 0, size);
	c->exists = true;
	c->defects = must(calloc(1, size / UNIT));
}

static void create(const struct workload *w, struct disk *d)
{
	static const char *const names[] = {"main", "spare1", "spare2", "volume"};
	char dir[] = "/tmp/remapfs-crash-XXXXXX", paths[4][64];
	uint64_t size = spare_bytes_min(w->sector_size);
	struct part_spec spares[2] = {{.path = paths[1], .size = size},
				      {.path = paths[2], .size = size}};
	struct create_options o = {
		.path = paths[3],
		.main = {.path = paths[0], .size = w->sectors * w->sector_size},
		.spares = spares,
		.spare_count = w->spares,
		.sector_size = w->sector_size,
	};
	struct error warning = {""}, err = {""};

	if (!mkdtemp(dir))
		give_up("cannot make a folder in /tmp");
	for (int i = 0; i < 4; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s/%s", dir, names[i]);
	if (volume_create(&o, &warning, &err) < 0)
		give_up("%s", err.text);
	for (unsigned i = 0; i <= w->spares; i++)
		load(&d->files[i], paths[i], true, i == 0);
	for (unsigned i = 1; i <= w->blank; i++)
		make_blank(&d->files[w->spares + i], size);
	load(&d->files[FILE_DB], paths[3], false, false);
	for (int i = 0; i < 4; i++)
		unlink(paths[i]);
	rmdir(dir);
}

struct made {
	struct disk disk;
	uint64_t sectors;
	uint32_t sector_size;
	unsigned spares, blank;
};

const struct disk *workload_disk(const struct workload *w)
{
	static struct made made[24];
	struct made *m;

	for (m = made; m->sectors; m++)
		if (m->sectors == w->sectors && m->sector_size == w->sector_size &&
		    m->spares == w->spares && m->blank == w->blank)
			return &m->disk;
	m->sectors = w->sectors;
	m->sector_size = w->sector_size;
	m->spares = w->spares;
	m->blank = w->blank;
	create(w, &m->disk);
	return &m->disk;
}
