/*
 * What tells a file or block device from others: sysfs knows the number that a
 * disk has for ever, the file system which file it is.
 *
 * The file behind a loop device is not looked at, only its inode, which the
 * kernel names.
 */
#include "device/identity.h"

#include <ctype.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "device/sysfs.h"
#include "remapfs/cleanup.h"

#define EXFAT_MAGIC 0x2011bab0
#define CIFS_MAGIC 0xff534d42
#define SMB2_MAGIC 0xfe534d42

/* ---- block devices ---------------------------------------------------------------- */

/* A line of printable characters, without blanks at its ends; "": there is none. */
static void read_word(const char *folder, const char *name, char *to, size_t size)
{
	char text[256], *start = text;

	to[0] = 0;
	if (!sysfs_line(folder, name, text, sizeof(text)))
		return;
	for (char *c = text; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = ' ';
	start += strspn(start, " ");
	for (size_t end = strlen(start); end && start[end - 1] == ' ';)
		start[--end] = 0;
	snprintf(to, size, "%s", start);
}

/* A disk behind USB: the first folder above it that is a USB device. */
static void read_usb_serial(const char *disk, char *to, size_t size)
{
	char name[128] = "device", vendor[16], full[160];

	for (unsigned up = 0; up < 8; up++) {
		size_t end = strlen(name);

		snprintf(name + end, sizeof(name) - end, "/..");
		snprintf(full, sizeof(full), "%s/idVendor", name);
		read_word(disk, full, vendor, sizeof(vendor));
		if (!vendor[0])
			continue;
		snprintf(full, sizeof(full), "%s/serial", name);
		read_word(disk, full, to, size);
		return;
	}
}

/* The names by which drivers say it, the surest first. */
static void read_hardware(const char *disk, char *to, size_t size)
{
	static const char *const names[] = {"dm/uuid", "md/uuid",	"wwid",	     "device/wwid",
					    "serial",  "device/serial", "device/cid"};

	for (size_t i = 0; !to[0] && i < sizeof(names) / sizeof(names[0]); i++)
		read_word(disk, names[i], to, size);
	if (!to[0])
		read_usb_serial(disk, to, size);
}

static void read_what_is_behind(int fd, const char *disk, char *to, size_t size)
{
	struct loop_info64 loop;
	char name[128];

	read_word(disk, "dm/name", name, sizeof(name));
	if (name[0])
		snprintf(to, size, "dm %s", name);
	else if (ioctl(fd, LOOP_GET_STATUS64, &loop) == 0)
		snprintf(to, size, "loop inode %llu offset %llu", (unsigned long long)loop.lo_inode,
			 (unsigned long long)loop.lo_offset);
}

static void append_start(char *to, size_t size, const char *start)
{
	size_t end = strlen(to);

	if (end && start[0])
		snprintf(to + end, size - end, ", partition at %s", start);
}

static void identify_block(int fd, dev_t number, struct device_identity *ret)
{
	CLEANUP_FREE char *folder = sysfs_folder(number);
	char partition[16], start[24] = "";

	if (!folder)
		return;
	read_word(folder, "partition", partition, sizeof(partition));
	if (partition[0]) {
		read_word(folder, "start", start, sizeof(start));
		*strrchr(folder, '/') = 0; /* to that of the disk */
	}
	read_hardware(folder, ret->hardware, sizeof(ret->hardware));
	read_what_is_behind(fd, folder, ret->file, sizeof(ret->file));
	append_start(ret->hardware, sizeof(ret->hardware), start);
	append_start(ret->file, sizeof(ret->file), start);
}

/* ---- files -------------------------------------------------------------------------- */

/* Where an inode has another number after each mount, it tells nothing. */
static bool numbers_last(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	switch ((unsigned)fs.f_type) {
	case MSDOS_SUPER_MAGIC:
	case EXFAT_MAGIC:
	case FUSE_SUPER_MAGIC:
	case V9FS_MAGIC:
	case CIFS_MAGIC:
	case SMB2_MAGIC:
		return false;
	default:
		return true;
	}
}

static void identify_file(int fd, struct device_identity *ret)
{
	struct statx st;

	if (!numbers_last(fd) ||
	    statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MTIME | STATX_BTIME, &st) < 0)
		return;
	ret->written_at = st.stx_mtime.tv_sec * INT64_C(1000000000) + st.stx_mtime.tv_nsec;
	if (st.stx_mask & STATX_BTIME)
		snprintf(ret->file, sizeof(ret->file), "inode %llu born %lld.%09u",
			 (unsigned long long)st.stx_ino, (long long)st.stx_btime.tv_sec,
			 st.stx_btime.tv_nsec);
	else
		snprintf(ret->file, sizeof(ret->file), "inode %llu", (unsigned long long)st.stx_ino);
}

void identify_descriptor(int fd, struct device_identity *ret)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return;
	if (S_ISBLK(st.st_mode))
		identify_block(fd, st.st_rdev, ret);
	else
		identify_file(fd, ret);
}
