/*
 * Simulated faults: from the database to the devices, and back when one that
 * does not last has ended.
 */
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"
#include "volume/volume_impl.h"

/* Called in the middle of I/O, maybe the committing thread's: must not wait. */
static void fault_spent(void *context, int64_t id)
{
	struct volume *v = context;
	struct change change = {0};
	struct event event = {.kind = EVENT_FAULT_SPENT};

	snprintf(event.detail, sizeof(event.detail), "simulated fault %lld", (long long)id);
	change_spent(&change, id);
	change_event(&change, &event);
	commit_later(&v->committer, &change);
}

int wrap_faults(struct volume *v, struct device *inner, struct device **ret)
{
	int rc = fault_device_wrap(inner, v->sector_size, fault_spent, v, ret);

	if (rc < 0)
		device_close(inner);
	return rc;
}

int load_faults(struct volume *v)
{
	CLEANUP_FREE struct fault *faults = NULL;
	size_t count;
	int rc = store_load_faults(committer_enter(&v->committer), &faults, &count);

	committer_leave(&v->committer);
	if (rc == 0)
		rc = fault_device_set(v->main, ON_MAIN, faults, count);
	for (size_t i = 0; rc == 0 && i < spare_set_count(&v->spares); i++)
		rc = fault_device_set(spare_device(v->spares.all[i]), spare_id(v->spares.all[i]), faults,
				      count);
	return rc;
}

int volume_reload_faults(struct volume *v)
{
	/* The rows that changed are not in the copy. */
	return v->sealed ? -EROFS : load_faults(v);
}

uint64_t faulty_sectors(struct volume *v)
{
	uint64_t sectors = fault_device_sectors(v->main);

	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		sectors += fault_device_sectors(spare_device(v->spares.all[i]));
	return sectors;
}
