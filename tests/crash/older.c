#include "older.h"

#include <string.h>

#include "audit.h"
#include "crash.h"
#include "explore.h"
#include "../model/random.h"

#define KEPT 24
#define SELDOM 6 /* one point in so many */

struct copy {
	size_t point;
	struct content spares[SPARES];
};

static struct copy kept[KEPT];
static size_t kept_count;

static void clear(struct copy *c)
{
	for (unsigned i = 0; i < SPARES; i++)
		free(c->spares[i].data);
	*c = (struct copy){0};
}

void older_forget(void)
{
	while (kept_count)
		clear(&kept[--kept_count]);
}

/* As who copies the files sees them: what the cache has is there. */
static void take(struct copy *c, const struct cache *cache)
{
	struct disk live = {0};

	clear(c);
	c->point = cache->point;
	cache_cut(cache, CUT_KEEP_ALL, 0, &live);
	for (unsigned i = 0; i < SPARES; i++) {
		c->spares[i] = live.files[FILE_SPARE1 + i];
		free(c->spares[i].defects);
		c->spares[i].defects = NULL;
		live.files[FILE_SPARE1 + i] = (struct content){0};
	}
	disk_clear(&live);
}

void older_take(const struct cache *cache)
{
	uint64_t seed = explore_seed(cache->point, 77);

	if (random_below(&seed, SELDOM) != 0)
		return;
	take(&kept[kept_count < KEPT ? kept_count : random_below(&seed, KEPT)], cache);
	kept_count += kept_count < KEPT;
}

/* One of the copies takes the place of its spare. NULL: there is none that differs. */
static const struct copy *put_back(struct disk *d, uint64_t seed, unsigned *ret_spare)
{
	const struct copy *c = kept_count ? &kept[random_below(&seed, kept_count)] : NULL;
	unsigned i = (unsigned)random_below(&seed, SPARES);
	struct content *to = &d->files[FILE_SPARE1 + i];

	if (!c || !to->exists || !c->spares[i].exists || c->spares[i].size != to->size ||
	    memcmp(c->spares[i].data, to->data, to->size) == 0)
		return NULL;
	memcpy(to->data, c->spares[i].data, to->size);
	*ret_spare = i + 1;
	return c;
}

/* ---- what may be seen --------------------------------------------------------------- */

/*
 * Whether the stamps are still those that the copy has: no life began or ended in order
 * since. One that was taken while they were given may have either.
 */
static bool is_of_last_life(const struct session *before, const struct copy *c, size_t point)
{
	for (size_t i = 0; i < before->turn_count; i++)
		if (before->turns[i].began > c->point && before->turns[i].ended <= point)
			return false;
	return true;
}

/* Whether the request moved something to the spare that is still there. */
static bool moved_there(struct session *s, const struct asked *q, unsigned spare)
{
	for (uint64_t i = 0; i < q->count; i++) {
		struct extent e = session_place(s, q->start + i);

		if ((q->kind == REQUEST_MOVE || q->settled >> i & 1) &&
		    e.state == SECTOR_REMAPPED && e.spare == spare)
			return true;
	}
	return false;
}

static bool is_before_a_move(struct session *s, const struct record *r, size_t from, size_t to,
			     unsigned spare)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct asked *q = &r->requests[i];

		if ((q->kind == REQUEST_WRITE || q->kind == REQUEST_MOVE) && q->rc == 0 &&
		    q->begin >= from && q->end <= to && moved_there(s, q, spare))
			return true;
	}
	return false;
}

/* What is on that spare may be as it was in the copy. */
static void allow_copy(struct session *s, const struct record *r, size_t point, unsigned spare,
		       struct possible *p)
{
	struct possible *then = must(malloc(r->sectors * sizeof(*then)));

	record_possible(r, point, then);
	for (uint64_t sector = 0; sector < r->sectors; sector++) {
		struct extent e = session_place(s, sector);

		if (e.state != SECTOR_REMAPPED || e.spare != spare)
			continue;
		p[sector].live |= then[sector].live;
		p[sector].cut |= then[sector].live;
	}
	free(then);
}

static void open_and_compare(struct session *s, const struct session *before, size_t point,
			     const struct copy *c, unsigned spare, bool live)
{
	const struct record *r = &before->record;
	struct possible *p;

	if (session_open(s) < 0)
		return;
	counts.taken++;
	p = must(malloc(r->sectors * sizeof(*p)));
	record_possible(r, point, p);
	if (is_of_last_life(before, c, point) &&
	    !is_before_a_move(s, r, c->point, point, spare))
		allow_copy(s, r, c->point, spare, p);
	audit(s->volume, &s->disk, 0, false);
	session_read_all(s, r, p, live, NULL);
	free(p);
}

void older_try(const struct session *before, const struct cache *cache, unsigned cut)
{
	struct session s = {0};
	const struct copy *c;
	unsigned spare;

	cache_cut(cache, cut, explore_seed(cache->point, cut), &s.disk);
	c = put_back(&s.disk, explore_seed(cache->point * 64 + cut, 78), &spare);
	if (!c) {
		disk_clear(&s.disk);
		return;
	}
	where.point = cache->point;
	where.state = cut;
	where.older = spare;
	where.older_point = c->point;
	session_start(&s, before->sector_size, before->sectors);
	open_and_compare(&s, before, cache->point, c, spare, cut == CUT_KEEP_ALL);
	session_end(&s);
	where.older = 0;
	counts.states++;
	counts.older++;
}

void older_try_closed(const struct session *closed)
{
	/* Of before the cut: none that was taken may show again. */
	struct copy none = {.point = 0};
	struct session s = {0};
	const struct copy *c;
	unsigned spare;

	disk_copy(&s.disk, &closed->disk);
	c = put_back(&s.disk, explore_seed(where.point * 64 + where.state, 79), &spare);
	if (!c) {
		disk_clear(&s.disk);
		return;
	}
	where.older = spare;
	where.older_point = c->point;
	session_start(&s, closed->sector_size, closed->sectors);
	open_and_compare(&s, closed, closed->sim.journal.count, &none, spare, true);
	session_end(&s);
	where.older = 0;
	counts.states++;
	counts.older++;
}
