#include "fuse/answer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fuse/image.h"
#include "fuse/session.h"
#include "remapfs/cleanup.h"

/* What one request to move sectors may take, but for a dying disk. */
#define MOVE_MS 1000

static json_t *scrub_status(struct volume *v)
{
	const struct scrub_counts *found;
	struct volume_scrub s;

	volume_scrub_look(v, &s);
	found = &s.scrub.found;
	return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "state", scrub_state_name(s.scrub.state), "reason", s.reason,
			 "rate", (json_int_t)s.scrub.rate, "done", (json_int_t)s.done,
			 "total", (json_int_t)s.total,
			 "bytes_per_second", (json_int_t)s.bytes_per_second,
			 "seconds_left", (json_int_t)s.seconds_left,
			 "lost", (json_int_t)found->lost, "weak", (json_int_t)found->weak,
			 "moved", (json_int_t)found->moved, "cured", (json_int_t)found->cured,
			 "unsteady", (json_int_t)found->unsteady,
			 "skipped", (json_int_t)found->skipped);
}

/* The cause may name a path, which is any bytes; JSON is UTF-8. */
static json_t *text_json(const char *text)
{
	CLEANUP_FREE char *ascii = strdup(text);
	json_t *json = json_string(text);

	for (char *c = ascii; !json && c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	return json ? json : json_string(ascii ? ascii : "");
}

static json_t *troubles_json(const struct troubles *t)
{
	json_t *array = json_array();

	for (size_t i = 0; i < t->count; i++)
		json_array_append_new(array, json_pack("{s:s, s:i, s:o, s:s}", "state",
						       volume_state_name(t->all[i].state), "spare",
						       (int)t->all[i].spare, "cause",
						       text_json(t->all[i].cause), "remedy",
						       t->all[i].remedy));
	return array;
}

static json_t *spares_json(struct volume *v)
{
	json_t *array = json_array();
	struct volume_spare_status s;

	for (size_t i = 0; volume_spare_status(v, i, &s); i++)
		json_array_append_new(array, json_pack("{s:I, s:I, s:s}", "id", (json_int_t)s.id, "free",
						       (json_int_t)s.free, "health",
						       volume_state_name(s.health)));
	return array;
}

/* ---- before it serves -------------------------------------------------------------- */

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void answering_begin(struct answering *a, const struct options *options,
		     const struct supervision *shared, int fuse)
{
	a->options = options;
	a->shared = shared;
	a->fuse = fuse;
	a->supervisor = getppid();
	a->since = monotonic_ms();
	pthread_mutex_init(&a->lock, NULL);
	pthread_rwlock_init(&a->use, NULL);
}

void answering_waits(struct answering *a, const char *line)
{
	HOLD_LOCK(&a->lock);

	snprintf(a->waits, sizeof(a->waits), "%s", line);
}

void answering_serves(struct answering *a, struct volume *volume)
{
	atomic_store(&a->volume, volume);
}

void answering_ends(struct answering *a)
{
	pthread_rwlock_wrlock(&a->use);
	atomic_store(&a->volume, NULL);
	a->ended = true;
	pthread_rwlock_unlock(&a->use);
}

/* The kernel lets go of the descriptor before the threads that serve have ended. */
static bool is_ending(const struct answering *a)
{
	struct pollfd fuse = {.fd = a->fuse};

	return a->ended || poll(&fuse, 1, 0) > 0;
}

#define QUICK_MS 500 /* what a worker takes that has nothing to wait for */

/* Requests wait, but do not fail; for longer than a moment that is a trouble. */
static void add_waiting(struct answering *a, struct troubles *t)
{
	HOLD_LOCK(&a->lock);
	char line[500];

	if (!a->waits[0] && monotonic_ms() - a->since < QUICK_MS)
		return;
	snprintf(line, sizeof(line), "requests wait for a new worker: %s",
		 a->waits[0] ? a->waits : "it is opening the volume; if that takes long, see the "
					  "system's log");
	trouble_add_line(t, VOLUME_FAILED, ON_MAIN, line);
}

/* As of a worker that serves: what it has not done yet is none. */
static json_t *status(struct answering *a)
{
	struct volume *volume = atomic_load(&a->volume);
	struct volume_status s = {.main_direct = true};
	const char *device = getenv(SESSION_DEVICE);
	char image[4200];

	json_t *answer;

	if (volume)
		volume_status(volume, &s);
	else if (!a->ended)
		add_waiting(a, &s.troubles);
	snprintf(image, sizeof(image), "%s/%s", a->options->mountpoint, IMAGE_NAME);
	answer = json_pack("{s:b, s:i, s:s, s:s, s:s, s:b, s:b,"
			 " s:o, s:o, s:s, s:b, s:b, s:b, s:b, s:I, s:b,"
			 " s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:I, s:b, s:I, s:o, s:s,"
			 " s:I, s:o, s:b}",
			 "ok", 1, "pid", getppid() == a->supervisor ? (int)a->supervisor : (int)getpid(),
			 "version", REMAPFS_VERSION, "mountpoint", a->options->mountpoint, "image", image,
			 "read_only", a->options->read_only, "no_remap", a->options->no_remap,
			 "troubles", troubles_json(&s.troubles),
			 "spares", volume ? spares_json(volume) : json_array(),
			 "stuck", s.stuck, "main_failed", s.main_failed, "main_full", s.main_full,
			 "flush_failed", s.flush_failed, "commit_failed", s.commit_failed,
			 "slots_needed", (json_int_t)s.slots_needed, "main_direct", s.main_direct,
			 "faults", (json_int_t)s.faults,
			 "remapped_sectors", (json_int_t)s.remapped_sectors,
			 "pending_sectors", (json_int_t)s.pending_sectors,
			 "free_slots", (json_int_t)s.free_slots, "reads", (json_int_t)s.reads,
			 "writes", (json_int_t)s.writes, "errors", (json_int_t)s.errors,
			 "commits", (json_int_t)s.commits, "map_bytes", (json_int_t)s.map_bytes,
			 "commit_error", s.commit_error ? errno_name(s.commit_error) : "",
			 "misplaced", s.misplaced,
			 "log_bytes", (json_int_t)s.log_bytes, "log_stuck", s.log_stuck,
			 "worker_deaths", (json_int_t)a->shared->deaths,
			 "scrub", volume ? scrub_status(volume) : json_null(),
			 "device", device ? device : "",
			 "upgrades_refused", (json_int_t)atomic_load(&a->shared->upgrades_refused),
			 "upgrade_error", text_json(a->shared->upgrade_error),
			 "ending", is_ending(a));
	if (volume)
		json_object_set_new(answer, "worker_pid", json_integer(getpid()));
	return answer;
}

static json_t *reload_faults(const struct answering *a)
{
	int rc = volume_reload_faults(a->volume);

	if (rc == 0)
		return json_pack("{s:b}", "ok", 1);
	return json_pack("{s:b, s:s+}", "ok", 0, "error",
			 "the daemon cannot read the faults: ", errno_name(-rc));
}

static json_t *said(int rc, const struct error *err)
{
	return rc == 0 ? json_pack("{s:b}", "ok", 1)
		       : json_pack("{s:b, s:s}", "ok", 0, "error", err->text);
}

static json_t *add_spare(const struct answering *a, json_t *request)
{
	struct store_spare spare = {0};
	struct error err = {""};
	json_int_t id, offset, length, descriptor = -1;
	const char *uuid, *path;
	int rc;

	if (json_unpack(request, "{s:I, s:s, s:s, s:I, s:I, s?I}", "id", &id, "uuid", &uuid,
			"path", &path, "offset", &offset, "length", &length, "descriptor",
			&descriptor) < 0 ||
	    id < 1 || id > SPARE_ID_MAX || offset < 0 || length < 0)
		return NULL;
	spare.id = (spare_id_t)id;
	spare.offset = (uint64_t)offset;
	spare.length = (uint64_t)length;
	snprintf(spare.uuid, sizeof(spare.uuid), "%s", uuid);
	spare.path = strdup(path);
	rc = spare.path ? volume_add_opened_spare(a->volume, &spare, (int)descriptor, &err)
			: error_set(&err, ENOMEM, "out of memory; end other programs");
	free(spare.path);
	return said(rc, &err);
}

static json_t *may_add_spare(const struct answering *a)
{
	struct error err = {""};
	int rc = volume_may_add_spare(a->volume, &err);

	return said(rc, &err);
}

static json_t *retire_spare(const struct answering *a, json_t *request)
{
	struct error err = {""};
	json_int_t id;
	int lost, rc;

	if (json_unpack(request, "{s:I, s:b}", "id", &id, "lost", &lost) < 0 || id < 1 ||
	    id > SPARE_ID_MAX)
		return NULL;
	rc = volume_retire_spare(a->volume, (spare_id_t)id, lost, &err);
	return said(rc, &err);
}

/* The caller frees it. NULL: these are no sectors. */
static struct sector_range *ranges_of(const json_t *sectors, size_t *ret_count)
{
	size_t count = json_array_size(sectors);
	struct sector_range *ranges = calloc(count ? count : 1, sizeof(*ranges));

	for (size_t i = 0; ranges && i < count; i++) {
		json_int_t start, length;

		if (json_unpack(json_array_get(sectors, i), "[I, I!]", &start, &length) < 0 ||
		    start < 0 || length < 0) {
			free(ranges);
			return NULL;
		}
		ranges[i] = (struct sector_range){(sector_t)start, (uint64_t)length};
	}
	*ret_count = count;
	return ranges;
}

/* So that others are answered in between, the client asks again for the rest. */
static json_t *move_sectors(const struct answering *a, json_t *request,
			    int (*move)(struct volume *, const struct sector_range *, size_t,
					unsigned, struct volume_progress *, struct error *))
{
	struct volume_progress p = {0};
	struct error err = {""};
	size_t count;
	struct sector_range *ranges = ranges_of(json_object_get(request, "sectors"), &count);
	int rc;

	if (!ranges)
		return NULL;
	rc = move(a->volume, ranges, count, MOVE_MS, &p, &err);
	free(ranges);
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:s*}", "ok", 1, "next", (json_int_t)p.next,
			 "moved", (json_int_t)p.moved, "lost", (json_int_t)p.lost, "left",
			 (json_int_t)p.left, "stopped", rc < 0 ? err.text : NULL);
}

/* A rate below 0: that which it has. */
static json_t *scrub(const struct answering *a, json_t *request)
{
	struct error err = {""};
	const char *action;
	json_int_t rate;
	uint64_t wanted;
	int rc;

	if (json_unpack(request, "{s:s, s:I}", "action", &action, "rate", &rate) < 0)
		return NULL;
	wanted = rate < 0 ? SCRUB_RATE_SAME : (uint64_t)rate;
	if (strcmp(action, "start") == 0)
		rc = volume_scrub_start(a->volume, rate < 0 ? SCRUB_RATE_DEFAULT : wanted, &err);
	else if (strcmp(action, "resume") == 0)
		rc = volume_scrub_resume(a->volume, wanted, &err);
	else if (strcmp(action, "pause") == 0)
		rc = volume_scrub_pause(a->volume, &err);
	else
		return NULL;
	return said(rc, &err);
}

static json_t *look(void *context, const char *command)
{
	struct answering *a = context;
	json_t *answer;

	pthread_rwlock_rdlock(&a->use);
	answer = strcmp(command, "status") == 0 ? status(a) : NULL;
	pthread_rwlock_unlock(&a->use);
	return answer;
}

static json_t *carry_out(struct answering *a, const char *command, json_t *request)
{
	if (a->ended)
		return json_pack("{s:b, s:s}", "ok", 0, "error",
				 "the volume was unmounted, and is still being closed; try again "
				 "when 'remapctl status' says that the daemon is not running");
	if (!atomic_load(&a->volume))
		return json_pack("{s:b, s:b, s:s}", "ok", 0, "starting", 1, "error",
				 "the next worker of the mount does not serve yet; see 'remapctl "
				 "status', and try again");
	if (strcmp(command, "reload-faults") == 0)
		return reload_faults(a);
	if (strcmp(command, "may-add-spare") == 0)
		return may_add_spare(a);
	if (strcmp(command, "add-spare") == 0)
		return add_spare(a, request);
	if (strcmp(command, "retire-spare") == 0)
		return retire_spare(a, request);
	if (strcmp(command, "mark") == 0)
		return move_sectors(a, request, volume_mark);
	if (strcmp(command, "mark-lost") == 0)
		return move_sectors(a, request, volume_mark_lost);
	if (strcmp(command, "unmap") == 0)
		return move_sectors(a, request, volume_unmap);
	if (strcmp(command, "scrub") == 0)
		return scrub(a, request);
	return NULL;
}

static json_t *act(void *context, const char *command, json_t *request)
{
	struct answering *a = context;
	json_t *answer;

	pthread_rwlock_rdlock(&a->use);
	answer = carry_out(a, command, request);
	pthread_rwlock_unlock(&a->use);
	return answer;
}

struct control_handler answers(struct answering *answering)
{
	return (struct control_handler){.look = look, .act = act, .context = answering};
}
