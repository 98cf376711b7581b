/*
 * The scrub: goes over the volume piece by piece, and keeps how far it is.
 *
 * What it did to sectors is committed when it is done (examine.c), so the
 * position may lag behind: it is written every few seconds, and when a piece
 * had something to tell. After a crash the pieces since are read once more. It
 * never runs ahead: a piece counts when it has been examined.
 */
#include "volume/scrub.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/examine.h"
#include "volume/volume_impl.h"

#define SAVE_MS 5000
#define QUIET_MS 20     /* nobody asked for anything for so long: it may read */
#define GIVE_WAY_MS 200 /* and a piece after so long, whoever asks */
#define RETRY_MS 3000
#define IDLE_MS 3600000 /* until it is woken */

void scrub_init(struct scrub *s)
{
	background_init(&s->thread);
	pthread_mutex_init(&s->saving, NULL);
	pthread_mutex_init(&s->lock, NULL);
}

void scrub_destroy(struct scrub *s)
{
	examiner_free(s->examiner);
	background_destroy(&s->thread);
	pthread_mutex_destroy(&s->saving);
	pthread_mutex_destroy(&s->lock);
}

/* ---- the row --------------------------------------------------------------------------- */

struct row {
	const struct store_scrub *scrub;
	const struct event *event; /* NULL: none */
};

static int write_row(void *context, struct store *store)
{
	const struct row *row = context;
	int rc = store_write_scrub(store, row->scrub);

	return rc < 0 || !row->event ? rc : store_add_event(store, row->event);
}

/* saving is held. */
static int record(struct volume *v, const struct store_scrub *scrub, const struct event *event)
{
	struct row row = {scrub, event};
	bool uncertain;

	return commit_rows(&v->committer, write_row, &row, &uncertain);
}

static struct store_scrub scrub_now(struct scrub *s)
{
	HOLD_LOCK(&s->lock);

	return s->now;
}

/* What cannot be written now is written the next time: the row is only older. */
static void save(struct volume *v)
{
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);
	struct store_scrub now = scrub_now(s);

	if (now.state == SCRUB_RUNNING || now.state == SCRUB_PAUSED)
		record(v, &now, NULL);
}

int scrub_load(struct volume *v, struct error *err)
{
	struct store_scrub *now = &v->scrub.now;
	int rc = store_read_scrub(v->store, now);

	if (rc < 0)
		return error_set(err, -rc, "cannot read the database (%s); check its disk",
				 errno_name(-rc));
	if (now->sector > v->sectors)
		now->sector = 0;
	return 0;
}

/* ---- the pace ------------------------------------------------------------------------------ */

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Whether somebody asks for something, or did since the last look. */
static bool is_busy(struct volume *v, uint64_t *served)
{
	uint64_t before = *served;

	*served = atomic_load(&v->reads) + atomic_load(&v->writes);
	return *served != before || range_any(&v->locks);
}

static bool give_way(struct volume *v, uint64_t *served)
{
	for (int waited = 0; is_busy(v, served) && waited < GIVE_WAY_MS; waited += QUIET_MS)
		if (!background_pause(&v->scrub.thread, QUIET_MS))
			return false;
	return true;
}

/* What a slow piece took longer is not made up for. */
static bool keep_rate(struct volume *v, uint64_t bytes, uint64_t rate, int64_t began_us)
{
	struct scrub *s = &v->scrub;
	int64_t wait;

	if (rate == 0)
		return true;
	s->due_us = s->due_us > began_us ? s->due_us : began_us;
	s->due_us += (int64_t)(bytes * 1000000 / rate);
	wait = (s->due_us - now_us()) / 1000;
	return wait <= 0 || background_pause(&s->thread, (unsigned)wait);
}

/* ---- a run ----------------------------------------------------------------------------------- */

struct piece {
	uint64_t run;
	sector_t start;
	uint64_t count; /* 0: everything has been read */
	uint64_t rate;
};

static bool next_piece(struct volume *v, struct piece *ret)
{
	uint64_t most = EXAMINE_BYTES / v->sector_size, left;
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->lock);

	left = v->sectors - s->now.sector;
	*ret = (struct piece){s->run, s->now.sector, left < most ? left : most, s->now.rate};
	return s->now.state == SCRUB_RUNNING;
}

static bool add_counts(struct scrub_counts *to, const struct scrub_counts *found)
{
	to->lost += found->lost;
	to->weak += found->weak;
	to->moved += found->moved;
	to->cured += found->cured;
	to->unsteady += found->unsteady;
	to->skipped += found->skipped;
	return found->lost || found->weak || found->cured || found->unsteady;
}

/* The piece, or some of it, has been examined. Whether that is worth noting at once. */
static bool advance(struct volume *v, const struct piece *p, const struct scrub_counts *found,
		    bool whole)
{
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->lock);

	/* Another one may have been started meanwhile. */
	if (s->run != p->run)
		return false;
	if (whole)
		s->now.sector = p->start + p->count;
	return add_counts(&s->now.found, found);
}

/* A device is gone. It is paused here, whether the database can say so or not. */
static void stop_for(struct volume *v, const struct piece *p, const char *why)
{
	struct event event = {.kind = EVENT_SCRUB_PAUSED};
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);
	struct store_scrub now = scrub_now(s);

	/* Only who holds saving changes these. */
	if (now.state != SCRUB_RUNNING || s->run != p->run)
		return;
	pthread_mutex_lock(&s->lock);
	s->now.state = now.state = SCRUB_PAUSED;
	snprintf(s->reason, sizeof(s->reason), "%s", why);
	pthread_mutex_unlock(&s->lock);
	snprintf(event.detail, sizeof(event.detail), "%s", why);
	log_warning("the scrub pauses: %s", why);
	record(v, &now, &event);
}

static void describe(const struct volume *v, const struct scrub_counts *c, struct event *event)
{
	snprintf(event->detail, sizeof(event->detail), "%llu sectors: %llu lost, %llu weak (%llu "
		 "moved), %llu pending ones cured, %llu unsteady places, %llu skipped",
		 (unsigned long long)v->sectors, (unsigned long long)c->lost,
		 (unsigned long long)c->weak, (unsigned long long)c->moved,
		 (unsigned long long)c->cured, (unsigned long long)c->unsteady,
		 (unsigned long long)c->skipped);
}

/* False: the database did not commit it. */
static bool finish(struct volume *v, const struct piece *p)
{
	struct event event = {.kind = EVENT_SCRUB_DONE};
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);
	struct store_scrub done = scrub_now(s);

	/* Only who holds saving changes these. */
	if (done.state != SCRUB_RUNNING || s->run != p->run)
		return true;
	done.state = SCRUB_DONE;
	describe(v, &done.found, &event);
	if (record(v, &done, &event) < 0)
		return false;
	pthread_mutex_lock(&s->lock);
	s->now.state = SCRUB_DONE;
	pthread_mutex_unlock(&s->lock);
	log_notice("scrub done: %s", event.detail);
	return true;
}

/* One piece. False: it is time to stop. */
static bool scrub_piece(struct volume *v, const struct piece *p, int64_t *saved_ms)
{
	struct scrub *s = &v->scrub;
	struct scrub_counts found;
	int64_t began = now_us();
	const char *why;
	int rc = examine(s->examiner, p->start, p->count, &found, &why);

	bool told = advance(v, p, &found, rc == 0);

	if (rc == -EINTR)
		return false;
	if (rc < 0) {
		stop_for(v, p, why);
		return true;
	}
	if (told || now_ms() - *saved_ms >= SAVE_MS) {
		save(v);
		*saved_ms = now_ms();
	}
	return keep_rate(v, bytes_of(v, p->count), p->rate, began);
}

/* Until it is done, paused, or time to stop. */
static void run(struct volume *v)
{
	uint64_t served = atomic_load(&v->reads) + atomic_load(&v->writes);
	int64_t saved_ms = now_ms();
	struct piece p;
	bool go_on = true;

	while (go_on && next_piece(v, &p)) {
		if (p.count == 0)
			go_on = finish(v, &p) || background_pause(&v->scrub.thread, RETRY_MS);
		else
			go_on = give_way(v, &served) && scrub_piece(v, &p, &saved_ms);
	}
}

static void *work(void *context)
{
	struct volume *v = context;

	prctl(PR_SET_NAME, "scrub");
	do
		run(v);
	while (background_pause(&v->scrub.thread, IDLE_MS));
	save(v);
	return NULL;
}

void scrub_end(struct volume *v)
{
	background_stop(&v->scrub.thread);
}

/* ---- orders ------------------------------------------------------------------------------------ */

/* saving is held. The thread looks at its state when it is woken. */
static int wake_thread(struct volume *v, struct error *err)
{
	struct scrub *s = &v->scrub;
	int rc = 0;

	if (!s->examiner && !(s->examiner = examiner_new(v)))
		return error_set(err, ENOMEM, "out of memory; end other programs");
	rc = background_start(&s->thread, work, v);
	if (rc < 0)
		return error_set(err, -rc, "no thread can be started for the scrub; end other "
				 "programs");
	pthread_mutex_lock(&s->lock);
	s->active = true;
	s->since_sector = s->now.sector;
	s->since_ms = now_ms();
	pthread_mutex_unlock(&s->lock);
	background_wake(&s->thread);
	return 0;
}

static int check_rate(uint64_t rate, struct error *err)
{
	if (rate == 0 || rate >= SCRUB_RATE_MIN)
		return 0;
	return error_set(err, EINVAL, "a rate of %llu bytes a second is too little; give at least "
			 "%llu, or 0 for no bound", (unsigned long long)rate,
			 (unsigned long long)SCRUB_RATE_MIN);
}

/* Commits it, then lets it be so. A piece may be under way. saving is held. */
static int begin(struct volume *v, const struct store_scrub *next, enum event_kind kind,
		 struct error *err)
{
	struct event event = {.kind = kind};
	struct scrub *s = &v->scrub;
	int rc;

	if (next->rate)
		snprintf(event.detail, sizeof(event.detail), "at sector %llu, at most %llu bytes a "
			 "second", (unsigned long long)next->sector, (unsigned long long)next->rate);
	else
		snprintf(event.detail, sizeof(event.detail), "at sector %llu",
			 (unsigned long long)next->sector);
	rc = record(v, next, &event);
	if (rc < 0)
		return error_set(err, -rc, "the database does not commit (%s), so nothing was begun; "
				 "free its disk, or end what holds its lock", errno_name(-rc));
	pthread_mutex_lock(&s->lock);
	if (kind == EVENT_SCRUB_STARTED) {
		s->now = *next;
		s->run++;
	}
	s->now.state = SCRUB_RUNNING;
	s->now.rate = next->rate;
	s->reason[0] = 0;
	pthread_mutex_unlock(&s->lock);
	return wake_thread(v, err);
}

int volume_scrub_start(struct volume *v, uint64_t rate, struct error *err)
{
	const struct store_scrub first = {.state = SCRUB_RUNNING, .rate = rate};
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);

	if (check_rate(rate, err) < 0)
		return -EINVAL;
	if (s->active && scrub_now(s).state == SCRUB_RUNNING)
		return error_set(err, EBUSY, "a scrub is running; pause it first");
	return begin(v, &first, EVENT_SCRUB_STARTED, err);
}

/* One that runs gets the new rate. */
static int change_rate(struct volume *v, uint64_t rate, struct error *err)
{
	struct scrub *s = &v->scrub;

	if (rate != SCRUB_RATE_SAME) {
		pthread_mutex_lock(&s->lock);
		s->now.rate = rate;
		pthread_mutex_unlock(&s->lock);
	}
	return wake_thread(v, err);
}

int volume_scrub_resume(struct volume *v, uint64_t rate, struct error *err)
{
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);
	struct store_scrub next = scrub_now(s);

	if (rate != SCRUB_RATE_SAME && check_rate(rate, err) < 0)
		return -EINVAL;
	if (next.state == SCRUB_RUNNING)
		return change_rate(v, rate, err);
	if (next.state != SCRUB_PAUSED)
		return error_set(err, EINVAL, "there is no scrub to resume; start one");
	next.state = SCRUB_RUNNING;
	next.rate = rate == SCRUB_RATE_SAME ? next.rate : rate;
	return begin(v, &next, EVENT_SCRUB_RESUMED, err);
}

int volume_scrub_pause(struct volume *v, struct error *err)
{
	struct event event = {.kind = EVENT_SCRUB_PAUSED};
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);
	struct store_scrub next = scrub_now(s);
	int rc;

	if (next.state == SCRUB_PAUSED)
		return 0;
	if (next.state != SCRUB_RUNNING)
		return error_set(err, EINVAL, "there is no scrub to pause; start one");
	next.state = SCRUB_PAUSED;
	snprintf(event.detail, sizeof(event.detail), "at sector %llu",
		 (unsigned long long)next.sector);
	rc = record(v, &next, &event);
	if (rc < 0)
		return error_set(err, -rc, "the database does not commit (%s), so it goes on; free its "
				 "disk, or end what holds its lock", errno_name(-rc));
	pthread_mutex_lock(&s->lock);
	s->now.state = SCRUB_PAUSED;
	pthread_mutex_unlock(&s->lock);
	background_wake(&s->thread);
	return 0;
}

void volume_scrub_continue(struct volume *v)
{
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->saving);
	struct error err = {""};

	if (scrub_now(s).state != SCRUB_RUNNING)
		return;
	if (wake_thread(v, &err) < 0)
		log_warning("the scrub does not go on: %s", err.text);
}

/* ---- looking --------------------------------------------------------------------------------------- */

void volume_scrub_look(struct volume *v, struct volume_scrub *ret)
{
	struct scrub *s = &v->scrub;
	HOLD_LOCK(&s->lock);
	int64_t ms = now_ms() - s->since_ms;

	*ret = (struct volume_scrub){.scrub = s->now, .total = bytes_of(v, v->sectors)};
	snprintf(ret->reason, sizeof(ret->reason), "%s", s->reason);
	ret->done = bytes_of(v, s->now.sector);
	if (s->now.state != SCRUB_RUNNING || !s->active || ms <= 0)
		return;
	ret->bytes_per_second = bytes_of(v, s->now.sector - s->since_sector) * 1000 / (uint64_t)ms;
	if (ret->bytes_per_second)
		ret->seconds_left = (ret->total - ret->done) / ret->bytes_per_second;
}
