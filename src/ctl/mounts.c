#include "ctl/mounts.h"

#include "remapfs/cleanup.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define FUSE_CTL_SUPER_MAGIC 0x65735543

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* The kernel writes blanks and the like as \040. */
static char *unescape(char *text)
{
	char *to = text;

	for (const char *c = text; *c; to++) {
		if (c[0] == '\\' && is_octal(c[1]) && is_octal(c[2]) && is_octal(c[3])) {
			*to = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
			c += 4;
		} else {
			*to = *c++;
		}
	}
	*to = 0;
	return text;
}

/* proc_pid_mountinfo(5): id parent major:minor root point options [tag]... - type source options */
static bool read_line(char *line, struct mount *ret)
{
	char *end = strstr(line, " - "), *field[5] = {0}, *word[3] = {0};
	unsigned major_number, minor_number;

	line[strcspn(line, "\n")] = 0;
	if (!end)
		return false;
	*end = 0;
	end += 3;
	for (int i = 0; i < 5; i++)
		field[i] = strsep(&line, " ");
	for (int i = 0; i < 3; i++)
		word[i] = strsep(&end, " ");
	if (!field[4] || !word[2] ||
	    sscanf(field[0], "%llu", &ret->id) != 1 ||
	    sscanf(field[2], "%u:%u", &major_number, &minor_number) != 2)
		return false;
	*ret = (struct mount){ret->id, makedev(major_number, minor_number), unescape(field[4]),
			      unescape(word[0]), unescape(word[1]), word[2]};
	return true;
}

static bool find_in(const char *path, bool (*take)(const struct mount *, void *context),
		    void *context)
{
	FILE *mounts = fopen(path, "re");
	CLEANUP_FREE char *line = NULL;
	size_t room = 0;
	struct mount mount;
	bool found = false;

	while (mounts && !found && getline(&line, &room, mounts) > 0)
		found = read_line(line, &mount) && take(&mount, context);
	if (mounts)
		fclose(mounts);
	return found;
}

bool mounts_find(bool (*take)(const struct mount *, void *context), void *context)
{
	return find_in("/proc/self/mountinfo", take, context);
}

bool mounts_find_of(pid_t process, bool (*take)(const struct mount *, void *context),
		    void *context)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)process);
	return find_in(path, take, context);
}

static bool take_any(const struct mount *mount, void *context)
{
	(void)mount;
	(void)context;
	return true;
}

bool mounts_can_see(pid_t process)
{
	return mounts_find_of(process, take_any, NULL);
}

bool mount_value(const struct mount *mount, const char *option, char *to, size_t size)
{
	size_t length = strlen(option);

	for (const char *at = mount->options; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, option, length) != 0 || at[length] != '=')
			continue;
		at += length + 1;
		snprintf(to, size, "%.*s", (int)strcspn(at, ","), at);
		unescape(to);
		return true;
	}
	return false;
}

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

bool mount_has(const struct mount *mount, const char *option)
{
	size_t length = strlen(option);

	for (const char *at = mount->options; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, option, length) == 0 && (!at[length] || at[length] == ','))
			return true;
	}
	return false;
}
