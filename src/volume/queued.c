/*
 * Requests of which the caller does the I/O: whole sectors in an aligned buffer,
 * all of one state and in one place, in a range that nobody holds.
 *
 * A write has to be to main: before a slot is overwritten, its descriptor may have
 * to be confirmed, which takes I/O of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "volume/volume_impl.h"

struct own_io {
	struct volume_io io;
	struct request request;
	struct extent extent;
	uint64_t known; /* errors of main, before the I/O began */
};

static struct own_io *own(struct volume_io *io)
{
	return (struct own_io *)io;
}

struct volume_io *volume_io_new(void)
{
	struct own_io *o = calloc(1, sizeof(*o));

	return o ? &o->io : NULL;
}

void volume_io_free(struct volume_io *io)
{
	free(io);
}

/* Where the extent is; NULL: there is more to do than to read or write it there. */
static struct device *place(struct volume *v, const struct extent *e, bool write,
			    uint64_t *ret_offset)
{
	if (e->state == SECTOR_GOOD) {
		*ret_offset = bytes_of(v, e->start);
		return v->main;
	}
	if (e->state == SECTOR_REMAPPED && !write)
		return spare_place(volume_spare(v, e->spare), e->slot, ret_offset);
	return NULL;
}

/* The range is held. */
static bool find_place(struct volume *v, const struct span *s, struct own_io *o)
{
	struct volume_io *io = &o->io;

	o->extent = map_get(v->map, s->start, s->count);
	o->known = errors_known(v);
	if (o->extent.count < s->count)
		return false;
	io->device = place(v, &o->extent, io->write, &io->offset);
	if (io->device)
		io->device = device_stand_in(io->device, io->offset, io->length);
	return io->device;
}

static bool start(struct volume *v, const struct span *s, struct own_io *o)
{
	struct range_ticket *ticket = &o->request.ticket;

	if (!(o->io.write ? range_try_own(&v->locks, ticket, s->start, s->count, NULL)
			  : range_try_share(&v->locks, ticket, s->start, s->count)))
		return false;
	begin_time(v, &o->request);
	if (find_place(v, s, o))
		return true;
	range_unlock(&v->locks, ticket);
	return false;
}

bool volume_start_read(struct volume *v, void *buf, size_t length, uint64_t offset,
		       struct volume_io *io)
{
	struct span s;

	*io = (struct volume_io){.buf = buf, .length = length};
	return length > 0 && make_span(v, offset, length, &s) == 0 && is_direct(&s, buf) &&
	       start(v, &s, own(io));
}

bool volume_start_write(struct volume *v, const void *buf, size_t length, uint64_t offset,
			struct volume_io *io)
{
	struct span s;

	/* Nobody writes there: the same field serves reads. */
	*io = (struct volume_io){.buf = (void *)(uintptr_t)buf, .length = length, .write = true};
	return length > 0 && !v->options.read_only && make_span(v, offset, length, &s) == 0 &&
	       is_direct(&s, buf) && start(v, &s, own(io));
}

static int finish_read(struct volume *v, struct own_io *o, int result)
{
	const struct extent *e = &o->extent;
	int rc = result;

	if (result == 0 && e->state == SECTOR_GOOD)
		note_read(v, e->start, o->known);
	else if (result == -EAGAIN)
		rc = read_sectors(v, &o->request, o->io.buf, e->start, e->count);
	else if (result < 0)
		rc = read_failed(v, &o->request, e, o->io.buf, -result);
	end_read(v, &o->request, rc);
	return rc;
}

static int finish_write(struct volume *v, struct own_io *o, int result)
{
	const struct extent *e = &o->extent;
	int rc = result;

	if (result == 0)
		note_written(v, e->start, o->known);
	else if (result == -EAGAIN)
		rc = write_sectors(v, &o->request, o->io.buf, e->start, e->count);
	else
		rc = write_after(v, &o->request, o->io.buf, e, -result);
	end_change(v, &o->request, rc);
	return rc;
}

int volume_finish(struct volume *v, struct volume_io *io, int result)
{
	/* Nothing has failed so far. */
	if (result == -EAGAIN)
		begin_time(v, &own(io)->request);
	return io->write ? finish_write(v, own(io), result) : finish_read(v, own(io), result);
}
