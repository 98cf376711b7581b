/*
 * A spare that joins a volume while it is in use.
 *
 * In this order: its format is there and durable (volume_prepare_spare), which
 * says that it has not joined; the row is committed; its own superblock and then
 * those of the others tell how many there are now; the first slot is lent. So a
 * crash leaves at worst a spare that is listed and empty, and a rebuild knows
 * that it is missing before anything is on it.
 */
#include <errno.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "volume/volume_impl.h"

static void tell_member(struct spare *spare, spare_id_t last, uint32_t in_use)
{
	int rc = spare_set_members(spare, last, in_use);

	if (rc < 0)
		log_warning("the superblock of spare %u cannot be written (%s): replace this spare "
			    "soon", spare_id(spare), errno_name(-rc));
}

/*
 * The one that leaves comes last: what it said before counts it among those that
 * are needed, so that it cannot stand in for another one.
 */
void tell_members(struct volume *v, spare_id_t last, uint32_t in_use, struct spare *leaving)
{
	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		struct spare *spare = v->spares.all[i];

		if (spare_state(spare) < SPARE_RETIRED && spare != leaving)
			tell_member(spare, last, in_use);
	}
	if (leaving)
		tell_member(leaving, last, SPARE_OUTSIDE);
}

static int check_adding(const struct volume *v, struct error *err)
{
	if (v->options.read_only)
		return error_set(err, EROFS, "the volume is mounted read-only; mount it for writing");
	if (v->adding_in_doubt)
		return error_set(err, EINPROGRESS, "a spare was added before or not, since the "
				 "database did not commit; unmount and mount anew first");
	return 0;
}

int volume_may_add_spare(struct volume *v, struct error *err)
{
	HOLD_LOCK(&v->membership);

	return check_adding(v, err);
}

static int check_addition(const struct volume *v, const struct store_spare *info,
			  struct spare_identity *ret, struct error *err)
{
	int rc = check_adding(v, err);

	if (rc < 0)
		return rc;
	if (info->id != v->last_spare + 1)
		return error_set(err, EAGAIN, "another spare was added meanwhile; try again");
	*ret = (struct spare_identity){
		.id = info->id,
		.sector_size = v->sector_size,
		.main_sectors = v->sectors,
		.spares = info->id,
		.in_use = v->spares_in_use + 1,
	};
	if (uuid_parse(v->uuid, ret->volume) < 0 || uuid_parse(info->uuid, ret->spare) < 0)
		return error_set(err, EINVAL, "'%.60s' is no uuid of a spare; use 'remapctl "
				 "add-spare'", info->uuid);
	return 0;
}

static int add_row(void *context, struct store *s)
{
	const struct store_spare *info = context;
	struct event event = {.kind = EVENT_SPARE_ADDED, .spare = info->id};
	int rc = store_add_spare(s, info);

	rc = rc < 0 ? rc : store_set_stamp(s, info->id, 0, info->next_stamp, 0);
	return rc < 0 ? rc : store_add_event(s, &event);
}

static int record(struct volume *v, const struct store_spare *info, struct spare *spare,
		  struct error *err)
{
	struct store_spare row = *info;
	bool uncertain;
	int rc;

	row.length = spare_device(spare)->geometry.size;
	row.slots = spare_counts(spare).slots;
	row.next_stamp = v->stamp;
	rc = commit_rows(&v->committer, add_row, &row, &uncertain);
	v->adding_in_doubt = uncertain;
	if (uncertain)
		return error_set(err, EINPROGRESS, "the database did not commit (%s), so spare %u is "
				 "added or not when the volume is next mounted; check the disk of "
				 "the database", errno_name(-rc), info->id);
	if (rc < 0)
		return error_set(err, -rc, "the database does not commit (%s), so no spare was added; "
				 "free its disk, or end what holds its lock", errno_name(-rc));
	return 0;
}

/* Before its row is there, so that whoever serves after us has it. */
static int hand_up(struct volume *v, const struct store_spare *info, int fd, struct error *err)
{
	const struct volume_members *m = v->options.members;
	int rc;

	if (m && fd < 0)
		return error_set(err, EBADF, "spare '%s' was not passed on; use 'remapctl add-spare'",
				 info->path);
	rc = m ? m->joined(m->context, info, fd, err) : 0;
	/* It may be taken in yet, by who did not answer in time. */
	if (rc < 0)
		has_left(v, info->id);
	return rc;
}

void has_left(struct volume *v, spare_id_t id)
{
	const struct volume_members *m = v->options.members;

	if (m)
		m->left(m->context, id);
}

int volume_add_spare(struct volume *v, const struct store_spare *info, struct error *err)
{
	return volume_add_opened_spare(v, info, -1, err);
}

int volume_add_opened_spare(struct volume *v, const struct store_spare *info, int fd,
			    struct error *err)
{
	HOLD_LOCK(&v->membership);
	struct spare_identity id;
	struct spare *spare;
	int rc = check_addition(v, info, &id, err);

	rc = rc < 0 ? rc : hand_up(v, info, fd, err);
	if (rc < 0)
		return rc;
	rc = open_one_spare(v, info, &id, fd, &spare, err);
	if (rc < 0) {
		has_left(v, info->id);
		return rc;
	}
	rc = record(v, info, spare, err);
	if (rc < 0) {
		spare_close(spare);
		/* A row that may be there yet needs it. */
		if (!v->adding_in_doubt)
			has_left(v, info->id);
		return rc;
	}
	if (mark_of(v, info->id))
		spare_note_unflushed_at(spare, &mark_of(v, info->id)->unflushed);
	v->last_spare = info->id;
	v->spares_in_use++;
	rc = stamp_joining(v, spare);
	if (rc < 0)
		spare_is(v, spare, SPARE_FAILING, -rc);
	tell_members(v, v->last_spare, v->spares_in_use, NULL);
	spare_set_add(&v->spares, spare);
	atomic_store(&v->slots_needed, 0);
	background_wake(&v->emptying);
	return 0;
}
