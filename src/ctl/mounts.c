/* What a mount says of itself, and whose word that is. */
#include "ctl/mounts.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FUSE_CTL_SUPER_MAGIC 0x65735543

/* fuseblk takes root to mount. */
static bool is_fuse(const struct mount *mount)
{
	return strcmp(mount->type, "fuse") == 0 || strncmp(mount->type, "fuse.", 5) == 0;
}

static bool read_owner(const struct mount *mount, uid_t *ret)
{
	char text[24], more;
	unsigned uid;

	if (!is_fuse(mount) || !mount_value(mount, "user_id", text, sizeof(text)) ||
	    sscanf(text, "%u%c", &uid, &more) != 1)
		return false;
	*ret = uid;
	return true;
}

bool mount_is_strangers(const struct mount *mount)
{
	uid_t owner;

	return is_fuse(mount) && (!read_owner(mount, &owner) || (owner && owner != geteuid()));
}

struct owner_search {
	dev_t file_system;
	uid_t owner;
};

static bool is_owned(const struct mount *mount, void *context)
{
	struct owner_search *s = context;

	return mount->device == s->file_system && read_owner(mount, &s->owner);
}

/* fusectl has a folder for each FUSE file system, which belongs to whoever mounted it. */
static bool ask_fusectl(dev_t file_system, uid_t *ret)
{
	char path[64];
	struct statfs fs;
	struct stat st;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u", minor(file_system));
	if (major(file_system) || statfs(path, &fs) < 0 || fs.f_type != FUSE_CTL_SUPER_MAGIC ||
	    stat(path, &st) < 0)
		return false;
	*ret = st.st_uid;
	return true;
}

bool mounts_owner(dev_t file_system, uid_t *ret)
{
	struct owner_search s = {.file_system = file_system};

	if (!mounts_find(is_owned, &s))
		return ask_fusectl(file_system, ret);
	*ret = s.owner;
	return true;
}

void mounts_name(const char *volume, bool by_mount, char *to, size_t size)
{
	bool plain = by_mount && strncmp(volume, "/dev/", 5) != 0;

	snprintf(to, size, "%s%s", plain ? "" : "remapfs:", volume);
	/* Commas and the like would end the option. */
	for (; *to; to++)
		if (*to == ',' || *to == '\\' || *to == '\'' || *to == '"' ||
		    (unsigned char)*to <= ' ' || (unsigned char)*to >= 0x7f)
			*to = '_';
}
