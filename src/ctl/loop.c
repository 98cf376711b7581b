/* Loop devices, as sysfs and the kernel have them: found by their backing file, and detached. */
#include "ctl/loop.h"

#include "ctl/mounts.h"

#include "remapfs/cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

/* How long a device may be kept open by others (udev looks at it) after its end. */
#define DETACH_WAIT_MS 5000
/* How long a loop device may take to say what it is on: its daemon may be stopped. */
#define ASK_WAIT_MS 2000
/* How long whoever asked it may take to end. */
#define ASK_END_MS 500
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

/* ---- what it is on ---------------------------------------------------------------- */

struct backing {
	int rc;
	dev_t device;
	ino_t inode;
};

/* new_encode_dev() of the kernel. */
static dev_t decode_device(uint64_t number)
{
	return makedev((unsigned)(number >> 8 & 0xfff),
		       (unsigned)((number & 0xff) | (number >> 12 & 0xfff00)));
}

int loop_ask_descriptor(int fd, dev_t *ret_file_system, ino_t *ret_inode)
{
	struct loop_info64 info = {0};

	if (ioctl(fd, LOOP_GET_STATUS64, &info) < 0)
		return -errno;
	*ret_file_system = decode_device(info.lo_device);
	*ret_inode = (ino_t)info.lo_inode;
	return 0;
}

static struct backing ask_device(const char *device)
{
	CLEANUP_CLOSE int fd = open(device, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct backing backing = {0};

	backing.rc = fd < 0 ? -errno : loop_ask_descriptor(fd, &backing.device, &backing.inode);
	return backing;
}

/* One that waits for a file system that took its question and never answers cannot be killed. */
static void end_child(pid_t child)
{
	kill(child, SIGKILL);
	for (int waited = 0; waitpid(child, NULL, WNOHANG) == 0 && waited < ASK_END_MS; waited += 5)
		poll(NULL, 0, 5);
}

/* By a process that may have to be killed. */
int loop_ask(const struct loop *loop, dev_t *ret_file_system, ino_t *ret_inode)
{
	struct backing answer = {.rc = -ETIMEDOUT};
	struct pollfd ready = {.events = POLLIN};
	pid_t child;
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child == 0) {
		answer = ask_device(loop->device);
		_exit(write(fds[1], &answer, sizeof(answer)) != sizeof(answer));
	}
	close(fds[1]);
	ready.fd = fds[0];
	if (child < 0 || poll(&ready, 1, ASK_WAIT_MS) <= 0 ||
	    read(fds[0], &answer, sizeof(answer)) != sizeof(answer))
		answer.rc = -ETIMEDOUT;
	close(fds[0]);
	if (child > 0)
		end_child(child);
	*ret_file_system = answer.device;
	*ret_inode = answer.inode;
	return answer.rc;
}

/* ---- those of one file -------------------------------------------------------------- */

/* The kernel calls the file of a dead mount deleted once somebody has asked for its name. */
static bool is_backed_by(const struct loop *loop, const char *image)
{
	size_t length = strlen(image);
	const char *rest = loop->backing + length;

	return strncmp(loop->backing, image, length) == 0 && (!*rest || strcmp(rest, " (deleted)") == 0);
}

bool loop_is_disk_image(const struct loop *loop)
{
	const char *name = strrchr(loop->backing, '/');

	return name && (strcmp(name, "/disk.img") == 0 || strcmp(name, "/disk.img (deleted)") == 0);
}

static bool is_disk_image(const struct loop *loop, const char *unused)
{
	(void)unused;
	return loop_is_disk_image(loop);
}

static int find_loops(bool (*is_it)(const struct loop *, const char *), const char *image,
		      struct loop **ret, size_t *ret_count, struct error *err)
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
		if (look(entry->d_name, &loop) && is_it(&loop, image))
			rc = add_loop(&loops, &count, &loop);
	closedir(directory);
	if (rc)
		return error_set(err, -rc, "not enough memory; end other programs first");
	*ret = STEAL(loops);
	*ret_count = count;
	return 0;
}

int loop_find(const char *image, struct loop **ret, size_t *ret_count, struct error *err)
{
	return find_loops(is_backed_by, image, ret, ret_count, err);
}

int loop_find_file(dev_t file_system, ino_t inode, struct loop **ret, size_t *ret_count,
		   struct error *err)
{
	CLEANUP_FREE struct loop *loops = NULL;
	size_t count, found = 0;
	int rc = find_loops(is_disk_image, NULL, &loops, &count, err);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		dev_t device = 0;
		ino_t number = 0;

		if (loop_ask(&loops[i], &device, &number) == 0 && device == file_system && (!inode || number == inode))
			loops[found++] = loops[i];
	}
	if (rc < 0)
		return rc;
	*ret = STEAL(loops);
	*ret_count = found;
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

/* ---- detaching -------------------------------------------------------------- */

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
