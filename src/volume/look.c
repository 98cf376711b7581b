/* What an opening would find first, for who only wants to know: see remapfs/check.h. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/check.h"
#include "remapfs/device.h"
#include "remapfs/spare.h"
#include "volume/age.h"
#include "volume/identity.h"
#include "volume/spare_set.h"

static int look_at(struct store *s, size_t i, bool rows, struct error *err)
{
	size_t count;
	const struct store_spare *infos = store_spares(s, &count);
	const struct file_device_options o = {.role = "spare", .offset = infos[i].offset,
					      .length = infos[i].length, .read_only = true};
	struct spare_identity expected;
	struct spare *spare;
	struct device *d;
	bool damaged;
	int rc = spare_identity_of(store_volume(s), infos, count, i, &expected);

	if (rc < 0)
		return error_set(err, -rc, "the database is damaged; see 'remapctl check'");
	rc = file_device_open(infos[i].path, &o, &d, err);
	/* Who has begun to use it will see. */
	if (rc < 0)
		return rc == -EBUSY ? 0 : rc != -ENOENT ? rc
		       : error_set(err, ENOENT, "spare '%s': %s; give it back its place, or tell the "
				   "volume its path with 'remapctl set-path --spare'", infos[i].path,
				   strerror(ENOENT));
	rc = spare_open(d, &expected, &spare, &damaged, err);
	if (rc < 0)
		return rc;
	/* By rows that are wrong nothing else can be judged. */
	rc = rows ? spare_judge_alone(s, spare, err) : 0;
	spare_close(spare);
	return rc;
}

static int judge_main(struct store *s, struct map *map, struct device *main,
		      char changed_since[32], struct error *err)
{
	const struct store_volume *volume = store_volume(s);
	struct main_judgement judgement;
	int rc = main_judge(s, map, main, &judgement);

	if (rc < 0)
		return error_set(err, -rc, "main cannot be compared (%s); see 'remapctl check'",
				 errno_name(-rc));
	if (judgement.is == MAIN_CHANGED)
		memcpy(changed_since, judgement.since, sizeof(judgement.since));
	return main_refuse(volume, volume->main_path, &judgement, err);
}

/* map NULL: it could not be had, and which disk main is cannot be told. */
static int look_at_main(struct store *s, struct map *map, char changed_since[32], struct error *err)
{
	const struct store_volume *volume = store_volume(s);
	const struct file_device_options o = {.role = "main", .read_only = true};
	uint64_t bytes = volume->main_sectors * volume->sector_size;
	struct device *d;
	struct stat st;
	int rc;

	if (stat(volume->main_path, &st) < 0)
		return error_set(err, errno, "main '%s': %s; give it back its place, or tell the volume "
				 "its path with 'remapctl set-path --main'", volume->main_path,
				 strerror(errno));
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size != bytes)
		return error_set(err, EBADMSG, "main '%s' has another size; give the right file back its "
				 "place", volume->main_path);
	rc = map ? file_device_open(volume->main_path, &o, &d, err) : -EBUSY;
	/* Whoever may not read it cannot judge it. */
	if (rc < 0)
		return rc == -EBUSY || rc == -EACCES || rc == -EPERM ? 0 : rc;
	if (d->geometry.size == bytes)
		rc = judge_main(s, map, d, changed_since, err);
	device_close(d);
	return rc;
}

static int look_at_rows(struct store *s, struct map **ret, struct error *err)
{
	int rc = main_map(s, ret);

	if (rc == -EUCLEAN)
		return error_set(err, EUCLEAN, "the map in the database contradicts itself; see "
				 "'remapctl check', and make it anew with 'remapctl rebuild --force'");
	if (rc < 0)
		return error_set(err, -rc, "the map in the database cannot be read (%s); check the disk "
				 "that it is on, and what holds its lock", errno_name(-rc));
	return 0;
}

static void list(struct troubles *t, spare_id_t spare, int rc, const struct error *err)
{
	if (rc < 0)
		trouble_add_line(t, VOLUME_FAILED, spare, err->text);
}

void volume_look(struct store *s, struct troubles *t, char changed_since[32])
{
	struct map *map = NULL;
	size_t count;
	const struct store_spare *infos = store_spares(s, &count);
	struct error err = {""};
	int rows;

	rows = look_at_rows(s, &map, &err);
	list(t, ON_MAIN, rows, &err);
	list(t, ON_MAIN, look_at_main(s, map, changed_since, &err), &err);
	for (size_t i = 0; i < count; i++)
		if (spare_is_here(&infos[i]) && !spare_is_emptied(s, &infos[i]))
			list(t, infos[i].id, look_at(s, i, rows == 0, &err), &err);
	map_free(map);
}
