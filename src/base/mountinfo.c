/* Each line of mountinfo is one mount, taken apart in place. */
#include "remapfs/mountinfo.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "remapfs/cleanup.h"

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

char *mount_unescape(char *text)
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
	*ret = (struct mount){ret->id, makedev(major_number, minor_number), mount_unescape(field[4]),
			      mount_unescape(word[0]), mount_unescape(word[1]), word[2]};
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

bool mounts_find_of(pid_t process, bool (*take)(const struct mount *, void *context),
		    void *context)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)process);
	return find_in(process == 0 ? "/proc/self/mountinfo" : path, take, context);
}

bool mounts_find(bool (*take)(const struct mount *, void *context), void *context)
{
	return mounts_find_of(0, take, context);
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
		mount_unescape(to);
		return true;
	}
	return false;
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
