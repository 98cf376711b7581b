#include "ctl/move.h"

#include "ctl/choose.h"
#include "ctl/ctl.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Of one request: 30 KiB of numbers at most. */
#define RANGES_MAX 1000
/* A worker that died has a successor by then. */
#define SUCCESSOR_MS 10000
#define RETRY_MS 300
/* Of one call, after which it is told how far it is. */
#define PATIENCE_MS 1000
#define BLOCK_MAX (16u << 20)

/* ---- one call ----------------------------------------------------------------- */

static json_t *request_of(const struct move *m, const struct sector_range *ranges, size_t count)
{
	json_t *sectors = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(sectors, json_pack("[I, I]", (json_int_t)ranges[i].start,
							 (json_int_t)ranges[i].count));
	return json_pack("{s:s, s:o}", "command", m->command, "sectors", sectors);
}

static int understand(json_t *answer, struct volume_progress *ret, struct error *err)
{
	const char *stopped = NULL;
	json_int_t next, moved, lost, left;

	if (json_unpack(answer, "{s:I, s:I, s:I, s:I, s?s}", "next", &next, "moved", &moved, "lost",
			&lost, "left", &left, "stopped", &stopped) < 0)
		return error_set(err, ENOTSUP, "the daemon is of another version; 'remapctl upgrade' "
				 "lets it go on as this one");
	*ret = (struct volume_progress){(sector_t)next, (uint64_t)moved, (uint64_t)lost,
					(uint64_t)left};
	return stopped ? error_set(err, EIO, "%s", stopped) : 0;
}

static int ask_once(const struct move *m, const struct sector_range *ranges, size_t count,
		    struct volume_progress *ret, struct error *err)
{
	json_t *request = request_of(m, ranges, count), *answer = NULL;
	int rc = request ? control_request(m->path, request, CONTROL_ACT_MS, &answer, err)
			 : error_set(err, ENOMEM, "not enough memory; end other programs");

	json_decref(request);
	if (rc == 0)
		rc = understand(answer, ret, err);
	json_decref(answer);
	return rc;
}

static bool is_no_daemon(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

/* A worker ended, and the next one does not serve yet. */
static bool is_between_workers(int rc)
{
	return rc == -EPROTO || rc == -EAGAIN;
}

/*
 * Asking again does no harm: what was done already is passed over. So a worker
 * that is killed meanwhile is waited for.
 */
static int ask_again(const struct move *m, const struct sector_range *ranges, size_t count,
		     struct volume_progress *ret, struct error *err)
{
	int rc = -EIO;

	for (unsigned ms = 0; ms < SUCCESSOR_MS; ms += RETRY_MS) {
		rc = ask_once(m, ranges, count, ret, err);
		if ((!is_no_daemon(rc) && !is_between_workers(rc)) || !progress_pause(RETRY_MS))
			break;
	}
	return rc;
}

static int move_here(const struct move *m, const struct sector_range *ranges, size_t count,
		     struct volume_progress *ret, struct error *err)
{
	if (strcmp(m->command, "unmap") == 0)
		return volume_unmap(m->volume, ranges, count, PATIENCE_MS, ret, err);
	return m->lost ? volume_mark_lost(m->volume, ranges, count, PATIENCE_MS, ret, err)
		       : volume_mark(m->volume, ranges, count, PATIENCE_MS, ret, err);
}

/* ---- all of them --------------------------------------------------------------- */

/* The volume opened here. In use without an answer: its worker is being replaced. */
static int open_here(struct move *m, const struct sector_range *ranges, size_t count,
		     struct volume_progress *ret, struct error *err)
{
	const struct volume_options o = {.opener = "remapctl " REMAPFS_VERSION};
	struct error later = {0};
	int rc = volume_open(m->path, &o, &m->volume, err), again;

	if (rc == 0)
		return move_here(m, ranges, count, ret, err);
	again = rc == -EBUSY ? ask_again(m, ranges, count, ret, &later) : rc;
	if (rc != -EBUSY || is_no_daemon(again))
		return rc;
	*err = later;
	return again;
}

static int step(struct move *m, bool first, const struct sector_range *ranges, size_t count,
		struct volume_progress *ret, struct error *err)
{
	int rc;

	if (m->volume)
		return move_here(m, ranges, count, ret, err);
	if (!first)
		return ask_again(m, ranges, count, ret, err);
	rc = ask_once(m, ranges, count, ret, err);
	if (is_between_workers(rc))
		return ask_again(m, ranges, count, ret, err);
	return is_no_daemon(rc) ? open_here(m, ranges, count, ret, err) : rc;
}

/* Drops what lies below next. */
static void use_up(struct sector_range **ranges, size_t *count, sector_t next)
{
	while (*count && (*ranges)->start + (*ranges)->count <= next) {
		++*ranges;
		--*count;
	}
	if (*count && (*ranges)->start < next) {
		(*ranges)->count -= next - (*ranges)->start;
		(*ranges)->start = next;
	}
}

static int move_all(struct move *m, struct sector_range *ranges, size_t count, uint32_t sector_size,
		    struct error *err)
{
	uint64_t total = count_sectors(ranges, count);
	bool first = true;

	while (count) {
		size_t n = count < RANGES_MAX ? count : RANGES_MAX;
		struct volume_progress p = {.next = ranges->start};
		int rc = step(m, first, ranges, n, &p, err);

		first = false;
		m->done.moved += p.moved;
		m->done.lost += p.lost;
		m->done.left += p.left;
		if (rc < 0)
			return rc;
		if (p.next <= ranges->start)
			return error_set(err, EPROTO, "the daemon does not go on; see its log, and try "
					 "again");
		use_up(&ranges, &count, p.next);
		if (!progress_show(&m->progress, m->command,
				   (total - count_sectors(ranges, count)) * sector_size,
				   total * sector_size))
			return error_set(err, EINTR, "interrupted; what was done stands, the same "
					 "command goes on with the rest");
	}
	return 0;
}

int move_sectors(struct move *m, struct sector_range *ranges, size_t count, uint32_t sector_size,
		 struct error *err)
{
	int rc, closed;

	progress_begin(&m->progress, m->quiet);
	rc = move_all(m, ranges, count, sector_size, err);
	progress_end(&m->progress);
	if (!m->volume)
		return rc;
	closed = volume_close(m->volume);
	m->volume = NULL;
	if (rc == 0 && closed < 0)
		return error_set(err, -closed, "the volume did not close in order (%s); see its "
				 "history", errno_name(-closed));
	return rc;
}

bool move_is_told(const struct move *m, int rc)
{
	return !m->quiet && (rc == 0 || m->done.moved || m->done.lost);
}

/* ---- whether there is room ------------------------------------------------------ */

/* Sectors to be marked, and what there is for them, as the database has it. */
struct need {
	const struct sector_range *ranges;
	size_t count, at; /* ranges before at end before the extents to come */
	uint64_t sectors, known, free;
	uint64_t remapped; /* of the known ones */
};

static int count_known(void *context, const struct extent *e)
{
	struct need *n = context;

	while (n->at < n->count && n->ranges[n->at].start + n->ranges[n->at].count <= e->start)
		n->at++;
	for (size_t i = n->at; i < n->count && n->ranges[i].start < extent_end(e); i++) {
		sector_t start = n->ranges[i].start, end = start + n->ranges[i].count;

		start = start > e->start ? start : e->start;
		end = end < extent_end(e) ? end : extent_end(e);
		n->known += end - start;
		n->remapped += e->state == SECTOR_REMAPPED ? end - start : 0;
	}
	return 0;
}

static int count_free(struct store *store, uint64_t *ret)
{
	size_t count;
	const struct store_spare *spares = store_spares(store, &count);
	int rc = 0;

	*ret = 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint64_t used, bad;

		if (spares[i].state != SPARE_ACTIVE)
			continue;
		rc = store_spare_usage(store, spares[i].id, &used, &bad);
		if (rc == 0 && used + bad < spares[i].slots)
			*ret += spares[i].slots - used - bad;
	}
	return rc;
}

/* all: also where it is clear that there is room. */
static int find_need(const char *path, bool all, struct need *n, struct error *err)
{
	struct store *store;
	int rc = store_open(path, STORE_READ, &store, err);

	if (rc < 0)
		return rc;
	n->sectors = count_sectors(n->ranges, n->count);
	rc = count_free(store, &n->free);
	if (rc == 0 && (all || n->sectors > n->free))
		rc = store_each_extent(store, count_known, n);
	store_close(store);
	return rc < 0 ? explain_store(path, rc, err) : 0;
}

static int check_room(const struct move *m, const struct need *n, struct error *err)
{
	if (m->lost || m->force || n->sectors - n->known <= n->free)
		return 0;
	return error_set(err, ENOSPC, "%" PRIu64 " sector%s would have to move, and the spares have %"
			 PRIu64 " free slot%s; add a spare with 'remapctl add-spare', give --lost if "
			 "these sectors are lost, or --force to move what there is room for",
			 n->sectors - n->known, plural(n->sectors - n->known), n->free,
			 plural(n->free));
}

/*
 * Sectors that have a copy keep it: what they hold may have been written since. What a list
 * that was imported without --lost moved holds nothing.
 */
static void warn_of_copies(const struct move *m, const struct need *n)
{
	if (m->lost && n->remapped)
		fprintf(stderr,
			"remapctl: warning: %" PRIu64 " of these sectors %s on a spare already, and "
			"not lost; if a list that was taken without --lost moved them, undo that "
			"with 'remapctl unmap', then repeat this\n",
			n->remapped, is_or_are(n->remapped));
}

int mark_rehearse(const struct move *m, const struct sector_range *ranges, size_t count)
{
	struct need n = {.ranges = ranges, .count = count};
	struct error err = {0};

	if (find_need(m->path, true, &n, &err) < 0)
		return refuse(&err);
	printf("%" PRIu64 " sector%s in %zu piece%s, %" PRIu64 " known before; ", n.sectors,
	       plural(n.sectors), count, plural(count), n.known);
	if (m->lost)
		printf("%" PRIu64 " would be pending\n", n.sectors - n.known);
	else
		printf("up to %" PRIu64 " would move, %" PRIu64 " slot%s %s free\n",
		       n.sectors - n.known, n.free, plural(n.free), is_or_are(n.free));
	warn_of_copies(m, &n);
	return check_room(m, &n, &err) < 0 ? refuse(&err) : EXIT_DONE;
}

/* ---- mark, to its end ------------------------------------------------------------- */

int mark_sectors(struct move *m, struct sector_range *ranges, size_t count, uint32_t sector_size)
{
	struct need n = {.ranges = ranges, .count = count};
	uint64_t total = count_sectors(ranges, count);
	struct error err = {0};
	int rc;

	m->command = m->lost ? "mark-lost" : "mark";
	rc = m->force && !m->lost ? 0 : find_need(m->path, m->lost, &n, &err);
	rc = rc < 0 ? rc : check_room(m, &n, &err);
	rc = rc < 0 ? rc : move_sectors(m, ranges, count, sector_size, &err);
	if (move_is_told(m, rc)) {
		if (m->lost)
			printf("%" PRIu64 " sector%s: %" PRIu64 " %s pending now", total,
			       plural(total), m->done.lost, is_or_are(m->done.lost));
		else
			printf("%" PRIu64 " sector%s: %" PRIu64 " moved to the spares, %" PRIu64
			       " could not be read and %s pending", total, plural(total),
			       m->done.moved, m->done.lost, is_or_are(m->done.lost));
		if (rc == 0)
			printf(", %" PRIu64 " known before", total - m->done.moved - m->done.lost);
		printf("\n");
		fflush(stdout);
	}
	warn_of_copies(m, &n);
	return rc < 0 ? refuse(&err) : EXIT_DONE;
}

int volume_shape_of(const char *path, struct volume_shape *ret, struct error *err)
{
	const struct store_volume *volume;
	struct store *store;
	int rc = store_open(path, STORE_READ, &store, err);

	if (rc < 0)
		return rc;
	volume = store_volume(store);
	*ret = (struct volume_shape){volume->sector_size, volume->main_sectors};
	store_close(store);
	return 0;
}

int take_block_size(const char *text, uint32_t *ret, struct error *err)
{
	uint64_t size;
	int rc = parse_size(text, &size, err);

	if (rc == 0 && (size == 0 || size % 512 || size > BLOCK_MAX))
		rc = error_set(err, ERANGE, "blocks of %.60s are none of badblocks; give a multiple of "
			       "512 bytes, such as 4096", text);
	if (rc < 0) {
		error_prefix(err, "-b");
		return rc;
	}
	*ret = (uint32_t)size;
	return 0;
}
