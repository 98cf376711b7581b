/*
 * Writing whole sectors to wherever they live, and finding out which of them
 * cannot stay there. Those are then settled, all of a request in one commit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "volume/volume_impl.h"

struct write_isolation {
	struct isolation isolation;
	struct volume *volume;
	struct request *request;
	const char *data;     /* of extent */
	struct extent extent; /* what is being written: one state, one place */
	struct settlement *settlement;
	struct extent refused; /* what main refused last, and the errno; 0: nothing */
	int error;
};

static const char *data_at(const struct write_isolation *w, sector_t sector)
{
	return w->data + bytes_of(w->volume, sector - w->extent.start);
}

/* ---- writing in place ----------------------------------------------------------------- */

static int write_main(struct volume *v, const void *data, const struct extent *e)
{
	return device_write(v->main, data, bytes_of(v, e->count), bytes_of(v, e->start));
}

/*
 * A sector that could not be read is trusted again when what was written can
 * be read back. The flush is for contract 6: once the pending row is gone, a
 * power cut must not bring back what main held before.
 */
static int cure(struct volume *v, const void *data, const struct extent *e)
{
	CLEANUP_FREE void *back = NULL;
	int rc;

	if (posix_memalign(&back, VOLUME_ALIGNMENT, bytes_of(v, e->count)) != 0)
		return -ENOMEM;
	rc = write_main(v, data, e);
	rc = rc < 0 ? rc : flush_main(v);
	rc = rc < 0 ? rc : device_read(v->main, back, bytes_of(v, e->count), bytes_of(v, e->start));
	if (rc == 0 && memcmp(data, back, bytes_of(v, e->count)) != 0)
		rc = -EILSEQ;
	return rc;
}

static int write_in_place(struct write_isolation *w, const struct extent *e)
{
	const void *data = data_at(w, e->start);
	struct volume *v = w->volume;
	uint64_t known = errors_known(v);
	struct spare *spare;
	int rc;

	switch (e->state) {
	case SECTOR_GOOD:
		rc = write_main(v, data, e);
		if (rc == 0)
			note_written(v, e->start, known);
		return rc;
	case SECTOR_REMAPPED:
		spare = volume_spare(v, e->spare);
		/* It will be given up with what is on it. */
		if (spare_state(spare) == SPARE_LOST)
			return -ENODEV;
		rc = commit_confirm(&v->committer, spare, e->slot, e->count);
		if (rc < 0)
			return rc == -ENOMEM ? rc : -UNCONFIRMED;
		return spare_write(spare, data, e->slot, e->count);
	case SECTOR_PENDING:
		/* Main had given up on what a slot then lost: do not go back to it. */
		if (e->spare != ON_MAIN)
			return -EIO;
		forget_intact(v, e->start, e->count);
		rc = cure(v, data, e);
		return rc < 0 ? rc : settlement_cured(w->settlement, *e, data);
	}
	return -EINVAL;
}

/* ---- what cannot stay ------------------------------------------------------------------ */

static int write_again(struct isolation *i, sector_t start, uint64_t count)
{
	struct write_isolation *w = (struct write_isolation *)i;
	struct extent part = extent_part(w->extent, start, count);

	return write_in_place(w, &part);
}

static int write_bad(struct isolation *i, sector_t start, uint64_t count, int error)
{
	struct write_isolation *w = (struct write_isolation *)i;

	return settlement_move(w->settlement, extent_part(w->extent, start, count),
			       data_at(w, start), error);
}

static void note_refused(struct write_isolation *w, int error)
{
	w->refused = w->extent;
	w->error = error;
}

/*
 * Whether an error is about the sectors (0). That of a slot always is: if the
 * whole spare is gone, its sectors move to another one just the same.
 */
static int judge(struct write_isolation *w, int error)
{
	const struct extent *e = &w->extent;
	int rc;

	if (e->spare != ON_MAIN)
		return error == ENOMEM || error == EAGAIN ? -ENOMEM : 0;
	rc = judge_main_write(w->volume, w->request, error, e->start, e->count);
	if (rc < 0)
		return rc;
	w->request->failing = true;
	note_refused(w, error);
	return 0;
}

static int write_failed(struct write_isolation *w, int error)
{
	const struct extent *e = &w->extent;
	int rc = judge(w, error);

	if (rc < 0 || w->volume->options.no_remap)
		return rc < 0 ? rc : -EIO;
	/* There is nothing to find out where nothing was tried. */
	if ((e->state == SECTOR_PENDING && e->spare != ON_MAIN) || !errno_is_media(error))
		return write_bad(&w->isolation, e->start, e->count, error);
	rc = isolate(&w->isolation, e->start, e->count, error);
	if (rc == 0)
		return 0;
	/* What came up on the way is not of the media. */
	rc = judge(w, -rc);
	return rc < 0 ? rc : -EIO;
}

/* Past the deadline the rest of a failing request moves as one, untried. */
static bool moves_untried(const struct write_isolation *w)
{
	return out_of_time(w->request) && w->extent.state != SECTOR_REMAPPED;
}

static int write_extent(struct write_isolation *w)
{
	int rc;

	if (moves_untried(w)) {
		note_refused(w, EIO);
		return write_bad(&w->isolation, w->extent.start, w->extent.count, ETIMEDOUT);
	}
	rc = write_in_place(w, &w->extent);
	return rc < 0 ? write_failed(w, -rc) : 0;
}

/*
 * Main may have died while it was found out what fails. What it refuses then is not
 * bad, nor is what was not tried: nothing moves before it was asked once more.
 */
static int settle_write(struct write_isolation *w)
{
	const struct extent *e = &w->refused;
	int rc = 0;

	if (w->error)
		rc = judge_main_write(w->volume, w->request, w->error, e->start, e->count);
	return rc < 0 ? rc : settle(w->volume, w->settlement);
}

static struct write_isolation begin_writing(struct volume *v, struct request *r, const void *buf,
					    struct settlement *settlement)
{
	return (struct write_isolation){
		.isolation = {r->deadline, write_again, write_bad},
		.volume = v,
		.request = r,
		.data = buf,
		.settlement = settlement,
	};
}

int write_after(struct volume *v, struct request *r, const void *buf, const struct extent *e,
		int error)
{
	struct settlement settlement = {.budget = &r->spare_budget};
	struct write_isolation w = begin_writing(v, r, buf, &settlement);
	int rc;

	w.extent = *e;
	rc = write_failed(&w, error);
	if (rc == 0)
		rc = settle_write(&w);
	settlement_clear(&settlement);
	return rc;
}

int write_sectors(struct volume *v, struct request *r, const void *buf, sector_t start,
		  uint64_t count)
{
	struct settlement settlement = {.budget = &r->spare_budget};
	struct write_isolation w = begin_writing(v, r, buf, &settlement);
	int rc = 0;

	while (rc == 0 && count > 0) {
		w.extent = map_get(v->map, start, count);
		rc = write_extent(&w);
		w.data += bytes_of(v, w.extent.count);
		start += w.extent.count;
		count -= w.extent.count;
	}
	if (rc == 0)
		rc = settle_write(&w);
	settlement_clear(&settlement);
	return rc;
}

/* Without a page of its own until somebody writes there, which nobody does. */
_Alignas(VOLUME_ALIGNMENT) uint8_t volume_zeros[ZEROS_BYTES];

int write_zeros(struct volume *v, struct request *r, sector_t start, uint64_t count)
{
	while (count > 0) {
		uint64_t most = ZEROS_BYTES / v->sector_size, n = count < most ? count : most;
		int rc = out_of_time(r) ? -EIO : write_sectors(v, r, volume_zeros, start, n);

		if (rc < 0)
			return rc;
		start += n;
		count -= n;
	}
	return 0;
}
