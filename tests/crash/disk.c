#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "../model/random.h"

/* ---- contents --------------------------------------------------------------------- */

void content_resize(struct content *c, uint64_t size)
{
	if (size > c->room) {
		c->room = size * 2;
		c->data = must(realloc(c->data, c->room));
	}
	if (size > c->size)
		memset(c->data + c->size, 0, size - c->size);
	c->size = size;
}

static void content_copy(struct content *to, const struct content *from)
{
	to->exists = from->exists;
	if (from->size > to->room) {
		to->room = from->size;
		to->data = must(realloc(to->data, to->room));
	}
	to->size = from->size;
	if (from->size)
		memcpy(to->data, from->data, from->size);
	if (!from->defects)
		return;
	if (!to->defects)
		to->defects = must(malloc(from->size / UNIT));
	memcpy(to->defects, from->defects, from->size / UNIT);
}

void disk_copy(struct disk *to, const struct disk *from)
{
	for (int i = 0; i < FILES; i++)
		content_copy(&to->files[i], &from->files[i]);
}

void disk_clear(struct disk *d)
{
	for (int i = 0; i < FILES; i++) {
		free(d->files[i].data);
		free(d->files[i].defects);
	}
	*d = (struct disk){0};
}

/* ---- steps ------------------------------------------------------------------------ */

/* What writing heals. Only devices have defects, and those write whole units. */
static void heal(struct content *c, uint64_t offset, uint64_t length)
{
	for (uint64_t u = offset / UNIT; c->defects && u < (offset + length) / UNIT; u++)
		if (c->defects[u] & DEFECT_HEALS)
			c->defects[u] &= (uint8_t)~(DEFECT_READ | DEFECT_HEALS);
}

/* The part [offset, offset + length) of a step that writes. */
static void write_part(struct content *c, const struct step *s, uint64_t offset, uint64_t length)
{
	if (offset + length > c->size)
		content_resize(c, offset + length);
	if (s->kind == STEP_ZERO)
		memset(c->data + offset, 0, length);
	else
		memcpy(c->data + offset, s->data + (offset - s->offset), length);
	heal(c, offset, length);
}

void disk_apply(struct disk *d, const struct step *s)
{
	struct content *c = &d->files[s->file];

	switch (s->kind) {
	case STEP_WRITE:
	case STEP_ZERO:
		write_part(c, s, s->offset, s->length);
		return;
	case STEP_FLUSH:
		return;
	case STEP_TRUNCATE:
		content_resize(c, s->length);
		return;
	case STEP_CREATE:
	case STEP_DELETE:
		c->exists = s->kind == STEP_CREATE;
		c->size = 0;
		return;
	case STEP_DEFECT:
		memset(c->defects + s->offset / UNIT, (int)s->defect, s->length / UNIT);
		return;
	}
}

void journal_add(struct journal *j, struct step s)
{
	if (j->count == j->room) {
		j->room = j->room * 2 + 64;
		j->steps = must(realloc(j->steps, j->room * sizeof(*j->steps)));
	}
	j->steps[j->count++] = s;
}

void journal_clear(struct journal *j)
{
	for (size_t i = 0; i < j->count; i++)
		free(j->steps[i].data);
	free(j->steps);
	*j = (struct journal){0};
}

const char *step_text(const struct step *s, char *to, size_t size)
{
	static const char *const kinds[] = {"write", "zero", "flush", "truncate", "create",
					    "delete", "defect"};
	static const char *const files[] = {"main", "spare 1", "spare 2", "spare 3", "database", "log",
					    "journal"};

	snprintf(to, size, "%s %s %llu+%llu", kinds[s->kind], files[s->file],
		 (unsigned long long)s->offset, (unsigned long long)s->length);
	return to;
}

/* ---- the cache -------------------------------------------------------------------- */

void cache_start(struct cache *c, const struct disk *d, const struct journal *j)
{
	*c = (struct cache){.journal = j};
	disk_copy(&c->medium, d);
}

void cache_end(struct cache *c)
{
	disk_clear(&c->medium);
	free(c->pending);
	*c = (struct cache){0};
}

static void flush(struct cache *c, enum file file)
{
	size_t left = 0;

	for (size_t i = 0; i < c->count; i++) {
		const struct step *s = &c->journal->steps[c->pending[i]];

		if (s->file == file)
			disk_apply(&c->medium, s);
		else
			c->pending[left++] = c->pending[i];
	}
	c->count = left;
}

void cache_advance(struct cache *c)
{
	const struct step *s = &c->journal->steps[c->point];

	if (s->kind == STEP_FLUSH) {
		flush(c, s->file);
	} else if (s->kind == STEP_DEFECT) {
		disk_apply(&c->medium, s);
	} else {
		if (c->count == c->room) {
			c->room = c->room * 2 + 64;
			c->pending = must(realloc(c->pending, c->room * sizeof(*c->pending)));
		}
		c->pending[c->count++] = c->point;
	}
	c->point++;
}

/* ---- the cut ---------------------------------------------------------------------- */

enum fate { LOSE, KEEP, PREFIX, SOME, TORN, FATES };

/* What becomes of the pending steps of one file. */
struct lot {
	enum fate fate;
	size_t left; /* PREFIX: how many more are kept */
	bool torn; /* PREFIX: the one after those was met */
	bool nameless; /* a lost creation or deletion: what came after it is lost too */
};

static void draw(struct lot *lots, const struct cache *c, unsigned cut, uint64_t *seed)
{
	for (int f = 0; f < FILES; f++) {
		bool database = f >= FILE_DB;

		lots[f] = (struct lot){.fate = KEEP, .left = random_below(seed, c->count + 1)};
		if (cut == CUT_LOSE_ALL || (cut == CUT_KEEP_DATABASE && !database) ||
		    (cut == CUT_KEEP_DEVICES && database) ||
		    (cut == CUT_LOSE_MAIN && f == FILE_MAIN))
			lots[f].fate = LOSE;
		else if (cut == CUT_EARLY_DATABASE && database)
			lots[f].fate = PREFIX;
		else if (cut >= CUT_RANDOM)
			lots[f].fate = (enum fate)random_below(seed, FATES);
	}
}

/* Keeps a prefix of the units of a write, a suffix, or any of them. */
static void tear(struct content *c, const struct step *s, uint64_t *seed)
{
	uint64_t first = s->offset / UNIT, end = (s->offset + s->length + UNIT - 1) / UNIT;
	uint64_t how = random_below(seed, 3), at = first + random_below(seed, end - first + 1);

	for (uint64_t u = first; u < end; u++) {
		uint64_t from = u * UNIT > s->offset ? u * UNIT : s->offset;
		uint64_t to = (u + 1) * UNIT;
		bool kept = how == 0 ? u < at : how == 1 ? u >= at : one_in(seed, 2);

		to = to < s->offset + s->length ? to : s->offset + s->length;
		if (kept)
			write_part(c, s, from, to - from);
	}
}

static bool is_kept(struct lot *l, uint64_t *seed)
{
	switch (l->fate) {
	case KEEP:
		return true;
	case PREFIX:
		return l->left > 0 && l->left-- > 0;
	case SOME:
	case TORN:
		return one_in(seed, 2);
	default:
		return false;
	}
}

static void settle_step(struct disk *to, const struct step *s, struct lot *l, uint64_t *seed)
{
	bool writes = s->kind == STEP_WRITE || s->kind == STEP_ZERO, kept = is_kept(l, seed);

	if (l->nameless)
		return;
	if (s->kind == STEP_CREATE || s->kind == STEP_DELETE)
		l->nameless = !kept;
	if (kept) {
		disk_apply(to, s);
		return;
	}
	if (writes && (l->fate == TORN || (l->fate == PREFIX && !l->torn)) && one_in(seed, 2))
		tear(&to->files[s->file], s, seed);
	l->torn = true;
}

void cache_cut(const struct cache *c, unsigned cut, uint64_t seed, struct disk *to)
{
	struct lot lots[FILES];

	disk_copy(to, &c->medium);
	draw(lots, c, cut, &seed);
	for (size_t i = 0; i < c->count; i++) {
		const struct step *s = &c->journal->steps[c->pending[i]];

		settle_step(to, s, &lots[s->file], &seed);
	}
}
