/*
 * The map from the spares alone.
 *
 * Of the descriptors of one sector the newest holds that can be believed: see
 * docs/format.md. All are gathered, sorted by sector and the newest first, and
 * gone through once.
 */
#include "remapfs/rebuild.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/cleanup.h"
#include "remapfs/folder.h"
#include "remapfs/spare.h"
#include "remapfs/store.h"
#include "remapfs/volume.h"
#include "volume/apart.h"
#include "volume/content.h"
#include "volume/cross.h"
#include "volume/identity.h"
#include "volume/parts.h"

struct source {
	const struct part_spec *spec;
	char *path; /* absolute */
	struct spare *spare;
	struct spare_identity id;
	uint64_t length; /* bytes of the region */
};

/* One descriptor. */
struct place {
	sector_t sector;
	uint64_t sequence;
	slot_t slot;
	uint32_t data_sum;
	uint32_t part;
};

struct rebuild {
	const struct rebuild_options *options;
	struct rebuild_result result;
	struct error *err;
	int lock_fd; /* of the database that is set aside */
	char *main_path;
	struct device *main;
	struct source *parts;
	struct place *places;
	size_t place_count, place_room;
	uint32_t reading; /* the part whose table is being read */
	uint64_t opens;   /* the last epoch that anything tells of */
	struct store *store; /* the new one, while it is filled */
	struct extent open;  /* extent that may go on, and its sequence; count 0: none */
	uint64_t open_sequence;
	void *sector_buffer;
};

static int out_of_memory(struct rebuild *r)
{
	return error_set(r->err, ENOMEM, "out of memory; end other programs");
}

/* ---- what is where ---------------------------------------------------------------------- */

static int find(struct rebuild *r, const char *role, const char *path, char **ret)
{
	*ret = r->options->parts ? strdup(path) : realpath(path, NULL);
	if (!*ret)
		return error_set(r->err, errno, "cannot open %s '%s': %s; check the path", role,
				 path, strerror(errno));
	return 0;
}

/* The old database, if there is one: it must not be in use, nor be one of the parts. */
static int check_path(struct rebuild *r)
{
	const char *path = r->options->path;
	struct stat st;
	int rc;

	if (r->options->parts)
		return 0;
	if (lstat(path, &st) < 0) {
		if (errno != ENOENT)
			return error_set(r->err, errno, "cannot make volume '%s': %s; choose a "
					 "folder that exists", path, strerror(errno));
		rc = folder_check(path, r->err);
		return rc < 0 ? rc : store_can_create(path, r->err);
	}
	if (!r->options->force)
		return error_set(r->err, EEXIST, "'%s' exists; with --force it is renamed to "
				 "'%s.old' first", path, path);
	if (!S_ISREG(st.st_mode))
		return error_set(r->err, EEXIST, "'%s' is no file; choose another name", path);
	return volume_lock(path, 0, &r->lock_fd, r->err);
}

static int check_distinct(struct rebuild *r)
{
	const struct rebuild_options *o = r->options;
	struct locations l = {0};
	int rc = locations_add(&l, "the database", ON_MAIN, o->path, 0, 0);

	rc = rc < 0 ? rc : locations_add(&l, "main", ON_MAIN, o->main.path, 0, 0);
	for (size_t i = 0; rc == 0 && i < o->spare_count; i++)
		rc = locations_add(&l, "spare", ON_MAIN, o->spares[i].path, o->spares[i].offset,
				   o->spares[i].length);
	rc = rc < 0 ? out_of_memory(r)
		    : locations_apart(&l, 1, o->force, "give each the path that it has", r->err);
	locations_free(&l);
	return rc;
}

static int open_main(struct rebuild *r)
{
	struct file_device_options o = {.role = "main", .read_only = true};
	int rc = find(r, "main", r->options->main.path, &r->main_path);

	rc = rc < 0 ? rc : parts_open_device(r->options->parts, r->main_path, &o, &r->main,
					     r->err);
	return rc < 0 || r->options->force ? rc
					   : content_check_main(r->main_path, r->main, r->err);
}

/* Takes over the device. */
static int take_spare(struct rebuild *r, struct source *p, struct device *d)
{
	bool damaged;
	int rc = spare_probe(d, &p->id);

	if (rc < 0) {
		device_close(d);
		return error_set(r->err, rc == -EPROTO ? EPROTO : EBADMSG, rc == -EPROTO
				 ? "spare '%s' has a newer format; use a newer remapfs"
				 : "'%s' carries no superblock of a remapfs spare; give the right "
				   "file, with the offset and length that it had", p->path);
	}
	p->length = d->geometry.size;
	rc = spare_open(d, &p->id, &p->spare, &damaged, r->err);
	if (rc < 0)
		return rc;
	/* What a daemon that was killed had written is read from a cache, maybe. */
	if (spare_flush(p->spare) < 0)
		return error_set(r->err, EIO, "spare '%s' cannot be flushed; check its disk", p->path);
	return 0;
}

static int open_spare(struct rebuild *r, struct source *p)
{
	struct file_device_options o = {.role = "spare", .offset = p->spec->offset,
					.length = p->spec->length, .whole_blocks = true,
					.read_only = true};
	struct device *d;
	int rc = find(r, "spare", p->spec->path, &p->path);

	rc = rc < 0 ? rc : parts_open_device(r->options->parts, p->path, &o, &d, r->err);
	return rc < 0 ? rc : take_spare(r, p, d);
}

/* ---- whether they belong together ----------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
	const struct source *x = a, *y = b;

	return x->id.id < y->id.id ? -1 : x->id.id > y->id.id;
}

/*
 * How many spares are in use: the greatest number that one of them says. While
 * one is added or retired they do not all say the same, and the smaller number
 * counts for those alone that were told of it. See tell_members.
 */
static uint32_t in_use(const struct rebuild *r)
{
	uint32_t most = 0;

	for (size_t i = 0; i < r->options->spare_count; i++) {
		uint32_t n = r->parts[i].id.in_use;

		most = n > most && n != SPARE_OUTSIDE ? n : most;
	}
	return most;
}

static size_t count_staying(const struct rebuild *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->options->spare_count; i++)
		n += r->parts[i].id.in_use != SPARE_OUTSIDE;
	return n;
}

/* All that there ever were, or as many as have not been retired. */
static int check_complete(struct rebuild *r, spare_id_t last)
{
	size_t n = r->options->spare_count, staying = count_staying(r);
	uint32_t needed = in_use(r) ? in_use(r) : last;

	/* A copy of one from before it joined is none of them. */
	if (staying == needed || (n == last && staying > needed) || r->options->partial)
		return 0;
	if (needed < last)
		return error_set(r->err, EBADMSG, "a spare is missing (%u are in use, numbered up to "
				 "%u): the sectors on it would be lost; give all spares, or go on "
				 "with --partial", needed, last);
	for (size_t i = 0; i < last; i++)
		if (i >= n || r->parts[i].id.id != i + 1)
			return error_set(r->err, EBADMSG, "spare %zu of %u is missing: the sectors "
					 "on it would be lost; give all spares, or go on with "
					 "--partial", i + 1, last);
	return 0;
}

/* The spare that was written last: each stamp comes with a greater confirmed sequence. */
static const struct source *last_stamped(const struct rebuild *r)
{
	const struct source *last = &r->parts[0];

	for (size_t i = 1; i < r->options->spare_count; i++)
		if (spare_found(r->parts[i].spare)->confirmed > spare_found(last->spare)->confirmed)
			last = &r->parts[i];
	return last;
}

static bool has_stamp(const struct source *p, uint64_t number)
{
	const struct spare_found *f = spare_found(p->spare);

	return f->stamp.number == number || f->other_stamp.number == number;
}

/* Whether any of them says that all spares have that stamp. */
static bool is_everywhere(const struct rebuild *r, uint64_t number)
{
	for (size_t i = 0; i < r->options->spare_count; i++) {
		const struct spare_found *f = spare_found(r->parts[i].spare);

		if (f->stamp.number == number && f->stamp.everywhere)
			return true;
	}
	return false;
}

/*
 * Without a database the spares have only each other. One without the last stamp is an
 * older copy, if all spares were given it.
 */
static int check_ages(struct rebuild *r)
{
	const struct source *last = last_stamped(r);
	uint64_t number = spare_found(last->spare)->stamp.number;

	if (r->options->partial || !is_everywhere(r, number))
		return 0;
	for (size_t i = 0; i < r->options->spare_count; i++) {
		const struct source *p = &r->parts[i];

		if (p->id.in_use != SPARE_OUTSIDE && !has_stamp(p, number))
			return error_set(r->err, EBADMSG, "'%s' is an older copy: '%s' was used "
					 "after it; give the one that was used last, or go on "
					 "with --partial", p->path, last->path);
	}
	return 0;
}

static int check_spares(struct rebuild *r)
{
	const struct spare_identity *first = &r->parts[0].id;
	size_t n = r->options->spare_count;
	spare_id_t last = 0;
	int rc;

	qsort(r->parts, n, sizeof(*r->parts), by_id);
	for (size_t i = 0; i < n; i++) {
		const struct spare_identity *id = &r->parts[i].id;

		if (uuid_compare(id->volume, first->volume) != 0 ||
		    id->sector_size != first->sector_size ||
		    id->main_sectors != first->main_sectors)
			return error_set(r->err, EBADMSG, "'%s' and '%s' are spares of different "
					 "volumes; give those of one", r->parts[0].path,
					 r->parts[i].path);
		if (i && id->id == r->parts[i - 1].id.id)
			return error_set(r->err, EBADMSG, "'%s' and '%s' are the same spare; give "
					 "the one that was used last", r->parts[i - 1].path,
					 r->parts[i].path);
		last = id->id > last ? id->id : last;
		last = id->spares > last ? id->spares : last;
	}
	rc = check_complete(r, last);
	return rc < 0 ? rc : check_ages(r);
}

static int check_main(struct rebuild *r)
{
	const struct spare_identity *id = &r->parts[0].id;
	uint64_t size = id->main_sectors * id->sector_size;

	if (r->main->geometry.size != size)
		return error_set(r->err, EBADMSG, "main '%s' has %llu bytes, the spares are for "
				 "%llu; give the right file", r->main_path,
				 (unsigned long long)r->main->geometry.size,
				 (unsigned long long)size);
	if (r->main->geometry.block_size > id->sector_size)
		return error_set(r->err, EBADMSG, "main '%s' has sectors of %u bytes, the volume of "
				 "%u; give the right disk", r->main_path,
				 r->main->geometry.block_size, id->sector_size);
	return 0;
}

static int open_all(struct rebuild *r)
{
	int rc = check_path(r);

	/* Simulated ones have names that mean nothing here. */
	if (rc == 0 && !r->options->parts)
		rc = check_distinct(r);
	rc = rc < 0 ? rc : open_main(r);
	for (size_t i = 0; rc == 0 && i < r->options->spare_count; i++) {
		r->parts[i].spec = &r->options->spares[i];
		rc = open_spare(r, &r->parts[i]);
	}
	rc = rc < 0 ? rc : check_spares(r);
	return rc < 0 ? rc : check_main(r);
}

/* ---- gathering -------------------------------------------------------------------------------- */

static int gather_group(void *context, struct slot_group *g)
{
	struct rebuild *r = context;

	for (uint64_t i = 0; i < g->count; i++) {
		const struct slot_descriptor *d = &g->slots[i];

		r->result.damaged += d->state == DESCRIPTOR_DAMAGED;
		if (d->state != DESCRIPTOR_VALID)
			continue;
		if (d->sequence >> SEQUENCE_EPOCH > r->opens)
			r->opens = d->sequence >> SEQUENCE_EPOCH;
		if (r->place_count == r->place_room) {
			size_t room = r->place_room * 2 + 1024;
			struct place *more = realloc(r->places, room * sizeof(*more));

			if (!more)
				return -ENOMEM;
			r->places = more;
			r->place_room = room;
		}
		r->places[r->place_count++] = (struct place){d->sector, d->sequence, g->first + i,
							     d->data_sum, r->reading};
	}
	return 0;
}

static int by_sector_newest_first(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->sector != y->sector)
		return x->sector < y->sector ? -1 : 1;
	return x->sequence > y->sequence ? -1 : x->sequence < y->sequence;
}

static int gather(struct rebuild *r)
{
	for (size_t i = 0; i < r->options->spare_count; i++) {
		struct spare *s = r->parts[i].spare;
		int rc;

		r->reading = (uint32_t)i;
		rc = spare_each_group(s, gather_group, r);
		if (rc == -ENOMEM)
			return out_of_memory(r);
		if (rc < 0)
			return error_set(r->err, -rc, "cannot read spare '%s' (%s); check its disk",
					 r->parts[i].path, errno_name(-rc));
		if (spare_confirmed(s) >> SEQUENCE_EPOCH > r->opens)
			r->opens = spare_confirmed(s) >> SEQUENCE_EPOCH;
	}
	if (r->result.damaged && !r->options->partial)
		return error_set(r->err, EBADMSG, "%llu descriptors of the spares are damaged, so "
				 "some sectors may be on a spare and not be found; repair them with "
				 "'remapctl check' while there is a database, or go on with "
				 "--partial", (unsigned long long)r->result.damaged);
	if (r->place_count)
		qsort(r->places, r->place_count, sizeof(*r->places), by_sector_newest_first);
	return 0;
}

/* ---- deciding ------------------------------------------------------------------------------------ */

/* SECTOR_REMAPPED: it holds, SECTOR_PENDING: not known, SECTOR_GOOD: never acknowledged. */
static int believe(struct rebuild *r, const struct place *p, enum sector_state *ret)
{
	struct spare *s = r->parts[p->part].spare;
	int rc = 0;

	*ret = SECTOR_REMAPPED;
	if (p->sequence <= spare_confirmed(s))
		return 0;
	rc = spare_read(s, r->sector_buffer, p->slot, 1);
	if (rc < 0 && !errno_is_media(-rc))
		return rc;
	if (rc < 0)
		*ret = SECTOR_PENDING;
	else if (spare_data_sum(r->sector_buffer, r->parts[0].id.sector_size) != p->data_sum)
		*ret = SECTOR_GOOD;
	return 0;
}

static int write_open(struct rebuild *r)
{
	struct extent e = r->open;
	int rc = 0;

	r->open.count = 0;
	if (e.count == 0)
		return 0;
	rc = store_set_extent(r->store, &e, e.state == SECTOR_PENDING ? EIO : 0,
			      r->open_sequence);
	if (e.state == SECTOR_REMAPPED) {
		r->result.remapped += e.count;
		return rc;
	}
	/* The slot must not be given out while it says where the sector was. */
	r->result.pending += e.count;
	return rc < 0 ? rc : store_add_bad_slots(r->store, e.spare, e.slot, e.count, EIO);
}

static int add(struct rebuild *r, const struct place *p, enum sector_state state)
{
	struct extent e = {p->sector, 1, state, r->parts[p->part].id.id, p->slot};
	int rc;

	if (r->open.count && r->open.state == state && r->open.spare == e.spare &&
	    extent_end(&r->open) == e.start && r->open.slot + r->open.count == e.slot &&
	    r->open_sequence == p->sequence) {
		r->open.count++;
		return 0;
	}
	rc = write_open(r);
	r->open = e;
	r->open_sequence = p->sequence;
	return rc;
}

static int tell_rebuilt(struct rebuild *r)
{
	struct event event = {.kind = EVENT_REBUILT};

	snprintf(event.detail, sizeof(event.detail), "from the spares: %llu remapped sectors, %llu "
		 "pending, %llu writes that were never acknowledged, %llu damaged descriptors",
		 (unsigned long long)r->result.remapped, (unsigned long long)r->result.pending,
		 (unsigned long long)r->result.passed_over,
		 (unsigned long long)r->result.damaged);
	return store_add_event(r->store, &event);
}

/* Called by store_recreate, in its transaction. */
static int fill(void *context, struct store *s)
{
	struct rebuild *r = context;
	uint64_t sectors = r->parts[0].id.main_sectors;
	int rc = 0;

	r->store = s;
	for (size_t i = 0; rc == 0 && i < r->place_count;) {
		const struct place *p = &r->places[i];
		enum sector_state state = SECTOR_GOOD;

		if (p->sector < sectors)
			rc = believe(r, p, &state);
		if (rc == 0 && state == SECTOR_GOOD) {
			r->result.passed_over++;
			i++;
			continue;
		}
		rc = rc < 0 ? rc : add(r, p, state);
		/* The older places of the same sector. */
		while (i < r->place_count && r->places[i].sector == p->sector)
			i++;
	}
	rc = rc < 0 ? rc : write_open(r);
	return rc < 0 ? rc : tell_rebuilt(r);
}

/* ---- the new database ----------------------------------------------------------------------------- */

static int make_database(struct rebuild *r)
{
	size_t n = r->options->spare_count;
	CLEANUP_FREE struct store_spare *spares = calloc(n, sizeof(*spares));
	struct store_volume volume = {
		.main_path = r->main_path,
		.main_sectors = r->parts[0].id.main_sectors,
		.sector_size = r->parts[0].id.sector_size,
		.opens = r->opens,
	};

	if (!spares)
		return out_of_memory(r);
	/* Spares know nothing of main but its size: it is what it is now. */
	main_identify(r->main, NULL, &volume.main);
	uuid_unparse_lower(r->parts[0].id.volume, volume.uuid);
	for (size_t i = 0; i < n; i++) {
		const struct source *p = &r->parts[i];

		spares[i] = (struct store_spare){
			.id = p->id.id,
			.path = p->path,
			.offset = p->spec->offset,
			.length = p->length,
			.slots = spare_layout(p->length, p->id.sector_size).slots,
			.confirmed = spare_confirmed(p->spare),
		};
		spares[i].stamp = spare_stamped(p->spare, &spares[i].stamped);
		uuid_unparse_lower(p->id.spare, spares[i].uuid);
	}
	if (r->options->parts)
		return store_create_on(r->options->parts->vfs, r->options->path, &volume, spares, n,
				       fill, r, r->err);
	return store_recreate(r->options->path, &volume, spares, n, r->options->force, fill, r,
			      r->err);
}

static void let_go(struct rebuild *r)
{
	device_close(r->main);
	for (size_t i = 0; r->parts && i < r->options->spare_count; i++) {
		spare_close(r->parts[i].spare);
		free(r->parts[i].path);
	}
	free(r->parts);
	free(r->places);
	free(r->main_path);
	free(r->sector_buffer);
	if (r->lock_fd >= 0)
		close(r->lock_fd);
}

int volume_rebuild(const struct rebuild_options *options, struct rebuild_result *ret,
		   struct error *err)
{
	struct rebuild r = {.options = options, .err = err, .lock_fd = -1};
	int rc = 0;

	if (options->spare_count < 1 || options->spare_count > SPARE_ID_MAX)
		return error_set(err, EINVAL, "a volume has 1 to %u spares; add --spare PATH",
				 SPARE_ID_MAX);
	r.parts = calloc(options->spare_count, sizeof(*r.parts));
	if (!r.parts || posix_memalign(&r.sector_buffer, VOLUME_ALIGNMENT, VOLUME_ALIGNMENT) != 0)
		rc = out_of_memory(&r);
	rc = rc < 0 ? rc : open_all(&r);
	rc = rc < 0 ? rc : gather(&r);
	rc = rc < 0 ? rc : make_database(&r);
	if (rc == 0)
		*ret = r.result;
	let_go(&r);
	return rc;
}
