/*
 * Looking at everything that a volume is made of, while nobody uses it.
 *
 * In this order, since each needs what comes before: the database by itself,
 * the superblocks, the slot tables against the rows, the slots. Tables are gone
 * through once without changing anything, so that nothing is repaired where
 * something contradicts.
 */
#include "remapfs/check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "remapfs/volume.h"
#include "volume/age.h"
#include "volume/content.h"
#include "volume/identity.h"
#include "volume/parts.h"
#include "volume/spare_set.h"

#define CHUNK (1u << 20)

struct check {
	const struct check_options *options;
	struct check_result result;
	struct error *err;
	int lock_fd;
	struct store *store;
	struct map *map;
	struct device *main;
	struct spare **spares; /* in the order of the database; NULL: not to be had */
	size_t spare_count;
	uint64_t contradictions;
	uint64_t left_in_tables; /* though it was tried to repair them */
	void *chunk;
};

/* ---- telling ------------------------------------------------------------------------- */

static void found(void *context, const struct finding *f)
{
	struct check *c = context;

	if (f->fate == FINDING_REPAIRED)
		c->result.repaired++;
	else
		c->result.left++;
	c->options->found(c->options->context, f);
}

static void found_in_database(void *context, const char *line)
{
	struct finding f = {.kind = FINDING_DATABASE, .fate = FINDING_LEFT};

	snprintf(f.detail, sizeof(f.detail), "%s", line);
	found(context, &f);
}

static int out_of_memory(struct check *c)
{
	return error_set(c->err, ENOMEM, "out of memory; end other programs");
}

/* ---- opening ---------------------------------------------------------------------------- */

static int set_extent(void *context, const struct extent *e)
{
	struct check *c = context;

	if (e->start >= store_volume(c->store)->main_sectors ||
	    e->count > store_volume(c->store)->main_sectors - e->start)
		return -EUCLEAN;
	return map_set(c->map, e);
}

/* The database by itself. What is wrong with it is told, and then nothing else is asked. */
static int check_database(struct check *c)
{
	uint64_t left = c->result.left;
	int rc = store_check(c->store, found_in_database, c);

	if (rc < 0)
		return error_set(c->err, -rc, "cannot read the database (%s); check the disk it is "
				 "on", errno_name(-rc));
	if (c->result.left > left)
		return 0;
	rc = map_new(store_volume(c->store)->main_sectors, &c->map);
	rc = rc < 0 ? rc : store_each_extent(c->store, set_extent, c);
	return rc < 0 ? out_of_memory(c) : 0;
}

static int open_part(struct check *c, const char *path, const struct file_device_options *o,
		     struct device **ret)
{
	int rc = parts_open_device(c->options->parts, path, o, ret, c->err);

	return rc != -ENOENT ? rc : error_set(c->err, ENOENT, "%s '%s' is not there; give it back its "
			"place, or tell the volume the path that it has now with 'remapctl set-path'",
			o->role, path);
}

static int open_main(struct check *c)
{
	const struct store_volume *v = store_volume(c->store);
	struct file_device_options o = {.role = "main", .read_only = true};
	uint64_t size = v->main_sectors * v->sector_size;
	int rc = open_part(c, v->main_path, &o, &c->main);

	if (rc == 0 && c->main->geometry.size != size)
		rc = error_set(c->err, EBADMSG, "main '%s' has %llu bytes, the volume was made for "
			       "%llu; give the right file back its place", v->main_path,
			       (unsigned long long)c->main->geometry.size,
			       (unsigned long long)size);
	return rc;
}

/* As an opening judges it. */
static int check_main(struct check *c)
{
	struct finding f = {.kind = FINDING_MAIN, .fate = FINDING_LEFT};
	const struct store_volume *v = store_volume(c->store);
	struct main_judgement judgement;
	int rc = main_judge(c->store, c->map, c->main, &judgement);

	if (rc < 0)
		return rc == -ENOMEM ? out_of_memory(c) :
		       error_set(c->err, -rc, "cannot read the history; check the disk of the database");
	rc = main_refuse(v, v->main_path, &judgement, c->err);
	if (rc < 0 || judgement.is != MAIN_CHANGED)
		return rc;
	snprintf(f.detail, sizeof(f.detail), "something else wrote to main since the volume was last "
		 "closed, at %s", judgement.since);
	found(c, &f);
	return 0;
}

/* ---- superblocks ----------------------------------------------------------------------------- */

/* Whether a copy is one of another spare, not a damaged one of this. */
static bool is_foreign(const struct spare_copy *copy, const struct spare_identity *id)
{
	return copy->error == 0 && !spare_same(&copy->identity, id);
}

static enum finding_fate fate_of(const struct check *c, bool repaired)
{
	if (!c->options->repair)
		return FINDING_REPAIRABLE;
	return repaired ? FINDING_REPAIRED : FINDING_LEFT;
}

/* Both are lost. What the database says of the spare is all there is. */
static int restore_both(struct check *c, struct device *d, const struct spare_identity *id,
			uint64_t stamp)
{
	struct finding f = {.kind = FINDING_SUPERBLOCKS, .spare = id->id};
	bool repaired = c->options->repair && spare_write_superblocks(d, id, 0, stamp) == 0 &&
			device_flush(d) == 0;

	f.fate = fate_of(c, repaired);
	found(c, &f);
	return repaired ? 1 : 0;
}

/* Superblocks that another spare has overwritten are not to come back: contract 12. */
static int check_not_overwritten(struct check *c, const struct spare_identity *id,
				 const struct store_spare *info)
{
	struct error err = {""};
	int rc = c->options->parts ? 0 : content_check_spares(info->path, info->offset, info->length,
							      id->spare, &err);

	if (rc != -EEXIST)
		return rc < 0 ? out_of_memory(c) : 0;
	return error_set(c->err, EBADMSG, "spare %u '%.200s' was overwritten: a spare of another volume "
			 "lies over it; give this one up with 'remapctl retire-spare --lost', or that "
			 "one", info->id, info->path);
}

static bool is_unreadable(const struct spare_copy *copy)
{
	return copy->error && copy->error != -ENOENT && copy->error != -EPROTO;
}

/* One that could not be read is asked once more: writing both anew loses what it says. */
static int inspect(struct device *d, struct spare_copy copy[2])
{
	int rc = spare_inspect(d, copy);

	if (rc == 0 && copy[0].error && copy[1].error &&
	    (is_unreadable(&copy[0]) || is_unreadable(&copy[1])))
		rc = spare_inspect(d, copy);
	return rc;
}

/* 1: go on with the spare, 0: it is told why not. */
static int check_superblocks(struct check *c, struct device *d, const struct spare_identity *id,
			     const struct store_spare *info)
{
	struct spare_copy copy[2];
	int rc = inspect(d, copy);

	if (rc == -ENOMEM)
		return out_of_memory(c);
	if (rc < 0 || (is_foreign(&copy[0], id) && copy[1].error) ||
	    (is_foreign(&copy[1], id) && copy[0].error) ||
	    (is_foreign(&copy[0], id) && is_foreign(&copy[1], id)))
		return error_set(c->err, EBADMSG, "spare '%s' is another one than the volume's spare "
				 "%u; give the right file back its place", info->path, info->id);
	if (!copy[0].error || !copy[1].error)
		return 1;
	if (copy[0].error == -EPROTO || copy[1].error == -EPROTO)
		return error_set(c->err, EPROTO, "spare '%s' has a newer format; use a newer remapfs",
				 info->path);
	/* It was wiped, and the next opening will say so. */
	if (spare_is_emptied(c->store, info))
		return 0;
	rc = check_not_overwritten(c, id, info);
	return rc < 0 ? rc : restore_both(c, d, id, info->stamp);
}

static void repair_superblock(struct check *c, struct spare *s)
{
	struct finding f = {.kind = FINDING_SUPERBLOCK, .spare = spare_id(s)};
	bool repaired = c->options->repair && spare_rewrite_superblock(s) == 0 &&
			spare_flush(s) == 0;

	f.fate = fate_of(c, repaired);
	found(c, &f);
}

/* Simulated faults act here as well, so that checking can be tried out. */
static int wrap(struct check *c, struct device **d, spare_id_t id)
{
	CLEANUP_FREE struct fault *faults = NULL;
	size_t count;
	int rc = store_load_faults(c->store, &faults, &count);

	rc = rc < 0 ? rc : fault_device_wrap(*d, store_volume(c->store)->sector_size, NULL, NULL, d);
	return rc < 0 ? rc : fault_device_set(*d, id, faults, count);
}

static int open_spare(struct check *c, const struct store_spare *infos, size_t i)
{
	const struct store_spare *info = &infos[i];
	struct file_device_options o = {.role = "spare", .offset = info->offset,
					.length = info->length};
	struct spare_identity id;
	struct device *d;
	bool damaged = false;
	int rc = spare_identity_of(store_volume(c->store), infos, c->spare_count, i, &id);

	if (rc < 0)
		return error_set(c->err, EUCLEAN, "the database is damaged (spare %u has no valid "
				 "uuid); make it anew with 'remapctl rebuild --force'", info->id);
	if (!spare_is_here(info))
		return 0;
	rc = open_part(c, info->path, &o, &d);
	if (rc == -EROFS && !c->options->repair) {
		/* Looking at it writes nothing. */
		o.read_only = true;
		rc = open_part(c, info->path, &o, &d);
	}
	if (rc < 0)
		return rc;
	if (wrap(c, &d, info->id) < 0) {
		device_close(d);
		return out_of_memory(c);
	}
	rc = check_superblocks(c, d, &id, info);
	if (rc <= 0) {
		device_close(d);
		return rc;
	}
	rc = spare_open(d, &id, &c->spares[i], &damaged, c->err);
	if (rc == 0 && damaged)
		repair_superblock(c, c->spares[i]);
	return rc;
}

static int open_spares(struct check *c)
{
	const struct store_spare *infos = store_spares(c->store, &c->spare_count);
	int rc = 0;

	c->spares = calloc(c->spare_count + 1, sizeof(struct spare *));
	if (!c->spares)
		return out_of_memory(c);
	for (size_t i = 0; rc == 0 && i < c->spare_count; i++)
		rc = open_spare(c, infos, i);
	return rc;
}

/* ---- tables ------------------------------------------------------------------------------------- */

static int mark_bad(void *context, spare_id_t id, slot_t first, uint64_t count)
{
	struct check *c = context;

	for (size_t i = 0; i < c->spare_count; i++)
		if (c->spares[i] && spare_id(c->spares[i]) == id &&
		    first + count <= spare_counts(c->spares[i]).slots)
			spare_mark_bad(c->spares[i], first, count);
	return 0;
}

static int cross_spare(struct check *c, struct spare *s, bool repair, bool tell)
{
	struct cross cross;
	int rc = spare_compare(c->store, c->map, s, repair, NULL, tell ? found : NULL, c, &cross);

	c->contradictions += cross.contradictions;
	c->left_in_tables += cross.left;
	if (rc < 0)
		return error_set(c->err, -rc, "cannot read the slot table of spare %u (%s); check "
				 "its disk", spare_id(s), errno_name(-rc));
	return 0;
}

static void check_age(struct check *c, size_t i)
{
	const struct store_spare *info = &store_spares(c->store, &c->spare_count)[i];
	struct spare *s = c->spares[i];
	enum spare_age age = spare_age(s, info, store_volume(c->store)->opens);
	struct finding f = {.kind = age == AGE_OLDER ? FINDING_OLDER : FINDING_NEWER,
			    .fate = FINDING_LEFT, .spare = spare_id(s)};

	if (age == AGE_LAST)
		return;
	c->contradictions++;
	found(c, &f);
}

/*
 * Table and rows agree now: what is described is committed, and so confirmed. Also where a
 * repair before this one broke off after it had written the superblocks anew.
 */
static int finish_repair(struct check *c, struct spare *s)
{
	uint64_t last = ((store_volume(c->store)->opens + 1) << SEQUENCE_EPOCH) - 1;
	bool is_confirmed = spare_found(s)->confirmed != 0 && !c->result.repaired;
	int rc = spare_flush(s);

	if (rc == 0 && !is_confirmed && !c->left_in_tables) {
		rc = spare_confirm(s, last);
		rc = rc < 0 ? rc : spare_flush(s);
	}
	return rc < 0 ? error_set(c->err, -rc, "spare %u cannot be written (%s); replace it",
				  spare_id(s), errno_name(-rc)) : 0;
}

static int check_tables(struct check *c)
{
	bool repair = c->options->repair;
	int rc = store_each_bad_slots(c->store, mark_bad, c);

	for (size_t i = 0; rc == 0 && i < c->spare_count; i++)
		if (c->spares[i])
			check_age(c, i);
	for (size_t i = 0; rc == 0 && repair && i < c->spare_count; i++)
		rc = c->spares[i] ? cross_spare(c, c->spares[i], false, false) : 0;
	repair = repair && !c->contradictions;
	for (size_t i = 0; rc == 0 && i < c->spare_count; i++) {
		rc = c->spares[i] ? cross_spare(c, c->spares[i], repair, true) : 0;
		if (rc == 0 && repair && c->spares[i])
			rc = finish_repair(c, c->spares[i]);
	}
	return rc;
}

/* ---- slots ------------------------------------------------------------------------------------------ */

/* Reads the slots; where that fails, each by itself. */
static void read_slots(struct check *c, struct spare *s, const struct placed *p, uint64_t from,
		       uint64_t count)
{
	struct finding f = {.kind = FINDING_UNREADABLE, .fate = FINDING_LEFT, .spare = spare_id(s)};

	if (spare_read(s, c->chunk, p->slot + from, count) == 0)
		return;
	for (uint64_t i = from; i < from + count; i++) {
		if (spare_read(s, c->chunk, p->slot + i, 1) == 0)
			continue;
		f.slot = p->slot + i;
		f.sector = p->sector + i;
		f.count = 1;
		found(c, &f);
	}
}

static int check_slots(struct check *c, struct spare *s)
{
	uint64_t most = CHUNK / store_volume(c->store)->sector_size;
	struct placed p;
	int rc = store_placed_begin(c->store, spare_id(s));

	while (rc == 0 && (rc = store_placed_next(c->store, &p)) > 0) {
		for (uint64_t i = 0; i < p.count; i += most)
			read_slots(c, s, &p, i, p.count - i < most ? p.count - i : most);
		rc = 0;
	}
	store_placed_end(c->store);
	return rc < 0 ? error_set(c->err, -rc, "cannot read the database (%s); check the disk it is "
				  "on", errno_name(-rc)) : 0;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static int record_repairs(struct check *c)
{
	struct event event = {.kind = EVENT_REPAIRED};
	int rc;

	if (!c->result.repaired)
		return 0;
	snprintf(event.detail, sizeof(event.detail), "remapctl check: %llu corrected, %llu left",
		 (unsigned long long)c->result.repaired, (unsigned long long)c->result.left);
	rc = store_begin(c->store);
	rc = rc < 0 ? rc : store_add_event(c->store, &event);
	rc = rc < 0 ? rc : store_commit(c->store);
	if (rc < 0)
		store_rollback(c->store);
	return rc < 0 ? error_set(c->err, -rc, "repaired, but that cannot be recorded (%s); check "
				  "the disk of the database", errno_name(-rc)) : 0;
}

static int check_all(struct check *c)
{
	const struct check_options *o = c->options;
	int rc = o->parts ? 0 : volume_lock(o->path, 0, &c->lock_fd, c->err);

	rc = rc < 0 ? rc : parts_open_store(o->parts, o->path, o->repair ? STORE_WRITE : STORE_READ,
					    &c->store, c->err);
	rc = rc < 0 ? rc : check_database(c);
	if (rc < 0 || !c->map)
		return rc;
	rc = open_main(c);
	rc = rc < 0 ? rc : check_main(c);
	rc = rc < 0 ? rc : open_spares(c);
	rc = rc < 0 ? rc : check_tables(c);
	for (size_t i = 0; rc == 0 && i < c->spare_count; i++)
		rc = c->spares[i] ? check_slots(c, c->spares[i]) : 0;
	return rc < 0 ? rc : record_repairs(c);
}

int volume_check(const struct check_options *options, struct check_result *ret, struct error *err)
{
	CLEANUP_FREE void *chunk = NULL;
	struct check c = {.options = options, .err = err, .lock_fd = -1};
	int rc = posix_memalign(&chunk, VOLUME_ALIGNMENT, CHUNK) == 0 ? 0 : out_of_memory(&c);

	c.chunk = chunk;
	rc = rc < 0 ? rc : check_all(&c);
	for (size_t i = 0; c.spares && i < c.spare_count; i++)
		spare_close(c.spares[i]);
	free(c.spares);
	device_close(c.main);
	map_free(c.map);
	store_close(c.store);
	if (c.lock_fd >= 0)
		close(c.lock_fd);
	if (rc == 0)
		*ret = c.result;
	return rc;
}
