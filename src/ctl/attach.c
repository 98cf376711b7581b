/* remapctl attach and detach: losetup(8) with what remapfs needs, and checks. */
#include "ctl/ctl.h"
#include "ctl/loop.h"
#include "ctl/remains.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

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

/* ---- which disk.img ----------------------------------------------------------- */

struct image {
	char path[PATH_MAX]; /* absolute, without symbolic links */
	uint32_t sector_size;
	bool not_mounted; /* the volume, which is why there is no path */
	dev_t hidden;     /* the number of the file system whose mount is out of sight, or 0 */
	struct error out_of_sight; /* says so, also of one that is in another namespace */
};

static int set_path(struct image *image, const char *folder, const char *name, struct error *err)
{
	if ((size_t)snprintf(image->path, sizeof(image->path), "%s%s", folder, name) >=
	    sizeof(image->path))
		return error_set(err, ENAMETOOLONG, "'%.60s...' is too long; use a shorter path",
				 folder);
	return 0;
}

static int explain_folder(const char *folder, int code, struct error *err)
{
	const char *remedy = "check the path";
	struct dead_mount dead;

	if (dead_mount_at(folder, &dead))
		return dead_mount_explain(&dead, err);
	if (code == ENOENT)
		return error_set(err, code,
				 "%.150s holds no disk.img; mount a volume on it: remapfs VOLUME "
				 "%.150s",
				 folder, folder);
	if (code == EACCES)
		remedy = geteuid() ? "mount it with -o allow_other (and user_allow_other in "
				     "/etc/fuse.conf)"
				   : "root may not enter the mount of a user: add user_allow_other to "
				     "/etc/fuse.conf, and mount again";
	if (code == ENOTCONN || code == ECONNABORTED)
		remedy = "its daemon has died: 'fusermount3 -u' it, then mount it again";
	return error_set(err, code, "%.200s: %s; %s", folder, strerror(code), remedy);
}

/* folder is where a volume is mounted, if it is of remapfs at all. */
static int find_in_folder(const char *folder, struct image *image, struct error *err)
{
	CLEANUP_FREE char *real = realpath(folder, NULL);
	struct statfs fs;
	struct stat st;
	int rc;

	if (!real)
		return explain_folder(folder, errno, err);
	rc = set_path(image, real, "/disk.img", err);
	if (rc)
		return rc;
	if (stat(image->path, &st) < 0 || statfs(image->path, &fs) < 0)
		return explain_folder(folder, errno, err);
	if (fs.f_type != FUSE_SUPER_MAGIC || (st.st_blksize != 512 && st.st_blksize != 4096))
		return error_set(err, EINVAL,
				 "no volume is mounted on %.150s; mount it: remapfs VOLUME %.150s",
				 folder, folder);
	image->sector_size = (uint32_t)st.st_blksize;
	return 0;
}

/* The same where the daemon has died: then the mountpoint cannot be looked at. */
static bool find_dead_image(const char *argument, struct dead_mount *ret)
{
	CLEANUP_FREE char *real = realpath(argument, NULL);

	return dead_mount_at(argument, ret) || (real && dead_mount_of(real, ret));
}

static int find_by_volume(const char *volume, struct image *image, struct error *err)
{
	struct dead_mount dead;
	struct store *store;
	json_t *answer;
	const char *path;
	int rc = store_open(volume, STORE_READ, &store, err);

	if (rc)
		return rc;
	image->sector_size = store_volume(store)->sector_size;
	store_close(store);
	rc = control_ask(volume, "status", &answer, err);
	image->not_mounted = rc == -ENOENT || rc == -ECONNREFUSED;
	if (image->not_mounted && find_dead_image(volume, &dead))
		return dead_mount_explain(&dead, err);
	if (rc)
		return rc;
	path = json_string_value(json_object_get(answer, "image"));
	if (mount_reach(answer, &image->out_of_sight) == MOUNT_HIDDEN)
		image->hidden = mount_number(answer);
	rc = path && *path == '/' ? set_path(image, path, "", err)
				  : error_set(err, EPROTO,
					      "the daemon names no image; name its "
					      "mountpoint instead");
	json_decref(answer);
	return rc;
}

static int find_image(const char *argument, struct image *image, struct error *err)
{
	struct stat st;

	if (stat(argument, &st) < 0 && errno == ENOENT)
		return error_set(err, ENOENT, "%.200s: %s; check the path", argument,
				 strerror(ENOENT));
	if (stat(argument, &st) < 0)
		return explain_folder(argument, errno, err);
	if (S_ISDIR(st.st_mode))
		return find_in_folder(argument, image, err);
	return find_by_volume(argument, image, err);
}

/* ---- attach ----------------------------------------------------------------- */

static int attach(const char *argument, const char *device, bool partscan)
{
	CLEANUP_FREE struct loop *loops = NULL;
	struct error err = {0};
	struct image image = {0};
	struct loop loop;
	bool found = false;
	size_t count;

	if (find_image(argument, &image, &err))
		return refuse(&err);
	if (image.out_of_sight.text[0])
		return refuse(&image.out_of_sight);
	if (loop_find(image.path, &loops, &count, &err))
		return refuse(&err);
	if (count)
		return refuse_text(
		    "%.200s is attached already, as %s; use that, or detach it first", image.path,
		    loops->device);
	if (loop_attach(image.path, image.sector_size, device, partscan, &loop, &err))
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
	const char *name;

	if (loop_look(device, &loop, &err))
		return refuse(&err);
	name = strrchr(loop.backing, '/');
	if (!name || strncmp(name, "/disk.img", 9) != 0)
		return refuse_text("%s is attached to %.150s, which is no disk.img; detach it with "
				   "losetup -d %s",
				   loop.device, loop.backing, loop.device);
	return loop_detach(&loop, 1, &err) ? refuse(&err) : EXIT_DONE;
}

/* Those that are named, one after the other, as hidden_loops does. */
static int find_named(const char *devices, struct loop **loops, size_t *count, struct error *err)
{
	CLEANUP_FREE char *copy = strdup(devices);
	char *rest = copy, *device;
	int rc = 0;

	*loops = calloc(strlen(devices) + 1, sizeof(**loops));
	if (!copy || !*loops)
		return error_set(err, ENOMEM, "not enough memory; end other programs first");
	while (!rc && (device = strsep(&rest, " "))) {
		if (!*device)
			continue;
		rc = loop_look(device, &(*loops)[*count], err);
		*count += !rc;
	}
	return rc;
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

static int detach_image(const char *argument)
{
	CLEANUP_FREE struct loop *loops = NULL;
	struct error err = {0};
	struct image image = {0};
	struct dead_mount dead;
	char devices[200];
	size_t count = 0;
	int rc = find_image(argument, &image, &err);

	if (rc && rc != -ETIMEDOUT && find_dead_image(argument, &dead))
		rc = set_path(&image, dead.image, "", &err);
	else if (image.not_mounted)
		return refuse_not_mounted(argument);
	if (rc)
		return refuse(&err);
	if (image.hidden)
		hidden_loops(image.hidden, devices, sizeof(devices));
	rc = loop_find(image.path, &loops, &count, &err);
	if (!rc && !count && image.hidden) {
		free(loops);
		rc = find_named(devices, &loops, &count, &err);
	}
	if (rc)
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
