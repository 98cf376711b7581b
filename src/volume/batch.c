#include "volume/batch.h"

#include <errno.h>
#include <stdlib.h>

#define PATIENCE_MS 10000 /* of one batch, as of a request */

int batch_new(struct volume *v, bool with_data, struct batch **ret)
{
	struct batch *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->volume = v;
	if (with_data &&
	    (posix_memalign((void **)&b->buf, VOLUME_ALIGNMENT, BATCH_BYTES) != 0 ||
	     posix_memalign((void **)&b->back, VOLUME_ALIGNMENT, BATCH_BYTES) != 0)) {
		batch_free(b);
		return -ENOMEM;
	}
	*ret = b;
	return 0;
}

void batch_free(struct batch *b)
{
	free(b->buf);
	free(b->back);
	free(b);
}

int check_ranges(const struct volume *v, const struct sector_range *ranges, size_t count,
		 struct error *err)
{
	sector_t at = 0;

	if (v->options.read_only || v->options.no_remap)
		return error_set(err, EROFS, "the volume is mounted so that nothing is moved; mount "
				 "it without ro and noremap");
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].start < at || ranges[i].count == 0 || ranges[i].start >= v->sectors ||
		    ranges[i].count > v->sectors - ranges[i].start)
			break;
		at = ranges[i].start + ranges[i].count;
		if (i + 1 == count)
			return 0;
	}
	return error_set(err, EINVAL, "sectors out of order or outside the volume; name sectors "
			 "below %llu", (unsigned long long)v->sectors);
}

/* ---- walking -------------------------------------------------------------------- */

/* The part of the current range that was not looked at; its count may be 0. */
static struct sector_range rest_of_range(const struct walk *w)
{
	struct sector_range r = w->ranges[w->index];

	if (w->at > r.start) {
		r.count -= w->at - r.start;
		r.start = w->at;
	}
	return r;
}

/* The next extent of the wanted state, at most so long; the walk is then at its start. */
static bool next_extent(struct volume *v, struct walk *w, uint64_t most, struct extent *ret)
{
	while (w->index < w->count) {
		struct sector_range r = rest_of_range(w);
		sector_t end = r.start + r.count;

		/* Good sectors may be many: what is not is found without going through them. */
		if (r.count && w->wanted != SECTOR_GOOD) {
			sector_t special = map_next_special(v->map, r.start);

			r.count -= special < end ? special - r.start : r.count;
			r.start = special < end ? special : end;
		}
		w->at = r.start;
		if (r.count == 0) {
			w->index++;
			continue;
		}
		*ret = map_get(v->map, r.start, r.count < most ? r.count : most);
		if (ret->state == w->wanted)
			return true;
		w->at = extent_end(ret);
	}
	return false;
}

sector_t walk_position(const struct walk *w)
{
	const struct sector_range *last = &w->ranges[w->count - 1];

	if (w->index == w->count)
		return last->start + last->count;
	return rest_of_range(w).start;
}

/* ---- owning --------------------------------------------------------------------- */

static bool own(struct batch *b, struct piece *p, const struct extent *e)
{
	struct range_locks *locks = &b->volume->locks;

	if (b->count > 0)
		return range_try_own(locks, &p->request.ticket, e->start, e->count, NULL);
	range_own(locks, &p->request.ticket, e->start, e->count);
	return true;
}

bool batch_take(struct batch *b, struct walk *w, uint64_t most)
{
	struct volume *v = b->volume;
	char *data = b->buf;
	struct extent e;

	b->count = 0;
	b->stopped = false;
	if (data && most > BATCH_BYTES / v->sector_size)
		most = BATCH_BYTES / v->sector_size;
	while (most > 0 && b->count < BATCH_PIECES && next_extent(v, w, most, &e)) {
		struct piece *p = &b->pieces[b->count];

		if (!own(b, p, &e))
			break;
		p->request.deadline = now_ms() + PATIENCE_MS;
		p->extent = e;
		p->index = w->index;
		p->data = data;
		data = data ? data + bytes_of(v, e.count) : NULL;
		most -= e.count;
		w->at = extent_end(&e);
		b->count++;
	}
	return b->count > 0;
}

void batch_stop(struct batch *b, struct walk *w, const struct piece *p, sector_t at)
{
	w->index = p->index;
	w->at = at;
	b->stopped = true;
}

void batch_release(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		range_unlock(&b->volume->locks, &b->pieces[i].request.ticket);
	b->count = 0;
}
