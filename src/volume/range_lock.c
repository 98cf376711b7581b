/*
 * One list under one mutex: there are hardly more tickets than threads, so a
 * walk over the list costs less than a cleverer structure would.
 */
#include "volume/range_lock.h"

#include "remapfs/cleanup.h"

void range_locks_init(struct range_locks *locks)
{
	pthread_mutex_init(&locks->lock, NULL);
	locks->first = locks->last = NULL;
}

void range_locks_destroy(struct range_locks *locks)
{
	pthread_mutex_destroy(&locks->lock);
}

static bool conflict(const struct range_ticket *a, const struct range_ticket *b)
{
	return a->start < b->end && b->start < a->end && (a->exclusive || b->exclusive);
}

/* Whether nobody who came before t, but for mine, is in its way. */
static bool grantable(const struct range_ticket *t, const struct range_ticket *mine)
{
	for (const struct range_ticket *p = t->previous; p; p = p->previous)
		if (p != mine && conflict(p, t))
			return false;
	return true;
}

static void append(struct range_locks *locks, struct range_ticket *t, sector_t start,
		   uint64_t count, bool exclusive, const struct range_ticket *mine)
{
	*t = (struct range_ticket){
		.start = start,
		.end = start + count,
		.exclusive = exclusive,
		.previous = locks->last,
	};
	if (locks->last)
		locks->last->next = t;
	else
		locks->first = t;
	locks->last = t;
	t->granted = grantable(t, mine);
}

static void take_out(struct range_locks *locks, struct range_ticket *t)
{
	if (t->previous)
		t->previous->next = t->next;
	else
		locks->first = t->next;
	if (t->next)
		t->next->previous = t->previous;
	else
		locks->last = t->previous;
}

static void wait_for(struct range_locks *locks, struct range_ticket *t, sector_t start,
		     uint64_t count, bool exclusive)
{
	HOLD_LOCK(&locks->lock);

	append(locks, t, start, count, exclusive, NULL);
	if (t->granted)
		return;
	pthread_cond_init(&t->wake, NULL);
	while (!t->granted)
		pthread_cond_wait(&t->wake, &locks->lock);
	pthread_cond_destroy(&t->wake);
}

void range_share(struct range_locks *locks, struct range_ticket *t, sector_t start, uint64_t count)
{
	wait_for(locks, t, start, count, false);
}

void range_own(struct range_locks *locks, struct range_ticket *t, sector_t start, uint64_t count)
{
	wait_for(locks, t, start, count, true);
}

static bool try(struct range_locks *locks, struct range_ticket *t, sector_t start, uint64_t count,
		bool exclusive, const struct range_ticket *mine)
{
	HOLD_LOCK(&locks->lock);

	append(locks, t, start, count, exclusive, mine);
	if (!t->granted)
		take_out(locks, t);
	return t->granted;
}

bool range_try_share(struct range_locks *locks, struct range_ticket *t, sector_t start,
		     uint64_t count)
{
	return try(locks, t, start, count, false, NULL);
}

bool range_try_own(struct range_locks *locks, struct range_ticket *t, sector_t start,
		   uint64_t count, const struct range_ticket *mine)
{
	return try(locks, t, start, count, true, mine);
}

bool range_any(struct range_locks *locks)
{
	HOLD_LOCK(&locks->lock);

	return locks->first != NULL;
}

void range_unlock(struct range_locks *locks, struct range_ticket *t)
{
	HOLD_LOCK(&locks->lock);
	struct range_ticket *later = t->next;

	take_out(locks, t);
	for (; later; later = later->next) {
		if (later->granted || !conflict(t, later) || !grantable(later, NULL))
			continue;
		later->granted = true;
		pthread_cond_signal(&later->wake);
	}
}
