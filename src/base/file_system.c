/* The mount that a path is on has a number, by which mountinfo names its type. */
#include "remapfs/file_system.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/cleanup.h"

/* proc_pid_mountinfo(5): number ... - type source options */
static int take_type(const char *line, unsigned long long mount, char *name)
{
	const char *type = strstr(line, " - ");

	return strtoull(line, NULL, 10) == mount && type && sscanf(type, " - %63s", name) == 1;
}

const char *file_system_name(const char *path, char *name)
{
	struct statx stx;
	FILE *mounts = NULL;
	CLEANUP_FREE char *line = NULL;
	size_t room = 0;
	int found = 0;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &stx) == 0 &&
	    stx.stx_mask & STATX_MNT_ID)
		mounts = fopen("/proc/self/mountinfo", "re");
	while (mounts && !found && getline(&line, &room, mounts) > 0)
		found = take_type(line, stx.stx_mnt_id, name);
	if (mounts)
		fclose(mounts);
	if (!found)
		strcpy(name, "this file system");
	return name;
}
