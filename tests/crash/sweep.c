#include "sweep.h"

#include <errno.h>
#include <string.h>

#include "crash.h"
#include "explore.h"
#include "memory.h"
#include "../model/random.h"

#define CUTS 3 /* after each failure, besides a clean end */

static const struct kind {
	const char *name;
	int error; /* 0: memory */
	uint64_t count;
	bool changes; /* reads do not fail */
} kinds[] = {
	{"eio", EIO, 1, false},
	{"burst", EIO, 6, true},
	{"enospc", ENOSPC, 1, true},
	{"enomem", 0, 1, false},
};

static const struct kind *find(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return &kinds[i];
	return NULL;
}

bool sweep_known(const char *kind)
{
	return find(kind) != NULL;
}

static void arm(struct session *s, const struct kind *k, uint64_t nth)
{
	s->record.forgiving = true;
	if (k->error == 0) {
		memory_fail_at(nth);
		return;
	}
	s->sim.fail_at = nth;
	s->sim.fail_count = k->count;
	s->sim.fail_error = k->error;
	s->sim.fail_changes = k->changes;
}

static void disarm(struct session *s)
{
	s->sim.fail_at = 0;
	s->sim.fail_changes = false;
}

/* An opening that fails is tried again, as its user would. */
static void open_again(struct session *s, const struct kind *k)
{
	for (uint64_t i = 0; i < k->count; i++)
		if (session_open(s) == 0)
			return;
	if (session_open(s) < 0)
		fail("the volume cannot be opened any more");
}

/* A clean end, and cuts at some points since the call that failed. */
static void check_after(struct session *s, const struct workload *w, uint64_t nth)
{
	size_t end = s->sim.journal.count, first = s->sim.failed_at;
	uint64_t seed = settings.seed * 1000003 + nth;
	struct cache c;

	cache_start(&c, workload_disk(w), &s->sim.journal);
	while (true) {
		bool chosen = c.point >= first && random_below(&seed, end - first + 1) < CUTS;

		if (chosen)
			explore_cut(s, &c, (unsigned)random_below(&seed, 16), false);
		if (c.point == end)
			break;
		cache_advance(&c);
	}
	explore_cut(s, &c, CUT_KEEP_ALL, false);
	cache_end(&c);
}

/* false: there was no such call. */
static bool fail_one(const struct workload *w, const struct kind *k, uint64_t nth)
{
	struct session s = {0};
	bool failed;

	where = (struct where){.workload = w, .sweep = k->name, .nth = nth, .point = SIZE_MAX,
			       .inner_point = SIZE_MAX};
	explore_run(&s, w);
	arm(&s, k, nth);
	open_again(&s, k);
	session_run(&s, w->ops, w->count);
	failed = k->error ? s.sim.failed : memory_failed();
	if (failed)
		explore_live(&s);
	session_close(&s);
	memory_fail_at(0);
	disarm(&s);
	if (settings.verbose)
		explore_print(&s);
	if (failed) {
		check_after(&s, w, nth);
		counts.sweeps++;
	}
	record_end(&s.record);
	session_end(&s);
	return failed;
}

void sweep(const struct workload *w, const char *kind, uint64_t nth)
{
	const struct kind *k = find(kind);
	uint64_t first = nth ? nth : 1;

	if (w->commits_fail)
		return;
	if (!nth)
		first += settings.seed % settings.every;
	for (uint64_t n = first; fail_one(w, k, n) && !nth; n += settings.every)
		;
	counts.workloads++;
}
