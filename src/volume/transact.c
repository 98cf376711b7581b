/*
 * Changes of the committing thread in the database: one transaction for all of a
 * round, and what becomes of each when that fails.
 */
#include <errno.h>

#include "remapfs/log.h"
#include "volume/commit.h"

#define TRIES 3 /* of a commit that may turn out durable or not */

/* ---- one transaction ---------------------------------------------------------------- */

static int apply(struct store *s, const struct change *c)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < c->extent_count; i++)
		rc = store_set_extent(s, &c->extents[i].extent, c->extents[i].error, c->sequence);
	for (size_t i = 0; rc == 0 && i < c->bad_count; i++)
		rc = store_add_bad_slots(s, c->bad[i].spare, c->bad[i].first, c->bad[i].count,
					 c->bad[i].error);
	for (size_t i = 0; rc == 0 && i < c->spent_count; i++)
		rc = store_clear_fault(s, c->spent[i]);
	for (size_t i = 0; rc == 0 && i < c->stamp_count; i++)
		rc = store_set_stamp(s, c->stamps[i].spare, c->stamps[i].stamp,
				     c->stamps[i].next_stamp, c->stamps[i].stamped);
	if (rc == 0 && c->main)
		rc = store_set_identity(s, c->main);
	for (size_t i = 0; rc == 0 && i < c->event_count; i++)
		rc = store_add_event(s, &c->events[i]);
	return rc;
}

/* How far the spares had durably confirmed before this: see age.c. */
static int record_confirmed(struct committer *m)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < spare_set_count(m->spares); i++) {
		struct spare *spare = m->spares->all[i];
		/* Of one that failed, what was read of it may be in a cache alone. */
		uint64_t confirmed = spare_failed(spare) ? 0 : spare_unrecorded(spare);

		if (confirmed)
			rc = store_set_confirmed(m->store, spare_id(spare), confirmed);
	}
	return rc;
}

static void forget_confirmed(struct committer *m)
{
	for (size_t i = 0; i < spare_set_count(m->spares); i++)
		spare_not_recorded(m->spares->all[i]);
}

/*
 * A COMMIT that failed may still become durable, when its frames reached the
 * log and only the sync failed. Not so when the disk was full (a frame is
 * missing) or the lock was not had.
 */
static bool may_be_durable(int rc)
{
	return rc != -EBUSY && rc != -ENOSPC && rc != -EROFS;
}

/* Applies those of the list that have no result yet. */
static int apply_list(struct store *s, const struct change *list)
{
	int rc = 0;

	for (; rc == 0 && list; list = list->next)
		rc = list->result ? 0 : apply(s, list);
	return rc;
}

static void set_results(struct change *list, int rc, bool uncertain)
{
	for (; list; list = list->next) {
		/* What only confirms has no part in the transaction. */
		if (list->result || list->confirm)
			continue;
		list->result = rc;
		list->uncertain = uncertain;
	}
}

static int transact_once(struct committer *m, struct change *kept, struct change *list,
			 bool *ret_uncertain)
{
	struct store *s = m->store;
	int rc = store_begin(s);

	*ret_uncertain = false;
	rc = rc < 0 ? rc : apply_list(s, kept);
	rc = rc < 0 ? rc : apply_list(s, list);
	rc = rc < 0 ? rc : record_confirmed(m);
	if (rc == 0) {
		rc = store_commit(s);
		*ret_uncertain = rc < 0 && may_be_durable(rc);
	}
	if (rc < 0) {
		/* Once: it is tried again each second. */
		if (atomic_load(&m->error) != -rc)
			log_error("the database did not commit (%s, %s)", errno_name(-rc),
				  rc == -ESTALE ? "its files were moved" : store_message(s));
		store_rollback(s);
		forget_confirmed(m);
	}
	return rc;
}

/*
 * One transaction for all of both lists that have no result yet; sets it. What is
 * in doubt is settled by another one of the same that succeeds. It has to be tried
 * here: the descriptors are those of these rows, and nothing is confirmed meanwhile.
 */
static int transact_together(struct committer *m, struct change *kept, struct change *list)
{
	bool again, uncertain = false;
	int rc = transact_once(m, kept, list, &again);

	for (int i = 1; i < TRIES && again; i++) {
		uncertain = true;
		rc = transact_once(m, kept, list, &again);
	}
	uncertain |= again;
	set_results(kept, rc, uncertain);
	set_results(list, rc, uncertain);
	return rc;
}

static size_t count_result(const struct change *list, int result)
{
	size_t n = 0;

	for (; list; list = list->next)
		n += list->result == result;
	return n;
}

/* The rest of a list after one that was not recorded: its order must hold. */
static void fail_all(struct change *list, int rc)
{
	for (; list; list = list->next)
		if (list->result == -EEXIST)
			list->result = rc;
}

/* Stops where it is the database that fails, not the change. */
static int transact_alone(struct committer *m, struct change *list)
{
	int rc = 0;

	for (; list; list = list->next) {
		struct change *next = list->next;

		if (list->result != -EEXIST)
			continue;
		list->next = NULL;
		list->result = 0;
		rc = transact_together(m, NULL, list);
		list->next = next;
		if (rc < 0 && rc != -EEXIST) {
			fail_all(next, rc);
			break;
		}
	}
	return rc;
}

/*
 * Several changes fail together for what one of them did (a row that somebody
 * made with sqlite3 stands in the way): then each is tried alone, in order.
 */
int transact(struct committer *m, struct change *kept, struct change *list)
{
	int rc = transact_together(m, kept, list);

	if (rc != -EEXIST || count_result(kept, rc) + count_result(list, rc) < 2)
		return rc;
	rc = transact_alone(m, kept);
	/* What was kept comes before everything else, or nothing does. */
	if (rc < 0 && rc != -EEXIST)
		fail_all(list, rc);
	else
		rc = list ? transact_alone(m, list) : rc;
	return rc;
}

/* ---- of its own ----------------------------------------------------------------------- */

static int rows_once(struct store *s, int (*fn)(void *context, struct store *), void *context,
		     bool *ret_uncertain)
{
	int rc = store_begin(s);

	*ret_uncertain = false;
	rc = rc < 0 ? rc : fn(context, s);
	if (rc == 0) {
		rc = store_commit(s);
		*ret_uncertain = rc < 0 && may_be_durable(rc);
	}
	if (rc < 0)
		store_rollback(s);
	return rc;
}

int commit_rows(struct committer *m, int (*fn)(void *context, struct store *), void *context,
		bool *ret_uncertain)
{
	struct store *s = committer_enter(m);
	bool again;
	int rc = rows_once(s, fn, context, &again);

	*ret_uncertain = again;
	for (int i = 1; i < TRIES && again; i++)
		rc = rows_once(s, fn, context, &again);
	*ret_uncertain &= rc < 0;
	committer_leave(m);
	return rc;
}
