/* remapctl attach and detach: losetup(8) with what remapfs needs, and checks. */
#include "ctl/ctl.h"
#include "ctl/disk_image.h"
#include "ctl/loop.h"
#include "ctl/remains.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char attach_help[] =
    "\n"
    "Usage:\n"
    " remapctl attach [options] <volume>|<mountpoint> [<loopdev>]\n"
    "\n"
    "Make a loop device of the disk.img of a mounted volume, for mkfs and mount, and\n"
    "print its path. Direct I/O is on, or nothing is attached: without it, errors\n"
    "come too late. Needs root.\n"
    "\n"
    "Options:\n"
    " -P, --partscan  make devices of its partitions too: the first one of /dev/loop0 is\n"
    "                 then /dev/loop0p1\n"
    " -h, --help      display this help\n"
    "\n"
    "Example:\n"
    " dev=$(remapctl attach /mnt/disk) && mkfs.ext4 \"$dev\"\n";

static const char detach_help[] =
    "\n"
    "Usage:\n"
    " remapctl detach [options] <volume>|<mountpoint>|<loopdev>\n"
    "\n"
    "Detach the loop devices of a disk.img, or the one that is named. A device that\n"
    "is still mounted or held by another is refused.\n"
    "\n"
    "Options:\n"
    " -h, --help  display this help\n";

/* ---- attach ----------------------------------------------------------------- */

/* The caller closes image. 0, or err has the line. */
static int find_unattached(const char *argument, struct disk_image *image, struct error *err)
{
	CLEANUP_FREE struct loop *loops = NULL;
	size_t count = 0;
	int rc = disk_image_find(argument, image, err);

	if (rc < 0)
		return rc;
	if (image->fd < 0) {
		*err = image->out_of_sight;
		return -EBUSY;
	}
	rc = loop_find_file(image->st.st_dev, image->st.st_ino, &loops, &count, err);
	if (rc == 0 && count)
		return error_set(err, EBUSY,
				 "%.200s is attached already, as %s; use that, or detach it first",
				 image->path, loops->device);
	return rc;
}

static int attach(const char *argument, const char *device, bool partscan)
{
	struct error err = {0};
	struct disk_image image;
	struct loop loop;
	bool found = false;
	int rc = find_unattached(argument, &image, &err);

	if (rc == 0)
		rc = loop_attach(image.fd, image.path, image.sector_size, device, partscan, &loop, &err);
	disk_image_close(&image);
	if (rc < 0)
		return refuse(&err);
	if (partscan && loop_find_partitions(&loop, &found, &err)) {
		loop_detach(&loop, 1, NULL);
		return refuse(&err);
	}
	if (partscan && !found)
		fprintf(stderr, "remapctl: warning: no partition table was found on %s; make one, with "
				"sfdisk perhaps, or leave --partscan out\n", loop.device);
	puts(loop.device);
	return EXIT_DONE;
}

/* It must be a loop device that is free. 0 or the exit code. */
static int check_device(const char *device)
{
	struct error err = {0};
	struct loop loop;
	int rc = loop_look(device, &loop, &err);

	if (rc == -ENXIO)
		return 0;
	if (rc)
		return refuse(&err);
	return refuse_text("%s is attached to %.200s; name another loop device, or none",
			   loop.device, loop.backing);
}

int run_attach(int argc, char **argv)
{
	static const struct option longs[] = {{"partscan", no_argument, NULL, 'P'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME or MOUNTPOINT", "LOOPDEV"};
	const char *device;
	bool partscan = false;
	int c, rc;

	while ((c = next_option("attach", argc, argv, ":Ph", longs)) != -1) {
		if (c != 'P')
			return c == 'h' ? print_help(attach_help) : EXIT_MISUSED;
		partscan = true;
	}
	rc = check_operands("attach", argc, argv, 1, 2, names);
	device = argc > optind + 1 ? argv[optind + 1] : NULL;
	if (rc == 0 && device)
		rc = check_device(device);
	return rc ? rc : attach(argv[optind], device, partscan);
}

/* ---- detach ----------------------------------------------------------------- */

static int detach_device(const char *device)
{
	struct error err = {0};
	struct loop loop;

	if (loop_look(device, &loop, &err))
		return refuse(&err);
	if (!loop_is_disk_image(&loop))
		return refuse_text("%s is attached to %.150s, which is no disk.img; detach it with "
				   "losetup -d %s",
				   loop.device, loop.backing, loop.device);
	return loop_detach(&loop, 1, &err) ? refuse(&err) : EXIT_DONE;
}

/* The socket that a daemon which was killed leaves beside its volume. */
static bool was_killed(const char *volume)
{
	CLEANUP_FREE char *real = realpath(volume, NULL), *name = NULL;
	struct stat st;

	if (!real || asprintf(&name, "%s.sock", real) < 0)
		name = NULL;
	return name && lstat(name, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int refuse_not_mounted(const char *argument)
{
	char devices[200] = "";

	if (was_killed(argument))
		hidden_loops(0, devices, sizeof(devices));
	if (*devices)
		return refuse_text("%.200s is not mounted, but %s of a disk.img whose daemon died and "
				   "whose mount is out of sight; unmount what is on it, then 'losetup -d "
				   "%s'", argument, devices, devices);
	return refuse_text("%.200s is not mounted, and no loop device of a mount that died is left; "
			   "'losetup -l' lists those there are", argument);
}

/* Those of a file that is open or out of sight; of a dead mount, by the path that is left of it. */
static int find_attached(const char *argument, struct disk_image *image, struct loop **loops,
			 size_t *count, struct error *err)
{
	struct dead_mount dead;
	int rc = disk_image_find(argument, image, err);

	if (rc < 0 && rc != -ETIMEDOUT && dead_mount_find(argument, &dead)) {
		snprintf(image->path, sizeof(image->path), "%s", dead.image);
		return loop_find(dead.image, loops, count, err);
	}
	if (rc < 0)
		return rc;
	/* Without root none can be asked, and none detached: by its path it can be named. */
	if (image->fd >= 0 && geteuid())
		return loop_find(image->path, loops, count, err);
	if (image->fd >= 0)
		return loop_find_file(image->st.st_dev, image->st.st_ino, loops, count, err);
	snprintf(image->path, sizeof(image->path), "the disk.img of %.200s", argument);
	return loop_find_file(image->hidden, 0, loops, count, err);
}

static int detach_image(const char *argument)
{
	CLEANUP_FREE struct loop *loops = NULL;
	struct error err = {0};
	struct disk_image image;
	size_t count = 0;
	int rc = find_attached(argument, &image, &loops, &count, &err);

	disk_image_close(&image);
	if (rc < 0 && image.not_mounted)
		return refuse_not_mounted(argument);
	if (rc < 0)
		return refuse(&err);
	if (!count)
		return refuse_text("no loop device is attached to %.200s; 'losetup -l' lists those "
				   "there are",
				   image.path);
	return loop_detach(loops, count, &err) ? refuse(&err) : EXIT_DONE;
}

int run_detach(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	static const char *const names[] = {"VOLUME, MOUNTPOINT or LOOPDEV"};
	int c = next_option("detach", argc, argv, ":h", longs), rc;
	struct stat st;

	if (c != -1)
		return c == 'h' ? print_help(detach_help) : EXIT_MISUSED;
	rc = check_operands("detach", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	if (stat(argv[optind], &st) == 0 && S_ISBLK(st.st_mode))
		return detach_device(argv[optind]);
	return detach_image(argv[optind]);
}
