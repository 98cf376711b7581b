/*
 * Looking after the database: whether it commits, whether it is still where it
 * was opened, and whether its log can shrink. What is found is recorded as soon
 * as that can be; volume_status tells it at once.
 */
#include <errno.h>
#include <stdio.h>

#include "remapfs/log.h"
#include "volume/volume_impl.h"

/* SQLite begins the log anew at 4 MiB, unless somebody reads in it. */
#define LOG_BYTES_MAX (16u << 20)

/* So many times in a row it could not be cut: not somebody who reads and goes. */
#define LOG_TRIES 2

static void keep_event(struct committer *m, const struct event *event)
{
	struct change change = {0};

	change_event(&change, event);
	commit_later(m, &change);
}

const char *commit_reason(int error, enum store_place place)
{
	if (place == STORE_MISPLACED)
		return "it was moved, deleted or replaced while in use: move it back, or unmount "
		       "and see 'remapctl rebuild'";
	if (place == STORE_LOG_MISPLACED)
		return "its -wal or -shm was moved or deleted while in use: move it back, or see "
		       "'remapctl upgrade'";
	switch (error) {
	case EBUSY:
		return "another program holds its lock: end that one, a sqlite3 perhaps";
	case ENOSPC:
		return "the disk under it is full: make room";
	case EEXIST:
		return "a row that somebody changed stands in the way: see 'remapctl check'";
	default:
		return "check the disk that it is on";
	}
}

void commit_outcome(struct committer *m, int rc)
{
	int error = rc < 0 ? -rc : 0, before = atomic_exchange(&m->error, error);
	struct event event = {.kind = error ? EVENT_COMMIT_FAILED : EVENT_COMMIT_WORKS,
			      .error = error};

	if (!error == !before)
		return;
	if (error) {
		m->failed_since = now_ms();
		snprintf(event.detail, sizeof(event.detail), "the database does not commit: %s",
			 commit_reason(error, store_place(m->store)));
		log_error("%s", event.detail);
	} else {
		snprintf(event.detail, sizeof(event.detail), "the database commits again, after "
			 "%lld s", (long long)(now_ms() - m->failed_since) / 1000);
		log_notice("%s", event.detail);
	}
	/* Also what makes the committer try again until it works. */
	keep_event(m, &event);
}

static void watch_place(struct committer *m)
{
	enum store_place place = store_place(m->store);

	/*
	 * What is committed shall be found by who opens it without this log. Who
	 * opens another database under our name deletes the log, as SQLite does.
	 */
	if (place != STORE_IN_PLACE)
		store_empty_log(m->store);
	if (place != STORE_IN_PLACE && !atomic_load(&m->error))
		commit_outcome(m, -ESTALE);
}

static void tell_log(struct committer *m, bool stuck, uint64_t bytes)
{
	struct event event = {.kind = stuck ? EVENT_LOG_STUCK : EVENT_LOG_SHRUNK};

	if (atomic_exchange(&m->log_stuck, stuck) == stuck)
		return;
	snprintf(event.detail, sizeof(event.detail), stuck
		 ? "the database's log has %llu MiB and cannot shrink: end who reads it all the "
		   "time, a sqlite3 perhaps"
		 : "the database's log of %llu MiB could be emptied",
		 (unsigned long long)(bytes >> 20));
	if (stuck)
		log_warning("%s", event.detail);
	else
		log_notice("%s", event.detail);
	keep_event(m, &event);
}

static void watch_log(struct committer *m)
{
	uint64_t bytes = store_log_bytes(m->store);

	atomic_store(&m->log_bytes, bytes);
	if ((bytes <= LOG_BYTES_MAX && !atomic_load(&m->log_stuck)) || atomic_load(&m->error))
		return;
	if (store_shrink_log(m->store) == 0) {
		m->log_refusals = 0;
		tell_log(m, false, bytes);
		atomic_store(&m->log_bytes, store_log_bytes(m->store));
	} else if (++m->log_refusals >= LOG_TRIES) {
		tell_log(m, true, bytes);
	}
}

void commit_watch(struct committer *m)
{
	watch_place(m);
	watch_log(m);
}
