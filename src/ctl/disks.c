#include "ctl/disks.h"

#include "ctl/ctl.h"
#include "ctl/mounts.h"

#include "remapfs/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* A stack of devices that is deeper is not followed. */
#define DEPTH_MAX 8

static void look_below(struct disks *disks, dev_t device, int depth);

static void add_disk(struct disks *disks, dev_t device)
{
	for (size_t i = 0; i < disks->count; i++)
		if (disks->disk[i] == device)
			return;
	if (disks->count < DISKS_MAX)
		disks->disk[disks->count++] = device;
	else
		disks->incomplete = true;
}

/* The first line of folder/name; false: there is none. */
static bool read_line(const char *folder, const char *name, char *buf, size_t size)
{
	char path[PATH_MAX + 64];
	FILE *file;
	bool found;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "re");
	if (!file)
		return false;
	found = fgets(buf, (int)size, file) != NULL;
	fclose(file);
	buf[found ? strcspn(buf, "\n") : 0] = 0;
	return found;
}

static bool read_device(const char *folder, const char *name, dev_t *ret)
{
	unsigned major_number, minor_number;
	char text[32];

	if (!read_line(folder, name, text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &major_number, &minor_number) != 2)
		return false;
	*ret = makedev(major_number, minor_number);
	return true;
}

/* How many devices this one, of dm or md, is made of. */
static unsigned look_at_slaves(struct disks *disks, const char *folder, int depth)
{
	char path[PATH_MAX + 64], name[300];
	struct dirent *entry;
	unsigned found = 0;
	DIR *directory;
	dev_t device;

	snprintf(path, sizeof(path), "%s/slaves", folder);
	directory = opendir(path);
	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/dev", entry->d_name);
		found++;
		if (read_device(path, name, &device))
			look_below(disks, device, depth + 1);
		else
			disks->incomplete = true;
	}
	if (directory)
		closedir(directory);
	return found;
}

struct mounted {
	unsigned long long id;
	dev_t device; /* that it names; 0: none */
	bool overlay;
	char upper[PATH_MAX]; /* of an overlay: where it writes to; "" if it does not */
};

static bool is_there(const struct mount *mount, void *context)
{
	struct mounted *mounted = context;
	struct stat st;

	if (mount->id != mounted->id)
		return false;
	mounted->overlay = strcmp(mount->type, "overlay") == 0;
	if (mounted->overlay)
		mount_value(mount, "upperdir", mounted->upper, sizeof(mounted->upper));
	else if (!mount_is_strangers(mount) && strncmp(mount->source, "/dev/", 5) == 0 &&
		 stat(mount->source, &st) == 0 && S_ISBLK(st.st_mode))
		mounted->device = st.st_rdev;
	return true;
}

static void find_mount(const char *path, struct mounted *ret)
{
	struct statx stx;

	*ret = (struct mounted){0};
	if (statx(AT_FDCWD, path, 0, STATX_MNT_ID, &stx) == 0 && stx.stx_mask & STATX_MNT_ID) {
		ret->id = stx.stx_mnt_id;
		mounts_find(is_there, ret);
	}
}

/*
 * Where a file is: the device that its file system is on, or it is itself. btrfs gives
 * each subvolume a number that is no device's: its mount names one. What is written to
 * an overlay goes to its upper folder.
 */
static int device_of(struct disks *disks, const char *path, dev_t *ret, int depth)
{
	struct mounted mounted;
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	*ret = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
	if (S_ISBLK(st.st_mode))
		return 0;
	find_mount(path, &mounted);
	if (mounted.upper[0] && (depth > DEPTH_MAX ||
				 device_of(disks, mounted.upper, ret, depth + 1) < 0))
		disks->memory = "an overlay whose upper folder cannot be seen, as on a live system";
	if (major(*ret) == 0 && mounted.device)
		*ret = mounted.device;
	return 0;
}

/* ---- in memory --------------------------------------------------------------------- */

struct memory {
	dev_t device;
	const char *name;
};

static bool is_memory(const struct mount *mount, void *context)
{
	static const char *const types[] = {"tmpfs", "ramfs", "devtmpfs", "hugetlbfs"};
	struct memory *memory = context;

	for (size_t i = 0; mount->device == memory->device && i < 4; i++)
		if (strcmp(mount->type, types[i]) == 0)
			memory->name = types[i];
	return memory->name;
}

static void note_memory(struct disks *disks, dev_t device, const char *folder)
{
	struct memory memory = {.device = device};
	const char *slash = folder ? strrchr(folder, '/') : NULL;

	if (!slash)
		mounts_find(is_memory, &memory);
	else if (strncmp(slash, "/zram", 5) == 0)
		memory.name = "zram";
	else if (strncmp(slash, "/ram", 4) == 0)
		memory.name = "a RAM disk";
	if (memory.name)
		disks->memory = memory.name;
}

static bool look_at_loop(struct disks *disks, const char *folder, int depth)
{
	char backing[PATH_MAX];
	dev_t device = 0;

	if (!read_line(folder, "loop/backing_file", backing, sizeof(backing)))
		return false;
	if (device_of(disks, backing, &device, depth) == 0)
		look_below(disks, device, depth + 1);
	else
		disks->incomplete = true;
	return true;
}

static void look_below(struct disks *disks, dev_t device, int depth)
{
	CLEANUP_FREE char *folder = NULL;
	char path[64], number[16];
	dev_t whole = device;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u", major(device), minor(device));
	folder = realpath(path, NULL);
	note_memory(disks, device, folder);
	if (!folder || depth > DEPTH_MAX) {
		/* A file system without a device of its own: overlay, network, memory, FUSE. */
		add_disk(disks, device);
		disks->incomplete = true;
		return;
	}
	if (read_line(folder, "partition", number, sizeof(number))) {
		*strrchr(folder, '/') = 0;
		read_device(folder, "dev", &whole);
	}
	if (look_at_slaves(disks, folder, depth) == 0 && !look_at_loop(disks, folder, depth))
		add_disk(disks, whole);
}

int disks_of(const char *path, struct disks *ret)
{
	int rc;

	*ret = (struct disks){0};
	rc = device_of(ret, path, &ret->file_system, 0);
	if (rc == 0)
		look_below(ret, ret->file_system, 0);
	return rc;
}

enum disks_shared disks_compare(const struct disks *a, const struct disks *b)
{
	if (a->file_system == b->file_system)
		return DISKS_SHARED;
	for (size_t i = 0; i < a->count; i++)
		for (size_t j = 0; j < b->count; j++)
			if (a->disk[i] == b->disk[j])
				return DISKS_SHARED;
	return a->incomplete || b->incomplete ? DISKS_UNKNOWN : DISKS_APART;
}

void disks_warn_memory(const char *what, const char *path)
{
	struct disks disks;

	if (disks_of(path, &disks) == 0 && disks.memory)
		warn_text("%s '%.200s' is in memory (%s), and gone at the next boot; put it on a disk",
			  what, path, disks.memory);
}
