#include "ctl/loop.h"

#include "ctl/mounts.h"

#include "remapfs/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/loop.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

/* How long a device may be kept open by others (udev looks at it) after its end. */
#define DETACH_WAIT_MS 5000
/* How long one may be held that is not mounted: by blkid or btrfs, looking at all devices. */
#define HELD_WAIT_MS 2000

/* ---- what the kernel says --------------------------------------------------- */

/* /sys/block/NAME/ATTRIBUTE without its newline; false: there is none. */
static bool read_sysfs(const char *name, const char *attribute, char *buf, size_t size)
{
	char path[128];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/block/%s/%s", name, attribute);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, size - 1);
	if (n < 0)
		return false;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = 0;
	return true;
}

/* false: name is no loop device, or no file is attached to it. */
static bool look(const char *name, struct loop *ret)
{
	struct loop loop;

	if (strncmp(name, "loop", 4) != 0 || strlen(name) >= sizeof(loop.name))
		return false;
	if (!read_sysfs(name, "loop/backing_file", loop.backing, sizeof(loop.backing)))
		return false;
	snprintf(loop.name, sizeof(loop.name), "%s", name);
	snprintf(loop.device, sizeof(loop.device), "/dev/%s", loop.name);
	*ret = loop;
	return true;
}

bool loop_is_direct(const struct loop *loop)
{
	char direct[16] = "";

	return read_sysfs(loop->name, "loop/dio", direct, sizeof(direct)) &&
	       strcmp(direct, "1") == 0;
}

static int add_loop(struct loop **loops, size_t *count, const struct loop *loop)
{
	struct loop *more = reallocarray(*loops, *count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	more[(*count)++] = *loop;
	*loops = more;
	return 0;
}

/* The kernel calls the file of a dead mount deleted once somebody has asked for its name. */
static bool is_backed_by(const struct loop *loop, const char *image)
{
	size_t length = strlen(image);
	const char *rest = loop->backing + length;

	return strncmp(loop->backing, image, length) == 0 && (!*rest || strcmp(rest, " (deleted)") == 0);
}

int loop_find(const char *image, struct loop **ret, size_t *ret_count, struct error *err)
{
	CLEANUP_FREE struct loop *loops = NULL;
	DIR *directory = opendir("/sys/block");
	struct dirent *entry;
	struct loop loop;
	size_t count = 0;
	int rc = 0;

	if (!directory)
		return error_set(err, errno, "cannot read /sys/block: %s; mount sysfs there",
				 strerror(errno));
	while (!rc && (entry = readdir(directory)))
		if (look(entry->d_name, &loop) && is_backed_by(&loop, image))
			rc = add_loop(&loops, &count, &loop);
	closedir(directory);
	if (rc)
		return error_set(err, -rc, "not enough memory; end other programs first");
	*ret = STEAL(loops);
	*ret_count = count;
	return 0;
}

int loop_look(const char *path, struct loop *ret, struct error *err)
{
	char name[32], sysfs[64], target[256];
	struct stat st;
	ssize_t n;

	if (stat(path, &st) < 0)
		return error_set(err, errno, "%.200s: %s; check the path", path, strerror(errno));
	snprintf(sysfs, sizeof(sysfs), "/sys/dev/block/%u:%u", major(st.st_rdev),
		 minor(st.st_rdev));
	n = S_ISBLK(st.st_mode) ? readlink(sysfs, target, sizeof(target) - 1) : -1;
	if (n < 0)
		return error_set(err, ENODEV,
				 "%.200s is no loop device; name one such as "
				 "/dev/loop0",
				 path);
	target[n] = 0;
	snprintf(name, sizeof(name), "%.31s", strrchr(target, '/') ? strrchr(target, '/') + 1 : "");
	if (strncmp(name, "loop", 4) != 0)
		return error_set(err, ENODEV,
				 "%.200s is no loop device; name one such as "
				 "/dev/loop0",
				 path);
	if (!look(name, ret))
		return error_set(err, ENXIO,
				 "%.200s has no file attached; 'losetup -l' lists "
				 "those that have",
				 path);
	return 0;
}

/* ---- losetup ---------------------------------------------------------------- */

/* A program's output goes to memory files: no pipe can fill up and block it. */
struct run {
	int out, err;
};

static void close_run(const struct run *run)
{
	cleanup_close(&run->out);
	cleanup_close(&run->err);
}

static int open_run(struct run *run)
{
	run->out = memfd_create("out", MFD_CLOEXEC);
	run->err = memfd_create("err", MFD_CLOEXEC);
	return run->out < 0 || run->err < 0 ? -errno : 0;
}

/* An administrator's programs are not on everybody's PATH. */
static int start(const struct run *run, const char *const *argv, pid_t *ret_child)
{
	/* posix_spawn does not write to the words; its prototype is older than const. */
	char *const *words = (char *const *)(uintptr_t)argv;

	static const char *const folders[] = {"", "/usr/sbin/", "/sbin/"};
	posix_spawn_file_actions_t actions;
	char path[64];
	int code = ENOENT;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, run->out, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, run->err, STDERR_FILENO);
	for (size_t i = 0; i < 3 && code == ENOENT; i++) {
		snprintf(path, sizeof(path), "%s%s", folders[i], argv[0]);
		code = posix_spawnp(ret_child, path, &actions, NULL, words, environ);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -code;
}

static void first_line(int fd, char *buf, size_t size)
{
	ssize_t n = pread(fd, buf, size - 1, 0);

	buf[n < 0 ? 0 : n] = 0;
	buf[strcspn(buf, "\n")] = 0;
}

/* FUSE lets nobody into a user's mount but this user, unless it was mounted so. */
static bool keeps_root_out(const struct mount *mount, void *context)
{
	const char *image = *(const char *const *)context;
	size_t length = strlen(mount->point);

	return strncmp(image, mount->point, length) == 0 &&
	       strcmp(image + length, "/disk.img") == 0 && strcmp(mount->type, "fuse.remapfs") == 0 &&
	       !mount_has(mount, "user_id=0") && !mount_has(mount, "allow_other");
}

static int explain(const struct run *run, const char *image, struct error *err)
{
	char text[200];
	const char *remedy = geteuid() ? "run this as root" : "see 'dmesg' for the kernel's reason";

	first_line(run->err, text, sizeof(text));
	if (!geteuid() && (strstr(text, strerror(EPERM)) || strstr(text, strerror(EACCES))))
		remedy = "root may not make loop devices here, as in a container: do it outside";
	if (mounts_find(keeps_root_out, &image))
		remedy = geteuid() ? "root may not enter that mount either: add user_allow_other to "
				     "/etc/fuse.conf, mount again, and run this as root"
				   : "root may not enter the mount of a user: add user_allow_other to "
				     "/etc/fuse.conf, and mount again";
	return error_set(err, EIO, "cannot attach %.150s: %s; %s", image,
			 text[0] ? text : "losetup failed", remedy);
}

/* Runs a program to its end. *ret_done: it says that it did what it should. */
static int run_to_end(const struct run *run, const char *const *argv, bool *ret_done,
		      struct error *err)
{
	pid_t child;
	int status = -1, rc = start(run, argv, &child);

	if (rc)
		return error_set(err, -rc, "cannot run %s: %s; install util-linux", argv[0],
				 strerror(-rc));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	*ret_done = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	return 0;
}

/* The first line that losetup printed is in device. */
static int run_losetup(const char *const *argv, const char *image, char *device, size_t size,
		       struct error *err)
{
	struct run run = {-1, -1};
	bool done = false;
	int rc = open_run(&run);

	rc = rc ? error_set(err, -rc, "not enough memory; end other programs first")
		: run_to_end(&run, argv, &done, err);
	if (!rc && !done)
		rc = explain(&run, image, err);
	else if (!rc)
		first_line(run.out, device, size);
	close_run(&run);
	return rc;
}

/* losetup leaves direct I/O off without a word where the kernel refuses it. */
static int check(const struct loop *loop, const char *image, uint32_t sector_size,
		 struct error *err)
{
	char size[16] = "";

	read_sysfs(loop->name, "queue/logical_block_size", size, sizeof(size));
	if (!loop_is_direct(loop))
		return error_set(err, EIO,
				 "the kernel refuses direct I/O on %.200s; write errors would come "
				 "too late, use a newer kernel",
				 image);
	if (strtoul(size, NULL, 10) != sector_size)
		return error_set(err, EIO,
				 "%s has sectors of %s bytes instead of %" PRIu32
				 "; use a newer kernel or losetup",
				 loop->device, size, sector_size);
	return 0;
}

int loop_attach(const char *image, uint32_t sector_size, const char *device, bool partscan,
		struct loop *ret, struct error *err)
{
	char size[16], shown[64] = "";
	const char *const argv[] = {
	    "losetup", "--direct-io=on", "--sector-size", size, "--nooverlap", "--show",
	    device ? device : "--find", image, partscan ? "--partscan" : NULL, NULL};
	struct loop loop;
	int rc;

	snprintf(size, sizeof(size), "%" PRIu32, sector_size);
	rc = run_losetup(argv, image, shown, sizeof(shown), err);
	if (!rc && !device && !*shown)
		rc = error_set(
		    err, EIO, "losetup did not name the device it attached; 'losetup -l' lists it");
	if (!rc)
		rc = loop_look(device ? device : shown, &loop, err);
	if (rc)
		return rc;
	rc = check(&loop, image, sector_size, err);
	if (rc) {
		loop_detach(&loop, 1, NULL);
		return rc;
	}
	*ret = loop;
	return 0;
}

/* Not every kernel reads every partition table, but partx does. */
int loop_find_partitions(const struct loop *loop, bool *ret_found, struct error *err)
{
	const char *const argv[] = {"partx", "--update", loop->device, NULL};
	struct run run = {-1, -1};
	int rc = open_run(&run);

	rc = rc ? error_set(err, -rc, "not enough memory; end other programs first")
		: run_to_end(&run, argv, ret_found, err);
	close_run(&run);
	return rc;
}

/* ---- detaching -------------------------------------------------------------- */

/* A mount of a loop device or of one of its partitions. */
struct mounted {
	const struct loop *loop;
	char device[300], point[256];
};

static bool is_mounted(const struct mount *mount, void *context)
{
	struct mounted *mounted = context;
	const char *of = mounted->loop->name, *name;
	char sysfs[64], target[256];
	size_t length = strlen(of);
	ssize_t n;

	snprintf(sysfs, sizeof(sysfs), "/sys/dev/block/%u:%u", major(mount->device),
		 minor(mount->device));
	n = readlink(sysfs, target, sizeof(target) - 1);
	target[n < 0 ? 0 : n] = 0;
	name = strrchr(target, '/');
	/* loop1 and loop1p2, and not loop10. */
	if (!name || strncmp(++name, of, length) != 0 || (name[length] && name[length] != 'p'))
		return false;
	snprintf(mounted->device, sizeof(mounted->device), "/dev/%s", name);
	snprintf(mounted->point, sizeof(mounted->point), "%s", mount->point);
	return true;
}

static int explain_held(const struct loop *loop, int code, struct error *err)
{
	struct mounted mounted = {.loop = loop};

	if (code != EBUSY)
		return error_set(err, code, "cannot open %s: %s; %s", loop->device, strerror(code),
				 geteuid() ? "run this as root" : "see 'dmesg' for the reason");
	if (mounts_find(is_mounted, &mounted))
		return error_set(err, code, "%s is mounted on %s; unmount that first", mounted.device,
				 mounted.point);
	return error_set(err, code,
			 "%s is held by another program or device; 'lsblk %s' and 'fuser -v %s' "
			 "show which",
			 loop->device, loop->device, loop->device);
}

/* As the only holder: a mount, a device mapper target or mkfs makes that fail. */
static int open_alone(const struct loop *loop)
{
	struct mounted mounted = {.loop = loop};

	for (int waited = 0;; waited += 20) {
		int fd = open(loop->device, O_RDONLY | O_EXCL | O_CLOEXEC);
		int code = fd < 0 ? errno : 0;

		if (code != EBUSY || waited >= HELD_WAIT_MS || mounts_find(is_mounted, &mounted))
			return code ? -code : fd;
		poll(NULL, 0, 20);
	}
}

static bool is_attached(const struct loop *loop)
{
	struct loop now;

	return look(loop->name, &now) && strcmp(now.backing, loop->backing) == 0;
}

/*
 * What was written to a device must be safe before it goes away. *ret_fd is -1 where
 * the image is not attached to it any more: meanwhile it may be anybody's, but not
 * while it is open here.
 */
static int hold(const struct loop *loop, int *ret_fd, struct error *err)
{
	int fd = open_alone(loop);

	if (fd < 0)
		return explain_held(loop, -fd, err);
	if (!is_attached(loop)) {
		close(fd);
		*ret_fd = -1;
		return 0;
	}
	if (fsync(fd) < 0) {
		int code = errno;

		close(fd);
		return error_set(err, code,
				 "%s cannot keep what was written to it: %s; give it up with "
				 "losetup -d %s",
				 loop->device, strerror(code), loop->device);
	}
	*ret_fd = fd;
	return 0;
}

/* With others still looking at the device, the kernel detaches it after them. */
static int await_end(const struct loop *loop, struct error *err)
{
	for (int waited = 0; is_attached(loop); waited += 20) {
		if (waited >= DETACH_WAIT_MS)
			return error_set(
			    err, EBUSY,
			    "%s goes once the program that has it open ends; 'fuser -v "
			    "%s' shows which",
			    loop->device, loop->device);
		poll(NULL, 0, 20);
	}
	return 0;
}

static int release(const struct loop *loop, int fd, struct error *err)
{
	int code = fd < 0 || ioctl(fd, LOOP_CLR_FD, 0) == 0 ? 0 : errno;

	cleanup_close(&fd);
	if (code && code != ENXIO)
		return error_set(err, code, "cannot detach %s: %s; see 'dmesg' for the reason",
				 loop->device, strerror(code));
	return await_end(loop, err);
}

int loop_detach(const struct loop *loops, size_t count, struct error *err)
{
	CLEANUP_FREE int *fds = calloc(count, sizeof(*fds));
	size_t held = 0;
	int rc = 0;

	if (!fds)
		return error_set(err, ENOMEM, "not enough memory; end other programs first");
	while (!rc && held < count) {
		rc = hold(&loops[held], &fds[held], err);
		held += rc == 0;
	}
	for (size_t i = 0; i < held; i++) {
		if (rc)
			cleanup_close(&fds[i]);
		else
			rc = release(&loops[i], fds[i], err);
	}
	return rc;
}
