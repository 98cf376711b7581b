/*
 * Opening a volume and closing it.
 *
 * Everything is checked before the first byte is served: that main and spares
 * are the ones that the database means, and that no two rows contradict.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/apart.h"
#include "volume/cross.h"
#include "volume/identity.h"
#include "volume/parts.h"
#include "volume/volume_impl.h"

/* ---- opening the parts ---------------------------------------------------------------- */

int volume_note(const char *path, const struct event *event)
{
	struct store *store;
	int rc = store_open(path, STORE_WRITE, &store, NULL);

	if (rc < 0)
		return rc;
	rc = store_begin(store);
	rc = rc < 0 ? rc : store_add_event(store, event);
	rc = rc < 0 ? rc : store_commit(store);
	store_close(store);
	return rc;
}

/* Locks the database file first: nothing is read of it that may still change. */
static int open_store(struct volume *v, const char *path, struct error *err)
{
	bool locked = v->options.locked || v->options.parts;
	int rc = locked ? 0 : volume_lock(path, v->options.lock_wait_ms, &v->lock_fd, err);

	rc = rc < 0 ? rc : parts_open_store(v->options.parts, path,
					    v->sealed ? STORE_MEMORY : STORE_WRITE, &v->store, err);
	rc = rc < 0 ? rc : store_quick_check(v->store, path, err);
	if (rc == 0 && store_volume(v->store)->opens >= SEQUENCE_LIVES - 1)
		rc = error_set(err, EUCLEAN, "volume '%s' is damaged (it says that it was opened %llu "
			       "times); make a new one of its spares with 'remapctl rebuild --force'",
			       path, (unsigned long long)store_volume(v->store)->opens);
	return rc;
}

static void warn_indirect(const struct device *d, const char *role, const char *path)
{
	if (!d->geometry.direct)
		log_warning("%s '%s' has no direct I/O: it is written through, and slower; a file "
			    "system with O_DIRECT is better", role, path);
}

struct member_mark *mark_of(const struct volume *v, spare_id_t id)
{
	const struct volume_members *m = v->options.members;

	return m && m->marks ? &m->marks[id] : NULL;
}

/* What the process before had open as well. One that it had not is opened by its path. */
static void take_inherited(const struct volume *v, spare_id_t id, struct file_device_options *o)
{
	const struct volume_members *m = v->options.members;
	struct member_mark *mark = mark_of(v, id);

	o->cut = mark ? &mark->cut : NULL;
	for (size_t i = 0; m && i < m->count; i++)
		if (m->all[i].id == id) {
			o->opened = o->claimed = true;
			o->fd = m->all[i].fd;
		}
}

static bool is_held_for_reading(const struct volume_member *m)
{
	return (fcntl(m->fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

/* The mode of a spare that the process before opened is the one it has. */
static bool spare_read_only(const struct volume *v, spare_id_t id)
{
	const struct volume_members *m = v->options.members;

	for (size_t i = 0; m && i < m->count; i++)
		if (m->all[i].id == id)
			return is_held_for_reading(&m->all[i]);
	return v->sealed;
}

/* Where one of them cannot be written none is: what they say has to agree. */
static bool must_be_sealed(const struct volume *v, const char *path)
{
	const struct volume_members *m = v->options.members;
	bool sealed = !v->options.parts && store_on_read_only(path);

	for (size_t i = 0; m && i < m->count; i++)
		sealed = sealed || (m->all[i].id != ON_MAIN && is_held_for_reading(&m->all[i]));
	return v->options.read_only && sealed;
}

static int seal(struct volume *v, struct device *below, struct device **ret)
{
	int rc = v->sealed ? overlay_device_wrap(below, ret) : 0;

	if (rc < 0)
		device_close(below);
	return rc;
}

static int open_main(struct volume *v, struct error *err)
{
	const struct store_volume *info = store_volume(v->store);
	struct file_device_options o = {.role = "main", .read_only = v->options.read_only,
					.lock_wait_ms = v->options.lock_wait_ms};
	const struct store_spare main = {.id = ON_MAIN, .path = info->main_path,
					 .length = bytes_of(v, v->sectors)};
	struct device *d;
	int rc;

	take_inherited(v, ON_MAIN, &o);
	/* Of one that was opened before, which may have failed since. */
	o.length = o.claimed ? main.length : 0;
	rc = open_member(v->options.parts, &main, &o, &d, err);
	if (rc < 0)
		return rc;
	if (d->geometry.block_size > v->sector_size && !v->options.successor) {
		rc = error_set(err, EINVAL, "main '%s' has sectors of %u bytes, the volume of %u; "
			       "%s", info->main_path, d->geometry.block_size, v->sector_size,
			       d->geometry.block_size > 4096 ? "put it on a disk with smaller ones"
			       : "make the volume anew with --sector-size 4096");
		device_close(d);
		return rc;
	}
	warn_indirect(d, "main", info->main_path);
	rc = wrap_faults(v, d, &v->main);
	return rc < 0 ? error_set(err, ENOMEM, "out of memory; end other programs") : 0;
}

int open_spare_device(struct volume *v, const struct store_spare *info, int fd, struct device **ret,
		      struct error *err)
{
	struct file_device_options o = {.role = "spare", .offset = info->offset,
					.length = info->length, .claimed = v->options.members,
					.read_only = spare_read_only(v, info->id),
					.lock_wait_ms = v->options.lock_wait_ms};
	struct device *d;
	int rc;

	/* One that joins in place of one that did not come to be begins anew. */
	if (fd >= 0 && mark_of(v, info->id))
		atomic_store(&mark_of(v, info->id)->cut, false);
	take_inherited(v, info->id, &o);
	if (fd >= 0) {
		o.opened = true;
		o.fd = fd;
	}
	rc = open_member(v->options.parts, info, &o, &d, err);
	if (rc < 0)
		return rc;
	if (d->geometry.block_size > v->sector_size && !v->options.successor) {
		rc = error_set(err, EINVAL, "spare '%s' has sectors of %u bytes, the volume of %u; "
			       "put it on a disk with smaller ones", info->path,
			       d->geometry.block_size, v->sector_size);
		device_close(d);
		return rc;
	}
	warn_indirect(d, "spare", info->path);
	rc = seal(v, d, &d);
	rc = rc < 0 ? rc : wrap_faults(v, d, ret);
	return rc < 0 ? error_set(err, ENOMEM, "out of memory; end other programs") : 0;
}

int name_spare(struct volume *v, const struct store_spare *info, struct spare *spare,
	       struct error *err)
{
	if (spare_set_path(spare, info->path) < 0) {
		spare_close(spare);
		return error_set(err, ENOMEM, "out of memory; end other programs");
	}
	spare_on_failed_flush(spare, spare_did_not_flush, v);
	return 0;
}

int open_one_spare(struct volume *v, const struct store_spare *info,
		   const struct spare_identity *id, int fd, struct spare **ret, struct error *err)
{
	bool damaged = false;
	struct device *d;
	int rc = open_spare_device(v, info, fd, &d, err);

	if (rc < 0)
		return rc;
	rc = spare_open(d, id, ret, &damaged, err);
	if (rc < 0) {
		error_prefix(err, "'%s'", info->path);
		return rc;
	}
	rc = name_spare(v, info, *ret, err);
	if (rc == 0 && damaged)
		tell_damaged_superblock(v, *ret, info->path);
	return rc;
}

/*
 * Whether a spare that is no longer one had been emptied and wiped, and only
 * the row that says so is missing.
 */
static bool retired_already(struct volume *v, const struct store_spare *info, int rc)
{
	return rc == -EBADMSG && spare_is_emptied(v->store, info);
}

static int open_spare(struct volume *v, const struct store_spare *infos, size_t count, size_t i,
		      struct error *err)
{
	struct spare_identity id;
	struct spare *spare;
	int rc = spare_identity_of(store_volume(v->store), infos, count, i, &id);

	v->last_spare = infos[i].id;
	v->spares_in_use += infos[i].state != SPARE_RETIRED;
	if (rc < 0)
		return error_set(err, EUCLEAN, "the volume is damaged (spare %u has no valid "
				 "uuid); restore it from a copy", infos[i].id);
	if (!spare_is_here(&infos[i]))
		return 0;
	rc = open_one_spare(v, &infos[i], &id, -1, &spare, err);
	if (retired_already(v, &infos[i], rc)) {
		v->spares_in_use--;
		return 0;
	}
	if (rc < 0 && v->options.successor)
		rc = keep_as_gone(v, &infos[i], &id, -rc, &spare, err);
	if (rc < 0)
		return rc;
	spare_set_state(spare, infos[i].state);
	spare_set_add(&v->spares, spare);
	return 0;
}

static int open_spares(struct volume *v, struct error *err)
{
	const struct store_spare *infos;
	size_t count;
	int rc = 0;

	infos = store_spares(v->store, &count);
	if (spare_set_init(&v->spares) < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = open_spare(v, infos, count, i, err);
	return rc;
}

static int check_apart(struct volume *v, const char *path, struct error *err)
{
	struct locations l = {0};
	int rc = locations_add(&l, "the database", ON_MAIN, path, 0, 0);

	rc = rc < 0 ? rc : locations_add_members(&l, v->store);
	rc = rc < 0 ? error_set(err, ENOMEM, "out of memory; end other programs")
		    : locations_apart_still(&l, err);
	locations_free(&l);
	return rc;
}

/* ---- loading the map ---------------------------------------------------------------------- */

static int load_extent(void *context, const struct extent *e)
{
	struct volume *v = context;
	struct spare *spare = e->spare == ON_MAIN ? NULL : volume_spare(v, e->spare);

	/* A pending sector may name a slot of a spare that has left. */
	if (e->start >= v->sectors || e->count > v->sectors - e->start)
		return -EUCLEAN;
	if (e->state == SECTOR_REMAPPED && (!spare || spare_take(spare, e->slot, e->count) < 0))
		return -EUCLEAN;
	return map_set(v->map, e);
}

static int load_bad_slots(void *context, spare_id_t id, slot_t first, uint64_t count)
{
	struct spare *spare = volume_spare(context, id);

	if (!spare)
		return 0; /* it has left */
	if (spare_take(spare, first, count) < 0)
		return -EUCLEAN;
	spare_mark_bad(spare, first, count);
	return 0;
}

static int load_map(struct volume *v, struct error *err)
{
	int rc = map_new(v->sectors, &v->map);

	rc = rc < 0 ? rc : map_new(v->sectors, &v->main_intact);
	rc = rc < 0 ? rc : store_each_extent(v->store, load_extent, v);
	rc = rc < 0 ? rc : store_each_bad_slots(v->store, load_bad_slots, v);
	if (rc == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (rc < 0)
		return error_set(err, -rc, "the map in the database contradicts itself or its "
				 "spares; see 'remapctl check', and make the database anew with "
				 "'remapctl rebuild --force'");
	return 0;
}

/* ---- which disk main is ---------------------------------------------------------------- */

/* No fault is simulated yet: one that does not last is not to be spent on this. */
static int judge_main(struct volume *v, struct main_judgement *ret, struct error *err)
{
	const struct store_volume *info = store_volume(v->store);
	int rc;

	*ret = (struct main_judgement){.is = MAIN_SAME};
	if (v->options.successor) {
		/* It is what was mounted, whatever has become of it. */
		v->identity = info->main;
		v->identity.places = NULL;
		v->identity.place_count = 0;
		return 0;
	}
	rc = main_judge(v->store, v->map, v->main, ret);
	if (rc == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (rc < 0)
		return error_set(err, -rc, "cannot read the history; check the disk of the "
				 "database");
	rc = main_refuse(info, info->main_path, ret, err);
	if (rc < 0)
		return rc;
	main_identify(v->main, &info->main, &v->identity);
	v->main_changed = ret->is == MAIN_CHANGED;
	if (v->main_changed)
		memcpy(v->identity.changed_since, ret->since, sizeof(ret->since));
	return 0;
}

/* Once nothing refuses the opening: an older copy of the database would explain it. */
static void tell_of_main(struct volume *v, const struct main_judgement *judgement)
{
	struct error warning;

	if (main_warn(store_volume(v->store)->main_path, judgement, &warning))
		log_warning("%s", warning.text);
}

/* So that another one is noticed also after an end that was not orderly. */
static int record_main(struct volume *v)
{
	const struct store_identity *was = &store_volume(v->store)->main, *is = &v->identity;
	struct event event = {.kind = EVENT_MAIN_CHANGED};
	int rc = 0;

	if (v->main_changed || !was->known || strcmp(was->hardware, is->hardware) != 0 ||
	    strcmp(was->file, is->file) != 0)
		rc = store_set_identity(v->store, is);
	if (rc < 0 || !v->main_changed)
		return rc;
	snprintf(event.detail, sizeof(event.detail), "something else wrote to main since the volume was "
		 "last closed, at %s", is->changed_since);
	return store_add_event(v->store, &event);
}

/* What main holds at an orderly end. Without it nothing is compared at the next opening. */
static void change_main(struct volume *v, struct change *change)
{
	struct store_identity identity;

	main_identify(v->main, &v->identity, &identity);
	identity.opens = store_volume(v->store)->opens;
	identity.changed_since[0] = 0;
	if (main_read_places(v->main, v->map, v->sector_size, &identity) == 0 &&
	    change_identity(change, &identity) < 0)
		free(identity.places);
}

/* ---- a life ---------------------------------------------------------------------------------- */

/* Retiring, and not opened: it was found to be wiped. */
static bool was_wiped(struct volume *v, const struct store_spare *info)
{
	return info->state == SPARE_RETIRING && !volume_spare(v, info->id);
}

/* Not before it is known which of them are gone. */
static void keep_marks(struct volume *v)
{
	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		struct spare *spare = v->spares.all[i];

		if (mark_of(v, spare_id(spare)))
			spare_note_unflushed_at(spare, &mark_of(v, spare_id(spare))->unflushed);
	}
}

/* Before the rows say so, as when one leaves while the volume is open. */
static void tell_of_wiped_spares(struct volume *v)
{
	size_t count;
	const struct store_spare *infos = store_spares(v->store, &count);

	for (size_t i = 0; i < count; i++)
		if (was_wiped(v, &infos[i])) {
			tell_members(v, v->last_spare, v->spares_in_use, NULL);
			return;
		}
}

static int record_wiped_spares(struct volume *v)
{
	size_t count;
	const struct store_spare *infos = store_spares(v->store, &count);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct event event = {.kind = EVENT_SPARE_RETIRED, .spare = infos[i].id};

		if (!was_wiped(v, &infos[i]))
			continue;
		rc = store_set_spare_state(v->store, infos[i].id, SPARE_RETIRED);
		rc = rc < 0 ? rc : store_add_event(v->store, &event);
	}
	return rc;
}

static const char cannot_write[] = "the database cannot be written (%s); end what holds its lock, or "
				   "free the disk it is on";

/* Counts and records the opening; the committer does not run yet. */
static int record_opening(struct volume *v, const char *opener, struct error *err)
{
	struct event event = {.kind = EVENT_OPENED};
	enum store_life last = STORE_NEW;
	int rc = store_last_life(v->store, &last);
	bool unclean = last == STORE_UNCLEAN;

	snprintf(event.detail, sizeof(event.detail), "%s%s%s",
		 opener ? opener : "", opener && unclean ? ", " : "",
		 unclean ? "after an end without warning" : "");
	rc = rc < 0 ? rc : store_begin(v->store);
	rc = rc < 0 ? rc : store_count_open(v->store);
	rc = rc < 0 ? rc : record_wiped_spares(v);
	rc = rc < 0 ? rc : stamp_announce(v);
	rc = rc < 0 ? rc : record_main(v);
	rc = rc < 0 ? rc : store_add_event(v->store, &event);
	rc = rc < 0 ? rc : store_commit(v->store);
	if (rc == 0)
		return 0;
	store_rollback(v->store);
	return error_set(err, -rc, cannot_write, errno_name(-rc));
}

static int start_committer(struct volume *v, struct error *err)
{
	uint64_t first = store_volume(v->store)->opens << SEQUENCE_EPOCH;
	int rc = committer_start(&v->committer, v->store, &v->spares, first);

	if (rc < 0)
		return error_set(err, -rc, "cannot start a thread: %s; end other programs",
				 strerror(-rc));
	v->started = true;
	if (v->opening.event_count)
		commit_later(&v->committer, &v->opening);
	return 0;
}

static void prepare(struct volume *v)
{
	evidence_init(&v->reading, "reads");
	evidence_init(&v->writing, "writes");
	pthread_mutex_init(&v->flushing, NULL);
	range_locks_init(&v->locks);
	pthread_mutex_init(&v->marking, NULL);
	pthread_mutex_init(&v->membership, NULL);
	background_init(&v->emptying);
	background_init(&v->watching);
	atomic_store(&v->full_at, NOT_FULL);
	scrub_init(&v->scrub);
}

/* Passes rc, of something that the database was asked for, and tells of what may pass. */
static int of_database(struct volume *v, int rc)
{
	bool passes = rc == -EBUSY || rc == -ENOSPC || rc == -EDQUOT || rc == -EFBIG || rc == -EIO ||
		      rc == -EROFS || rc == -ENOENT || rc == -ESTALE;

	if (passes && v->options.database_failed)
		*v->options.database_failed = true;
	return rc;
}

static int open_all(struct volume *v, const char *path, struct error *err)
{
	struct main_judgement judgement;
	int rc;

	prepare(v);
	v->sealed = must_be_sealed(v, path);
	rc = of_database(v, open_store(v, path, err));
	if (rc < 0)
		return rc;
	v->sector_size = store_volume(v->store)->sector_size;
	v->sectors = store_volume(v->store)->main_sectors;
	snprintf(v->uuid, sizeof(v->uuid), "%s", store_volume(v->store)->uuid);
	/* Who opened them did that; names may lead elsewhere by now. */
	rc = v->options.parts || v->options.members ? 0 : check_apart(v, path, err);
	rc = rc < 0 ? rc : open_main(v, err);
	rc = rc < 0 ? rc : open_spares(v, err);
	rc = rc < 0 ? rc : of_database(v, load_map(v, err));
	rc = rc < 0 ? rc : judge_main(v, &judgement, err);
	rc = rc < 0 ? rc : of_database(v, scrub_load(v, err));
	rc = rc < 0 ? rc : of_database(v, reconcile(v, err));
	if (rc == 0) {
		keep_marks(v);
		tell_of_wiped_spares(v);
	}
	rc = rc < 0 ? rc : of_database(v, record_opening(v, v->options.opener, err));
	if (rc == 0) {
		tell_of_main(v, &judgement);
		let_go_of_former_spares(v);
	}
	if (rc == 0 && (rc = of_database(v, stamp_opening(v))) < 0)
		error_set(err, -rc, rc == -ENOMEM ? "out of memory; end other programs" : cannot_write,
			  errno_name(-rc));
	v->options.opener = NULL; /* the caller's, who may take it back now */
	return rc < 0 ? rc : start_committer(v, err);
}

/* Lets go of everything that was opened so far. */
static void release(struct volume *v)
{
	device_close(v->main);
	spare_set_clear(&v->spares);
	map_free(v->map);
	map_free(v->main_intact);
	change_clear(&v->opening);
	store_close(v->store);
	if (v->lock_fd >= 0)
		close(v->lock_fd);
	range_locks_destroy(&v->locks);
	evidence_destroy(&v->reading);
	evidence_destroy(&v->writing);
	pthread_mutex_destroy(&v->marking);
	pthread_mutex_destroy(&v->membership);
	background_destroy(&v->emptying);
	background_destroy(&v->watching);
	scrub_destroy(&v->scrub);
	pthread_mutex_destroy(&v->flushing);
	free(v);
}

int volume_open(const char *path, const struct volume_options *options, struct volume **ret,
		struct error *err)
{
	struct volume *v = calloc(1, sizeof(*v));
	int rc;

	if (!v)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	v->options = *options;
	v->flush_failed = options->flush_failed ? options->flush_failed : &v->own_flush_failed;
	v->lock_fd = -1;
	rc = open_all(v, path, err);
	if (rc < 0) {
		release(v);
		return rc;
	}
	rc = of_database(v, load_faults(v));
	if (rc < 0) {
		volume_close(v);
		return error_set(err, -rc, "the simulated faults cannot be read (%s); clear them "
				 "with 'remapctl inject %s clear'", errno_name(-rc), path);
	}
	if (faulty_sectors(v))
		log_warning("sectors simulated as bad: %llu; see 'remapctl inject %s list'",
			    (unsigned long long)faulty_sectors(v), path);
	resume_emptying(v);
	start_watching(v);
	if (v->sealed)
		log_notice("the database, or a spare, cannot be written: nothing of this mount is "
			   "recorded");
	*ret = v;
	return 0;
}

int volume_close(struct volume *v)
{
	struct change change = {0};
	struct event event = {.kind = EVENT_CLOSED};
	int rc, stop;
	bool in_doubt;

	scrub_end(v);
	background_stop(&v->emptying);
	background_stop(&v->watching);
	rc = volume_flush(v);
	/* So that a rebuild need not ask whether slots still hold what they were given. */
	commit_confirm_all(&v->committer);
	/* Without it, the next opening tells of an end without warning. */
	in_doubt = tables_in_doubt(v);
	rc = rc < 0 || in_doubt ? rc : stamp_closing(v, &change);
	if (rc == 0 && !in_doubt) {
		change_main(v, &change);
		change_event(&change, &event);
		commit_record(&v->committer, &change);
	}
	change_clear(&change);
	stop = committer_stop(&v->committer);
	release(v);
	return rc < 0 ? rc : stop;
}
