/* The mount that a path is on has a number, by which mountinfo names its type. */
#include "remapfs/file_system.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/mountinfo.h"

struct wanted {
	unsigned long long id;
	char *name;
};

static bool take_type(const struct mount *mount, void *context)
{
	const struct wanted *w = context;

	if (mount->id == w->id)
		snprintf(w->name, FILE_SYSTEM_NAME, "%s", mount->type);
	return mount->id == w->id;
}

const char *file_system_name(const char *path, char *name)
{
	struct wanted w = {.name = name};
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) == 0 &&
	    stx.stx_mask & STATX_MNT_ID)
		w.id = stx.stx_mnt_id;
	if (w.id == 0 || !mounts_find(take_type, &w))
		strcpy(name, "this file system");
	return name;
}
