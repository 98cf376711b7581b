/* What an opening would find first, for who only wants to know: see remapfs/check.h. */
#include <errno.h>
#include <string.h>

#include "remapfs/check.h"
#include "remapfs/device.h"
#include "remapfs/spare.h"
#include "volume/cross.h"
#include "volume/spare_set.h"

/* The better of the two superblocks; NULL: there is none. */
static const struct spare_copy *better(const struct spare_copy copy[2])
{
	if (copy[0].error && copy[1].error)
		return NULL;
	if (copy[0].error || copy[1].error)
		return &copy[copy[0].error ? 1 : 0];
	return &copy[copy[1].confirmed > copy[0].confirmed ? 1 : 0];
}

static int judge(const struct spare_copy *copy, const struct spare_identity *expected,
		 const struct store_spare *info, uint64_t opens, struct error *err)
{
	if (!copy)
		return error_set(err, EBADMSG, "'%s' is no spare any more; see 'remapctl check'",
				 info->path);
	if (memcmp(copy->identity.volume, expected->volume, sizeof(expected->volume)) != 0 ||
	    memcmp(copy->identity.spare, expected->spare, sizeof(expected->spare)) != 0)
		return error_set(err, EBADMSG, "'%s' is another spare than the volume's spare %u; give "
				 "the right file back its place", info->path, info->id);
	if (copy->confirmed >> SEQUENCE_EPOCH > opens)
		return error_set(err, EUCLEAN, "the database is an older copy: spare %u was used after "
				 "it; give back the right one, or make it anew with 'remapctl rebuild "
				 "--force'", info->id);
	return 0;
}

static int look_at(const struct store_volume *volume, const struct store_spare *infos, size_t count,
		   size_t i, struct error *err)
{
	const struct file_device_options o = {.role = "spare", .offset = infos[i].offset,
					      .length = infos[i].length, .read_only = true};
	struct spare_identity expected;
	struct spare_copy copy[2];
	struct device *d;
	int rc = spare_identity_of(volume, infos, count, i, &expected);

	if (rc < 0)
		return error_set(err, -rc, "the database is damaged; see 'remapctl check'");
	rc = file_device_open(infos[i].path, &o, &d, err);
	/* Somebody has begun to use it: he will see. */
	if (rc < 0)
		return rc == -EBUSY ? 0 : rc;
	rc = spare_inspect(d, copy);
	device_close(d);
	if (rc == -ENOMEM)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	return judge(rc < 0 ? NULL : better(copy), &expected, &infos[i], volume->opens, err);
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
	int rc = store_each_extent(s, ignore, NULL);

	if (rc < 0)
		return error_set(err, -rc, "the map in the database contradicts itself; see 'remapctl "
				 "check', and make it anew with 'remapctl rebuild --force'");
	/* One that retires may have been wiped already. */
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (infos[i].state == SPARE_ACTIVE)
			rc = look_at(store_volume(s), infos, count, i, err);
	return rc;
}
