#include "explore.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "audit.h"
#include "crash.h"
#include "engine.h"
#include "../model/random.h"
#include "older.h"
#include "rebuild.h"

struct where where;
struct only only = {SIZE_MAX, UINT_MAX};
struct counts counts;

uint64_t explore_seed(uint64_t a, uint64_t b)
{
	uint64_t state = settings.seed * UINT64_C(0x9e3779b97f4a7c15) + a * UINT64_C(1000003) + b;

	random_next(&state);
	return random_next(&state);
}

/* ---- after a cut ------------------------------------------------------------------ */

/* Whether it is the turn of this state; the same when it is had again. */
static bool is_rebuilt(size_t point)
{
	uint64_t seed = explore_seed(where.point * 64 + where.state, point) ^ 1;

	return settings.rebuild && random_below(&seed, settings.rebuild) == 0;
}

/* Contract 10, of what is left in s->disk. */
static void lose_database(const struct session *before, const struct session *s, size_t point,
			  bool kept_all)
{
	const struct record *r = &before->record;
	struct possible *p = must(malloc(r->sectors * sizeof(*p)));

	record_possible(r, point, p);
	rebuild_after_cut(before, &s->disk, r, p, kept_all);
	counts.rebuilds++;
	free(p);
}

/* Opens what is left in s->disk and compares it with the record of the session before. */
static void recover(struct session *s, const struct record *r, size_t point, bool kept_all)
{
	struct possible *p = must(malloc(r->sectors * sizeof(*p)));
	uint64_t events = record_possible(r, point, p);

	if (session_open(s) < 0)
		fail("the volume cannot be opened after the cut");
	audit(s->volume, &s->disk, events, false);
	s->opened = s->sim.journal.count;
	session_read_all(s, r, p, kept_all, &s->record);
	if (counts.states % 16 == 0)
		audit_integrity(s->volume);
	free(p);
}

/* The second cut: what was recovered, and what was done since, must be there again. */
static void cut_again(const struct session *before, const struct cache *c, size_t point)
{
	unsigned cut = (unsigned)random_below(&(uint64_t){explore_seed(where.point, point)}, 12);
	struct session s = {0};

	where.inner_point = point;
	where.inner_state = cut;
	cache_cut(c, cut, explore_seed(where.point * 64 + where.state, point), &s.disk);
	/* Before it was open, an unacknowledged write may still turn out either way. */
	if (point >= before->opened && is_rebuilt(point))
		lose_database(before, &s, point, cut == CUT_KEEP_ALL);
	session_start(&s, before->sector_size, before->sectors);
	record_start(&s.record, before->sectors, before->sector_size);
	recover(&s, &before->record, point, cut == CUT_KEEP_ALL);
	record_end(&s.record);
	session_end(&s);
	counts.states++;
	counts.inner++;
	where.inner_point = SIZE_MAX;
}

/* Cuts at settings.inner points of the session's journal, or at each if there are fewer. */
static void cut_on_the_way(const struct session *s, const struct disk *base)
{
	size_t points = s->sim.journal.count + 1;
	uint64_t seed = explore_seed(where.point, where.state);
	struct cache c;

	cache_start(&c, base, &s->sim.journal);
	for (size_t point = 0; point < points; point++) {
		if (random_below(&seed, points) < settings.inner)
			cut_again(s, &c, point);
		if (point + 1 < points)
			cache_advance(&c);
	}
	cache_end(&c);
}

/* After an orderly end the database can be lost without losing anything. */
static void close_and_compare(struct session *s)
{
	struct extent *map = must(malloc(s->sectors * sizeof(*map)));

	for (uint64_t i = 0; i < s->sectors; i++)
		map[i] = session_place(s, i);
	session_close(s);
	older_try_closed(s);
	if (is_rebuilt(SIZE_MAX)) {
		rebuild_after_close(s, &s->disk, map);
		check_after_close(s, &s->disk);
		counts.rebuilds++;
	}
	free(map);
}

void explore_cut(const struct session *before, const struct cache *cache, unsigned cut, bool deep)
{
	struct session s = {0};
	struct disk base = {0};

	where.point = cache->point;
	where.state = cut;
	cache_cut(cache, cut, explore_seed(cache->point, cut), &s.disk);
	deep = deep && settings.inner;
	if (deep)
		disk_copy(&base, &s.disk);
	if (is_rebuilt(SIZE_MAX))
		lose_database(before, &s, cache->point, cut == CUT_KEEP_ALL);
	session_start(&s, before->sector_size, before->sectors);
	record_start(&s.record, before->sectors, before->sector_size);
	s.record.given_up = before->record.given_up;
	s.sim.recording = deep;
	recover(&s, &before->record, cache->point, cut == CUT_KEEP_ALL);
	counts.states++;
	if (deep) {
		session_run(&s, workload_after, workload_after_count);
		audit(s.volume, &s.disk, 0, false);
		close_and_compare(&s);
		cut_on_the_way(&s, &base);
		disk_clear(&base);
	}
	record_end(&s.record);
	session_end(&s);
}

/* ---- every point ------------------------------------------------------------------ */

void explore_run(struct session *s, const struct workload *w)
{
	disk_copy(&s->disk, workload_disk(w));
	session_start(s, w->sector_size, w->sectors);
	record_start(&s->record, w->sectors, w->sector_size);
	memcpy(s->record.initial, s->disk.files[FILE_MAIN].data, w->sectors * w->sector_size);
	s->sim.recording = true;
}

void explore_live(struct session *s)
{
	struct possible *p = must(malloc(s->sectors * sizeof(*p)));

	record_possible(&s->record, s->sim.journal.count, p);
	session_read_all(s, &s->record, p, true, NULL);
	audit(s->volume, &s->disk, 0, s->record.forgiving);
	free(p);
}

/* One that is asked for has its turn. */
static bool has_turn(size_t point)
{
	if (only.point != SIZE_MAX)
		return point == only.point;
	return (point + settings.seed) % settings.every == 0;
}

static void cut_everywhere(const struct session *s, const struct workload *w)
{
	size_t points = s->sim.journal.count + 1;
	struct cache c;

	older_forget();
	cache_start(&c, workload_disk(w), &s->sim.journal);
	for (size_t point = 0; point < points; point++) {
		unsigned states = !has_turn(point) ? 0 : c.count ? settings.states : 1;

		older_take(&c);
		for (unsigned cut = 0; cut < states; cut++)
			if (only.state == UINT_MAX || only.state == cut) {
				explore_cut(s, &c, cut, true);
				older_try(s, &c, cut);
			}
		counts.points += states > 0;
		if (point + 1 < points)
			cache_advance(&c);
	}
	cache_end(&c);
}

void explore_print(const struct session *s)
{
	char text[80];
	size_t next = 0;

	for (size_t i = 0; i <= s->sim.journal.count; i++) {
		for (; next < s->record.count && s->record.requests[next].begin == i; next++) {
			const struct asked *q = &s->record.requests[next];

			printf("  request %zu: kind %d, sectors %llu+%llu, version %u: %d at point "
			       "%zu\n", next, (int)q->kind, (unsigned long long)q->start,
			       (unsigned long long)q->count, q->value, q->rc, q->end);
		}
		if (i < s->sim.journal.count)
			printf("  step %zu: %s\n", i,
			       step_text(&s->sim.journal.steps[i], text, sizeof(text)));
	}
}

void explore(const struct workload *w)
{
	struct session s = {0};

	where = (struct where){.workload = w, .point = SIZE_MAX, .inner_point = SIZE_MAX};
	explore_run(&s, w);
	if (session_open(&s) < 0)
		give_up("a new volume cannot be opened");
	session_run(&s, w->ops, w->count);
	if (!s.volume)
		give_up("workload %s ends with a volume that cannot be opened", w->name);
	explore_live(&s);
	session_close(&s);
	if (settings.verbose)
		explore_print(&s);
	cut_everywhere(&s, w);
	record_end(&s.record);
	session_end(&s);
	counts.workloads++;
}
