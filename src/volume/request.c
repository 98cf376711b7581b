/*
 * A request, from bytes to whole sectors.
 *
 * Sectors that are covered only in part, and buffers that cannot be used for
 * direct I/O, go through a copy: the head and the tail are read, the bytes laid
 * over them, the whole written, all while the range is owned. So a request
 * takes effect at one instant whatever its edges are.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "volume/volume_impl.h"

#define ISOLATION_MS 10000

int64_t isolation_deadline(const struct volume *v)
{
	return now_ms() + (v->options.isolation_ms ? v->options.isolation_ms : ISOLATION_MS);
}

int make_span(const struct volume *v, uint64_t offset, uint64_t length, struct span *ret)
{
	uint64_t size = volume_size(v), end = offset + length;

	if (offset > size || length > size - offset)
		return -EINVAL;
	ret->start = offset / v->sector_size;
	ret->count = (end + v->sector_size - 1) / v->sector_size - ret->start;
	ret->head = (uint32_t)(offset % v->sector_size);
	ret->tail = (uint32_t)(bytes_of(v, ret->start + ret->count) - end);
	return 0;
}

static void *copy_buffer(struct volume *v, const struct span *s)
{
	void *copy;

	return posix_memalign(&copy, VOLUME_ALIGNMENT, bytes_of(v, s->count)) == 0 ? copy : NULL;
}

void begin_time(const struct volume *v, struct request *r)
{
	r->deadline = isolation_deadline(v);
	r->failing = false;
	r->spare_budget = (struct spare_budget){0};
}

/* Takes the range: shared to read it, owned to change it. */
static void begin(struct volume *v, struct request *r, const struct span *s, bool change)
{
	if (change)
		range_own(&v->locks, &r->ticket, s->start, s->count);
	else
		range_share(&v->locks, &r->ticket, s->start, s->count);
	begin_time(v, r);
}

static void count_outcome(struct volume *v, _Atomic(uint64_t) *counter, int rc)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
	if (rc < 0)
		atomic_fetch_add_explicit(&v->errors, 1, memory_order_relaxed);
}

/* ---- read ------------------------------------------------------------------------- */

void end_read(struct volume *v, struct request *r, int rc)
{
	range_unlock(&v->locks, &r->ticket);
	count_outcome(v, &v->reads, rc);
}

static int read_span(struct volume *v, const struct request *r, const struct span *s, void *buf,
		     size_t length)
{
	CLEANUP_FREE char *copy = NULL;
	int rc;

	if (is_direct(s, buf))
		return read_sectors(v, r, buf, s->start, s->count);
	copy = copy_buffer(v, s);
	if (!copy)
		return -ENOMEM;
	rc = read_sectors(v, r, copy, s->start, s->count);
	if (rc == 0)
		memcpy(buf, copy + s->head, length);
	return rc;
}

int volume_read(struct volume *v, void *buf, size_t length, uint64_t offset)
{
	struct request r;
	struct span s;
	int rc = make_span(v, offset, length, &s);

	if (rc < 0 || length == 0)
		return rc;
	begin(v, &r, &s, false);
	rc = read_span(v, &r, &s, buf, length);
	end_read(v, &r, rc);
	return rc;
}

/* ---- write --------------------------------------------------------------------------- */

/* Reads the sectors of the span that the request covers only in part. */
static int read_edges(struct volume *v, const struct request *r, const struct span *s, char *copy)
{
	sector_t last = s->start + s->count - 1;
	int rc = 0;

	if (s->head)
		rc = read_sectors(v, r, copy, s->start, 1);
	if (rc == 0 && s->tail && !(s->head && s->count == 1))
		rc = read_sectors(v, r, copy + bytes_of(v, s->count - 1), last, 1);
	return rc;
}

static int write_span(struct volume *v, struct request *r, const struct span *s,
		      const void *buf, size_t length)
{
	CLEANUP_FREE char *copy = NULL;
	int rc;

	if (is_direct(s, buf))
		return write_sectors(v, r, buf, s->start, s->count);
	copy = copy_buffer(v, s);
	if (!copy)
		return -ENOMEM;
	rc = read_edges(v, r, s, copy);
	if (rc < 0)
		return rc;
	memcpy(copy + s->head, buf, length);
	return write_sectors(v, r, copy, s->start, s->count);
}

void end_change(struct volume *v, struct request *r, int rc)
{
	struct event event = {
		.kind = EVENT_WRITE_FAILED,
		.sector = r->ticket.start,
		.sectors = r->ticket.end - r->ticket.start,
		.error = -rc,
		.detail = "answered with an error",
	};

	range_unlock(&v->locks, &r->ticket);
	count_outcome(v, &v->writes, rc);
	if (rc < 0 && rc != -EOPNOTSUPP)
		complain(v, &event);
}

int volume_write(struct volume *v, const void *buf, size_t length, uint64_t offset)
{
	struct request r;
	struct span s;
	int rc = make_span(v, offset, length, &s);

	if (rc == 0 && v->options.read_only)
		rc = -EROFS;
	if (rc < 0 || length == 0)
		return rc;
	begin(v, &r, &s, true);
	rc = write_span(v, &r, &s, buf, length);
	end_change(v, &r, rc);
	return rc;
}

/* ---- discard and zero ----------------------------------------------------------------- */

/*
 * Good sectors are erased by main itself. Where it cannot, zeros are written;
 * but not for a discard, which is advice and must not turn into writing all of
 * a disk: that is refused, before anything was done.
 */
enum erasure { DISCARD, ZERO };

static int erase_good(struct volume *v, struct request *r, const struct extent *e,
		      enum erasure how)
{
	uint64_t offset = bytes_of(v, e->start), length = bytes_of(v, e->count);
	int rc = how == DISCARD ? device_discard(v->main, offset, length)
				: device_zero(v->main, offset, length);

	if (rc == 0 || (rc == -EOPNOTSUPP && how == DISCARD))
		return rc;
	return write_zeros(v, r, e->start, e->count);
}

/* Erases the sectors that are good, or those that are not. */
static int erase_sectors(struct volume *v, struct request *r, sector_t start, uint64_t count,
			 enum erasure how, bool good)
{
	int rc = 0;

	while (rc == 0 && count > 0) {
		struct extent e = map_get(v->map, start, count);

		if (out_of_time(r))
			rc = -EIO;
		else if (good && e.state == SECTOR_GOOD)
			rc = erase_good(v, r, &e, how);
		else if (!good && e.state != SECTOR_GOOD)
			rc = write_zeros(v, r, start, e.count);
		start += e.count;
		count -= e.count;
	}
	return rc;
}

static int zero_in_sector(struct volume *v, struct request *r, sector_t sector,
			  uint32_t from, uint32_t to)
{
	const struct span one = {.start = sector, .count = 1, .head = from,
				 .tail = v->sector_size - to};

	return write_span(v, r, &one, volume_zeros, to - from);
}

static int erase_span(struct volume *v, struct request *r, const struct span *s,
		      enum erasure how)
{
	sector_t first = s->start, end = s->start + s->count;
	uint32_t tail = v->sector_size - s->tail;
	int rc;

	if (s->count == 1 && (s->head || s->tail))
		return zero_in_sector(v, r, first, s->head, tail);
	first += s->head != 0;
	end -= s->tail != 0;
	rc = erase_sectors(v, r, first, end - first, how, true);
	rc = rc < 0 ? rc : erase_sectors(v, r, first, end - first, how, false);
	if (rc == 0 && s->head)
		rc = zero_in_sector(v, r, s->start, s->head, v->sector_size);
	if (rc == 0 && s->tail)
		rc = zero_in_sector(v, r, end, 0, tail);
	return rc;
}

static int erase(struct volume *v, uint64_t offset, uint64_t length, enum erasure how)
{
	struct request r;
	struct span s;
	int rc = make_span(v, offset, length, &s);

	if (rc == 0 && v->options.read_only)
		rc = -EROFS;
	if (rc < 0 || length == 0)
		return rc;
	begin(v, &r, &s, true);
	rc = erase_span(v, &r, &s, how);
	end_change(v, &r, rc);
	return rc;
}

int volume_discard(struct volume *v, uint64_t offset, uint64_t length)
{
	return erase(v, offset, length, DISCARD);
}

int volume_zero(struct volume *v, uint64_t offset, uint64_t length)
{
	return erase(v, offset, length, ZERO);
}

/* ---- where data is ----------------------------------------------------------------------- */

/* As volume_next_data, without joining what follows. */
static int next_data(struct volume *v, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	uint64_t size = volume_size(v), start = size, end = size, special_at;
	sector_t special = map_next_special(v->map, offset / v->sector_size);
	int rc = device_next_data(v->main, offset, &start, &end);

	if (rc < 0 && rc != -ENXIO)
		return rc;
	/* What is not on main is data, even where main has a hole. */
	special_at = bytes_of(v, special) > offset ? bytes_of(v, special) : offset;
	if (special < v->sectors && special_at <= start) {
		struct extent e = map_get(v->map, special, v->sectors - special);

		start = special_at;
		end = bytes_of(v, extent_end(&e));
	} else if (rc < 0) {
		return rc;
	}
	*ret_start = start;
	*ret_end = end;
	return 0;
}

int volume_next_data(struct volume *v, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	uint64_t start, end, more;
	int rc;

	if (offset >= volume_size(v))
		return -ENXIO;
	rc = next_data(v, offset, &start, &end);
	if (rc < 0)
		return rc;
	while (end < volume_size(v)) {
		uint64_t from = end;

		if (next_data(v, from, &more, &end) < 0 || more > from) {
			end = from;
			break;
		}
	}
	*ret_start = start;
	*ret_end = end;
	return 0;
}
