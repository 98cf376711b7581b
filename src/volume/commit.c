#include "volume/commit.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/clock.h"
#include "volume/stale.h"

/* More than this waits only when the database has been down for long. */
#define KEPT_MAX 10000

#define CONFIRM_ALL UINT32_MAX /* no spare has this number */

/* ---- a round ------------------------------------------------------------------------ */

/* Whether the change fills or empties slots of the spare: *ret_slot is one. */
static bool uses_spare(const struct change *c, spare_id_t spare, slot_t *ret_slot)
{
	for (size_t i = 0; c->result == 0 && i < c->extent_count; i++) {
		*ret_slot = c->extents[i].extent.slot;
		if (c->extents[i].extent.state == SECTOR_REMAPPED &&
		    c->extents[i].extent.spare == spare)
			return true;
	}
	for (size_t i = 0; c->result == 0 && i < c->emptied_count; i++) {
		*ret_slot = c->emptied[i].first;
		if (c->emptied[i].spare == spare)
			return true;
	}
	return false;
}

static bool wants_flush(const struct committer *m, const struct change *c, struct spare *spare)
{
	slot_t slot;

	if (c->confirm == CONFIRM_ALL)
		return spare_unconfirmed(spare, 0, SLOT_MAX);
	return c->confirm == spare_id(spare) || uses_spare(c, spare_id(spare), &slot) ||
	       stale_cured(m, c, spare_id(spare));
}

static int flush_spare(struct committer *m, struct spare *spare)
{
	int rc, confirmed;

	stale_clear(m, spare);
	/* Whether it can be confirmed matters to those who overwrite: they look. */
	confirmed = spare_confirm(spare, stale_confirmable(m, spare_id(spare)));
	rc = spare_flush(spare);
	if (rc == 0)
		stale_forget(m, spare_id(spare));
	if (confirmed < 0)
		log_warning("neither superblock of spare %u can be written (%s): replace this "
			    "spare soon", spare_id(spare), errno_name(-confirmed));
	return rc;
}

/* ---- slots that are left ---------------------------------------------------------------- */

static void take_out_some(struct committer *m, struct change *c, bool ahead)
{
	for (size_t i = 0; i < c->emptied_count && c->result == 0; i++) {
		struct change_emptied *e = &c->emptied[i];
		int rc;

		if (e->ahead != ahead)
			continue;
		/* Of an earlier try. */
		free(e->taken);
		e->taken = NULL;
		rc = spare_take_out(spare_set_find(m->spares, e->spare), e->first, e->count,
				    &e->taken);
		if (rc == 0)
			continue;
		/* Some of them may be gone. */
		c->not_put_back = true;
		change_refuse(c, e->spare, e->first, -rc, false);
	}
}

static bool empties_ahead(const struct committer *m, const struct change *c, spare_id_t spare)
{
	for (size_t i = 0; i < c->emptied_count; i++)
		if (c->emptied[i].ahead && c->emptied[i].spare == spare)
			return true;
	return stale_cured(m, c, spare) != NULL;
}

/*
 * Before the row goes: one that is gone while a descriptor is left would be a
 * contradiction, and to a rebuild the sector would be where it was. The other
 * way round it is served from either place, which hold the same.
 *
 * An older descriptor of the sector, left in a slot that failed, or by a commit
 * that failed, must not outlive the newest one: so those are gone durably
 * first. One flush for all would let a power cut choose.
 */
static void take_out(struct committer *m, struct change *c)
{
	take_out_some(m, c, true);
	for (size_t i = 0; c->emptied_count && i < spare_set_count(m->spares); i++) {
		struct spare *spare = m->spares->all[i];
		int rc;

		if (c->result || !empties_ahead(m, c, spare_id(spare)))
			continue;
		rc = flush_spare(m, spare);
		if (rc < 0 || stale_cured(m, c, spare_id(spare)))
			change_refuse(c, spare_id(spare), 0, rc < 0 ? -rc : EIO, rc < 0);
	}
	take_out_some(m, c, false);
}

/*
 * The row stays. Where that is not certain they stay away: the next open looks,
 * and describes the slots again if so. The older ones never come back.
 */
static void put_back(struct committer *m, struct change *c)
{
	for (size_t i = 0; i < c->emptied_count && !c->uncertain; i++) {
		const struct change_emptied *e = &c->emptied[i];

		if (e->taken && !e->ahead &&
		    spare_put_back(spare_set_find(m->spares, e->spare), e->first, e->count,
				   e->taken) < 0)
			c->not_put_back = true;
	}
}

/* A change that needs what the spare did not do is not recorded. */
static void refuse_users(struct committer *m, struct change *list, struct spare *spare, int rc)
{
	for (struct change *c = list; c; c = c->next) {
		const struct extent *stale = stale_cured(m, c, spare_id(spare));
		slot_t slot = stale ? stale->slot : 0;

		if ((rc < 0 && uses_spare(c, spare_id(spare), &slot)) || stale)
			change_refuse(c, spare_id(spare), slot, rc < 0 ? -rc : EIO, rc < 0);
		c->refused_stale |= stale != NULL;
		if (rc < 0 && c->confirm == spare_id(spare))
			c->result = rc;
	}
}

/* Contract 1: durable on the spare before the row that points at it. */
static void flush_spares(struct committer *m, struct change *list)
{
	for (size_t i = 0; i < spare_set_count(m->spares); i++) {
		struct spare *spare = m->spares->all[i];
		bool wanted = false;

		for (struct change *c = list; c && !wanted; c = c->next)
			wanted = wants_flush(m, c, spare);
		if (wanted)
			refuse_users(m, list, spare, flush_spare(m, spare));
	}
}

/* Nothing of either list goes to the database. */
static bool only_confirms(const struct change *kept, const struct change *list)
{
	for (; list; list = list->next)
		if (!list->confirm)
			return false;
	return !kept;
}

static void free_changes(struct change *list)
{
	while (list) {
		struct change *next = list->next;

		change_clear(list);
		free(list);
		list = next;
	}
}

/*
 * Puts those of kept that may still be recorded back to the head of the queue.
 * One that contradicts the database never will be: it is told, and dropped.
 */
static void keep_again(struct committer *m, struct change *kept)
{
	struct change **end = &m->kept, *later = m->kept;

	while (kept) {
		struct change *c = kept;

		kept = c->next;
		c->next = NULL;
		if (c->result == 0 || c->result == -EEXIST) {
			if (c->result)
				log_error("an event could not be recorded: the database contradicts "
					  "it; unmount and run 'remapctl check'");
			m->kept_count--;
			free_changes(c);
			continue;
		}
		c->result = 0;
		*end = c;
		end = &c->next;
	}
	*end = later;
	if (!later)
		m->kept_end = end;
}

/* Called by the committing thread, without the lock. Sets the results of list. */
static int run_round(struct committer *m, struct change *kept, struct change *list)
{
	int rc;

	commit_watch(m);
	describe_all(m, list);
	for (struct change *c = list; c; c = c->next)
		take_out(m, c);
	flush_spares(m, list);
	if (only_confirms(kept, list))
		return 0;
	rc = transact(m, kept, list);
	for (struct change *c = list; c; c = c->next) {
		if (c->described && c->result < 0)
			undescribe(m, c);
		else if (c->described)
			stale_outvote(m, c);
		if (c->result < 0)
			put_back(m, c);
	}
	m->settled = m->sequence;
	commit_outcome(m, rc);
	if (rc == 0)
		atomic_fetch_add(&m->commits, 1);
	return rc;
}

/*
 * Those who wait for the round that comes next. Each round wakes its own and one
 * of the next, who begins it: no others, who would only find that it goes on.
 */
static pthread_cond_t *next_turn(struct committer *m)
{
	return &m->turn[(m->rounds + 1) % 2];
}

/* The lock is held. */
static void become_idle(struct committer *m)
{
	m->busy = false;
	pthread_cond_broadcast(&m->idle);
	if (m->waiting)
		pthread_cond_signal(next_turn(m));
}

/* The lock is held; on return all of the round are done. */
static int commit_round(struct committer *m)
{
	struct change *list = m->waiting, *kept = m->kept;
	int rc;

	m->busy = true;
	m->rounds++;
	m->waiting = NULL;
	m->waiting_end = &m->waiting;
	m->kept = NULL;
	m->kept_end = &m->kept;
	pthread_mutex_unlock(&m->lock);
	rc = run_round(m, kept, list);
	pthread_mutex_lock(&m->lock);
	keep_again(m, kept);
	for (struct change *c = list; c; c = c->next)
		c->done = true;
	pthread_cond_broadcast(&m->turn[m->rounds % 2]);
	become_idle(m);
	return rc;
}

/* ---- the interface ------------------------------------------------------------------- */

int commit_change(struct committer *m, struct change *c)
{
	HOLD_LOCK(&m->lock);
	pthread_cond_t *turn = next_turn(m);

	c->next = NULL;
	c->result = 0;
	c->done = c->described = c->uncertain = c->not_put_back = c->left = false;
	c->refused_stale = false;
	*m->waiting_end = c;
	m->waiting_end = &c->next;
	while (!c->done) {
		if (m->busy)
			pthread_cond_wait(turn, &m->lock);
		else
			commit_round(m);
	}
	return c->result;
}

int commit_confirm(struct committer *m, struct spare *spare, slot_t first, uint64_t count)
{
	/* Twice, when the first flush only made durable that others were cleared. */
	for (int i = 0; i < 2 && spare_unconfirmed(spare, first, count); i++) {
		struct change c = {.confirm = spare_id(spare)};
		int rc = commit_change(m, &c);

		if (rc < 0)
			return rc;
	}
	return spare_unconfirmed(spare, first, count) ? -EIO : 0;
}

void commit_confirm_all(struct committer *m)
{
	struct change c = {.confirm = CONFIRM_ALL};

	commit_change(m, &c);
}

uint64_t commit_last_sequence(struct committer *m)
{
	uint64_t sequence;
	bool all = true;

	committer_enter(m);
	for (size_t i = 0; i < spare_set_count(m->spares); i++)
		all = all && stale_confirmable(m, spare_id(m->spares->all[i])) == m->sequence;
	sequence = all ? ++m->sequence : 0;
	m->settled = m->sequence;
	committer_leave(m);
	return sequence;
}

/* Moves the content of c into the queue of kept changes. The lock is held. */
static void keep(struct committer *m, struct change *c)
{
	bool room = m->kept_count < KEPT_MAX;
	struct change *copy = room ? malloc(sizeof(*copy)) : NULL;

	if (!copy) {
		log_error("an event could not be recorded: %s", room
			  ? "not enough memory; end other programs"
			  : "too many wait for the database; check the disk it is on and who "
			    "holds its lock");
		change_clear(c);
		return;
	}
	*copy = *c;
	copy->next = NULL;
	*c = (struct change){0};
	*m->kept_end = copy;
	m->kept_end = &copy->next;
	m->kept_count++;
}

void commit_later(struct committer *m, struct change *c)
{
	HOLD_LOCK(&m->lock);

	keep(m, c);
	pthread_cond_signal(&m->work);
}

void commit_record(struct committer *m, struct change *c)
{
	HOLD_LOCK(&m->lock);
	uint64_t before = m->rounds;

	keep(m, c);
	/* The next round that begins tries it: many who wait share that one. */
	while (m->busy && m->rounds < before + 2)
		pthread_cond_wait(&m->idle, &m->lock);
	if (m->kept && m->rounds == before)
		commit_round(m);
}

struct store *committer_enter(struct committer *m)
{
	HOLD_LOCK(&m->lock);

	while (m->busy)
		pthread_cond_wait(&m->idle, &m->lock);
	m->busy = true;
	return m->store;
}

void committer_leave(struct committer *m)
{
	HOLD_LOCK(&m->lock);

	become_idle(m);
}

static void watch(struct committer *m)
{
	m->busy = true;
	pthread_mutex_unlock(&m->lock);
	commit_watch(m);
	pthread_mutex_lock(&m->lock);
	become_idle(m);
}

/* Milliseconds, at least one. The lock is held, and nobody commits. */
static unsigned until_watch(const struct committer *m)
{
	int64_t left = m->watch_at - now_ms();

	return left < 1 ? 1 : (unsigned)left;
}

/*
 * Writes what was kept, and tries again each second while that fails. Looks after
 * the database while nobody commits; who does looks himself (run_round).
 */
static void *scribe(void *context)
{
	struct committer *m = context;
	HOLD_LOCK(&m->lock);
	struct timespec soon;
	int rc = 0;

	while (!m->stopping) {
		if (m->kept && rc == 0 && !m->busy) {
			rc = commit_round(m);
			continue;
		}
		if (m->busy) {
			pthread_cond_wait(&m->idle, &m->lock);
			continue;
		}
		soon = in_ms(until_watch(m));
		if (pthread_cond_timedwait(&m->work, &m->lock, &soon) == ETIMEDOUT && !m->busy)
			watch(m);
		rc = 0;
	}
	return NULL;
}

int committer_start(struct committer *m, struct store *store, const struct spare_set *spares,
		    uint64_t first_sequence)
{
	int rc;

	*m = (struct committer){
		.store = store,
		.spares = spares,
		.sequence = first_sequence,
		.settled = first_sequence,
		.cap = UINT64_MAX,
	};
	m->waiting_end = &m->waiting;
	m->kept_end = &m->kept;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->idle, NULL);
	monotonic_cond_init(&m->work);
	pthread_cond_init(&m->turn[0], NULL);
	pthread_cond_init(&m->turn[1], NULL);
	rc = pthread_create(&m->scribe, NULL, scribe, m);
	return rc ? -rc : 0;
}

int committer_stop(struct committer *m)
{
	int rc = 0;

	pthread_mutex_lock(&m->lock);
	m->stopping = true;
	pthread_cond_broadcast(&m->work);
	pthread_cond_broadcast(&m->idle);
	pthread_mutex_unlock(&m->lock);
	pthread_join(m->scribe, NULL);
	pthread_mutex_lock(&m->lock);
	while (m->kept && rc == 0)
		rc = commit_round(m);
	pthread_mutex_unlock(&m->lock);
	free_changes(m->kept);
	free(m->stale);
	pthread_mutex_destroy(&m->lock);
	pthread_cond_destroy(&m->idle);
	pthread_cond_destroy(&m->work);
	pthread_cond_destroy(&m->turn[0]);
	pthread_cond_destroy(&m->turn[1]);
	return rc;
}
