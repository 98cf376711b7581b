/* Contract 12 inside of one volume: names are compared by what they lead to. */
#include "volume/apart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "remapfs/cleanup.h"
#include "remapfs/storage.h"
#include "volume/spare_set.h"

int locations_add(struct locations *p, const char *role, spare_id_t id, const char *path,
	       uint64_t offset, uint64_t length)
{
	struct location *more = reallocarray(p->all, p->count + 1, sizeof(*more));
	struct location place = {.path = path, .offset = offset, .length = length};

	if (!more)
		return -ENOMEM;
	p->all = more;
	if (id == ON_MAIN)
		snprintf(place.role, sizeof(place.role), "%s", role);
	else
		snprintf(place.role, sizeof(place.role), "%s %u", role, id);
	p->all[p->count++] = place;
	return 0;
}

int locations_add_members(struct locations *p, struct store *store)
{
	size_t count;
	const struct store_spare *spares = store_spares(store, &count);
	int rc = locations_add(p, "main", ON_MAIN, store_volume(store)->main_path, 0, 0);

	for (size_t i = 0; rc == 0 && i < count; i++)
		if (spare_is_here(&spares[i]))
			rc = locations_add(p, "spare", spares[i].id, spares[i].path, spares[i].offset,
					spares[i].length);
	return rc;
}

void locations_free(struct locations *p)
{
	free(p->all);
	*p = (struct locations){0};
}

static int tell(const struct location *a, const struct location *b, enum storage_shared shared,
		const struct storage_range *range, const char *remedy, struct error *err)
{
	char text[300];

	if (shared == STORAGE_SHARED)
		return error_set(err, EINVAL, "%s '%.100s' and %s '%.100s' are the same storage (%s); %s",
				 a->role, a->path, b->role, b->path,
				 storage_describe(range, text, sizeof(text)), remedy);
	return error_set(err, EINVAL, "%s '%.100s' and %s '%.100s' may be the same storage: both use "
			 "%s, and remapfs cannot see which parts of it; %s, or --force if you know "
			 "that they are apart", a->role, a->path, b->role, b->path,
			 storage_device_name(range->device, text, sizeof(text)), remedy);
}

static int compare(const struct locations *p, const struct storage *found, size_t i, size_t j,
		   bool force, const char *remedy, struct error *err)
{
	struct storage_range range = {0};
	enum storage_shared shared = storage_compare(&found[i], &found[j], &range);

	if (shared == STORAGE_APART || (shared == STORAGE_UNKNOWN && force))
		return 0;
	return tell(&p->all[j], &p->all[i], shared, &range, remedy, err);
}

/* Names come to lead elsewhere: a disk moved, a loop device was made of another file. */
int locations_apart_still(const struct locations *p, struct error *err)
{
	return locations_apart(p, 1, true, "tell the volume the path that each has now with "
			       "'remapctl set-path'", err);
}

int locations_apart(const struct locations *p, size_t first, bool force, const char *remedy,
		 struct error *err)
{
	CLEANUP_FREE struct storage *found = calloc(p->count + 1, sizeof(*found));
	int rc = found ? 0 : -ENOMEM;

	for (size_t i = 0; rc == 0 && i < p->count; i++)
		rc = storage_find(p->all[i].path, p->all[i].offset, p->all[i].length, &found[i]);
	if (rc < 0)
		error_set(err, ENOMEM, "out of memory; end other programs");
	for (size_t j = first; rc == 0 && j < p->count; j++)
		for (size_t i = 0; rc == 0 && i < j; i++)
			rc = compare(p, found, i, j, force, remedy, err);
	for (size_t i = 0; found && i < p->count; i++)
		storage_free(&found[i]);
	return rc;
}
