/*
 * Reading whole sectors from wherever they live.
 *
 * A sector that cannot be read makes the request fail and is pending from then
 * on; nothing is moved, since there is nothing to put on a spare (contract 3).
 * The rest of the request is still looked at, so that all its bad sectors are
 * known after one failure and not after as many.
 */
#include <errno.h>

#include "volume/volume_impl.h"

struct read_isolation {
	struct isolation isolation;
	struct volume *volume;
	char *buf;
	struct extent extent; /* what is being read: one state, one place */
	struct settlement lost; /* sectors that could not be read */
	bool out_of_time;
};

int read_extent(struct volume *v, const struct extent *e, void *buf)
{
	if (e->spare == ON_MAIN)
		return device_read(v->main, buf, bytes_of(v, e->count), bytes_of(v, e->start));
	return spare_read(volume_spare(v, e->spare), buf, e->slot, e->count);
}

static int read_again(struct isolation *i, sector_t start, uint64_t count)
{
	struct read_isolation *r = (struct read_isolation *)i;
	struct extent part = extent_part(r->extent, start, count);

	return read_extent(r->volume, &part,
			   r->buf + bytes_of(r->volume, start - r->extent.start));
}

static int read_bad(struct isolation *i, sector_t start, uint64_t count, int error)
{
	struct read_isolation *r = (struct read_isolation *)i;

	/* Some of these may be readable: nothing is said of them. */
	if (count > 1 || error == ETIMEDOUT) {
		r->out_of_time = true;
		return 0;
	}
	return settlement_move(&r->lost, extent_part(r->extent, start, count), NULL, error);
}

/* Whether it is the sectors (0) or all of the device that they are on. */
static int judge(struct volume *v, const struct request *r, const struct extent *e, int error)
{
	if (e->state == SECTOR_GOOD)
		return judge_main_read(v, r, error, e->start, e->count);
	return judge_spare(v, volume_spare(v, e->spare), error, false);
}

/*
 * A sector is given up when it fails alone, main or its spare having been seen
 * alive before that and after: what a disk refuses while it is away for a moment
 * is there when it comes back. What can be read by then has been read, into buf.
 */
int read_failed(struct volume *v, const struct request *request, const struct extent *e, void *buf,
		int error)
{
	struct read_isolation r = {
		.isolation = {request->deadline, read_again, read_bad},
		.volume = v,
		.buf = buf,
		.extent = *e,
	};
	int rc = judge(v, request, e, error);

	if (rc < 0 || v->options.no_remap)
		return rc < 0 ? rc : -EIO;
	rc = isolate_again(&r.isolation, e->start, e->count, error);
	if (r.lost.move_count && judge(v, request, e, error) < 0)
		rc = -EIO;
	else
		mark_pending(v, &r.lost);
	if (rc == 0 && (r.lost.move_count || r.out_of_time))
		rc = -EIO;
	settlement_clear(&r.lost);
	return rc == 0 || rc == -ENOMEM ? rc : -EIO;
}

int read_sectors(struct volume *v, const struct request *r, void *buf, sector_t start,
		 uint64_t count)
{
	char *to = buf;
	int result = 0;

	while (count > 0) {
		struct extent e = map_get(v->map, start, count);
		uint64_t known = errors_known(v);
		int rc = e.state == SECTOR_PENDING ? -EIO : read_extent(v, &e, to);

		if (rc == 0 && e.state == SECTOR_GOOD)
			note_read(v, e.start, known);
		else if (rc < 0 && e.state != SECTOR_PENDING)
			rc = read_failed(v, r, &e, to, -rc);
		result = rc < 0 ? rc : result;
		if (result < 0 && now_ms() >= r->deadline)
			break;
		to += bytes_of(v, e.count);
		start += e.count;
		count -= e.count;
	}
	return result;
}
