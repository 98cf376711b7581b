/*
 * Looking after the database: whether it commits, whether it is still where it
 * was opened, and whether its log can shrink. What is found is recorded as soon
 * as that can be; volume_status tells it at once. It is looked at by time: each
 * round of the committer does it when it is due, so no load can put it off.
 */
#include <errno.h>
#include <stdio.h>

#include "remapfs/log.h"
#include "volume/volume_impl.h"

/* SQLite begins the log anew at 4 MiB, unless somebody reads in it. */
#define LOG_BYTES_MAX (16u << 20)

/*
 * So many times in a row it could not be cut: not somebody who reads and goes. One
 * that grows fast is told of the first time that it is as long as this.
 */
#define LOG_TRIES 3
#define LOG_BYTES_TOLD (2 * LOG_BYTES_MAX)

static void keep_event(struct committer *m, const struct event *event)
{
	struct change change = {0};

	change_event(&change, event);
	commit_later(m, &change);
}

const char *commit_reason(int error, enum store_place place)
{
	if (place == STORE_MISPLACED)
		return "it was moved, deleted or replaced while in use; move it back, or unmount "
		       "and see 'remapctl rebuild'";
	if (place == STORE_LOG_MISPLACED)
		return "its -wal or -shm was moved or deleted while in use; move it back, or see "
		       "'remapctl upgrade'";
	switch (error) {
	case EBUSY:
		return "another program holds its lock; end that one, perhaps sqlite3";
	case ENOSPC:
		return "the disk under it is full; make room";
	case EEXIST:
		return "a row that somebody changed stands in the way; see 'remapctl check'";
	default:
		return "it cannot be written; check the disk that it is on";
	}
}

/*
 * What is committed shall be found by who opens the database without this log. Who
 * opens another database under our name deletes the log, as SQLite does.
 */
static void save_log(struct committer *m)
{
	store_empty_log(m->store);
}

void commit_outcome(struct committer *m, int rc)
{
	int error = rc < 0 ? -rc : 0, before = atomic_exchange(&m->error, error);
	struct event event = {.kind = error ? EVENT_COMMIT_FAILED : EVENT_COMMIT_WORKS,
			      .error = error};

	if (rc == -ESTALE)
		save_log(m);
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
	if (store_place(m->store) == STORE_IN_PLACE)
		return;
	if (atomic_load(&m->error))
		save_log(m);
	else
		commit_outcome(m, -ESTALE);
}

static void tell_log(struct committer *m, bool stuck, uint64_t bytes)
{
	struct event event = {.kind = stuck ? EVENT_LOG_STUCK : EVENT_LOG_SHRUNK};

	if (atomic_exchange(&m->log_stuck, stuck) == stuck)
		return;
	snprintf(event.detail, sizeof(event.detail), stuck
		 ? "the database's log has %llu MiB and cannot shrink: end what reads it all the "
		   "time, perhaps sqlite3"
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
	} else if (++m->log_refusals >= LOG_TRIES || bytes >= LOG_BYTES_TOLD) {
		tell_log(m, true, bytes);
	}
}

void commit_watch(struct committer *m)
{
	if (now_ms() < m->watch_at)
		return;
	m->watch_at = now_ms() + WATCH_MS;
	watch_place(m);
	watch_log(m);
}
