/* What an opening would find first, for who only wants to know: see remapfs/check.h. */
#include <errno.h>

#include "remapfs/check.h"
#include "remapfs/device.h"
#include "remapfs/spare.h"
#include "volume/spare_set.h"

static int look_at(struct store *s, size_t i, bool closed, struct error *err)
{
	const struct store_volume *volume = store_volume(s);
	size_t count;
	const struct store_spare *infos = store_spares(s, &count);
	const struct file_device_options o = {.role = "spare", .offset = infos[i].offset,
					      .length = infos[i].length, .read_only = true};
	struct spare_identity expected;
	struct spare *spare;
	struct device *d;
	bool damaged;
	int rc = spare_identity_of(volume, infos, count, i, &expected);

	if (rc < 0)
		return error_set(err, -rc, "the database is damaged; see 'remapctl check'");
	rc = file_device_open(infos[i].path, &o, &d, err);
	/* Who has begun to use it will see. */
	if (rc < 0)
		return rc == -EBUSY ? 0 : rc;
	rc = spare_open(d, &expected, &spare, &damaged, err);
	if (rc < 0)
		return rc;
	rc = spare_check_age(spare, volume->opens, closed, err);
	spare_close(spare);
	return rc;
}

static int ignore(void *context, const struct extent *e)
{
	(void)context;
	(void)e;
	return 0;
}

int volume_look(struct store *s, struct error *err)
{
	size_t count;
	const struct store_spare *infos = store_spares(s, &count);
	enum store_life last = STORE_UNCLEAN;
	int rc = store_each_extent(s, ignore, NULL);

	if (rc == -EUCLEAN)
		return error_set(err, EUCLEAN, "the map in the database contradicts itself; see "
				 "'remapctl check', and make it anew with 'remapctl rebuild --force'");
	if (rc < 0)
		return error_set(err, -rc, "the map in the database cannot be read (%s); check the disk "
				 "that it is on, and who holds its lock", errno_name(-rc));
	rc = store_last_life(s, &last);
	if (rc < 0)
		return error_set(err, -rc, "cannot read the history; check the disk of the database");
	/* One that retires may have been wiped already. */
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (infos[i].state == SPARE_ACTIVE)
			rc = look_at(s, i, last == STORE_CLOSED, err);
	return rc;
}
