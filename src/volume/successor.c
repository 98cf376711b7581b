/*
 * What a process does that opens a volume after another one, under the same users
 * (contract 11): it refuses nothing that was served.
 *
 *   main                is what was mounted, and fails where it fails
 *   a spare             that cannot be read, is not what it was, or is older than the rows, is
 *                       kept as one that is gone: what is on it cannot be read, the state says
 *                       so, all else goes on. It is not looked at again under this mount
 *   the database        where it is locked, full, or out of its place, is waited for
 *                       (database_failed); so is what else may pass, such as memory
 *
 * Refused is what leaves nothing to be served: a database that is damaged, that is older than
 * a spare, or that contradicts one. No sector is known then to be where the rows say.
 */
#include <errno.h>
#include <stdio.h>

#include "remapfs/log.h"
#include "volume/age.h"
#include "volume/volume_impl.h"

static void tell_gone(struct volume *v, spare_id_t id, int error, const struct error *why)
{
	struct event event = {.kind = EVENT_DEVICE_FAILED, .spare = id, .error = error};

	snprintf(event.detail, sizeof(event.detail), "a new worker could not use the spare: what is "
		 "on it cannot be read");
	log_error("%s; until then what is on it cannot be read", why->text);
	change_event(&v->opening, &event);
}

int keep_as_gone(struct volume *v, const struct store_spare *info, const struct spare_identity *id,
		 int error, struct spare **ret, struct error *err)
{
	struct device *d;
	int rc = error == ENOMEM ? -ENOMEM : 0;

	if (rc < 0)
		return rc;
	tell_gone(v, info->id, error, err);
	rc = open_spare_device(v, info, -1, &d, err);
	if (rc < 0)
		return rc;
	fault_device_pull(d);
	if (spare_open_gone(d, id, error, ret) < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	return name_spare(v, info, *ret, err);
}

bool do_without(struct volume *v, struct spare *spare, const struct spare_judgement *judgement,
		int error, const struct error *why)
{
	if (!v->options.successor || error == ENOMEM ||
	    (!judgement->older && spare_alive(spare, false) == 0))
		return false;
	tell_gone(v, spare_id(spare), error, why);
	fault_device_pull(spare_device(spare));
	spare_fail(spare, SPARE_GONE, error);
	spare_hold(spare);
	return true;
}

static bool is_held(const struct volume *v, spare_id_t id)
{
	const struct volume_members *m = v->options.members;

	for (size_t i = 0; m && i < m->count; i++)
		if (m->all[i].id == id)
			return true;
	return false;
}

/* Also of a process that died between the row and this. */
void let_go_of_former_spares(struct volume *v)
{
	size_t count;
	const struct store_spare *infos = store_spares(v->store, &count);

	/* What such a mount records is not durable. */
	if (v->sealed)
		return;
	for (size_t i = 0; i < count; i++)
		if (!volume_spare(v, infos[i].id) && is_held(v, infos[i].id))
			has_left(v, infos[i].id);
}
