/*
 * Makes a loop device of a disk.img. The file is handed to the kernel as a descriptor, the
 * one that was looked at: between that and the loop device nobody can put another file
 * under its path.
 */
#include "ctl/loop.h"

#include "ctl/mounts.h"

#include "remapfs/cleanup.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* How often the first free device may turn out to have been taken meanwhile. */
#define FREE_TRIES 16
/* How long udev may take to make the file of a device. */
#define NODE_WAIT_MS 2000

/* FUSE lets nobody into a user's mount but this user, unless it was mounted so. */
static bool keeps_root_out(const struct mount *mount, void *context)
{
	const char *image = *(const char *const *)context;
	size_t length = strlen(mount->point);

	return strncmp(image, mount->point, length) == 0 &&
	       strcmp(image + length, "/disk.img") == 0 && strcmp(mount->type, "fuse.remapfs") == 0 &&
	       !mount_has(mount, "user_id=0") && !mount_has(mount, "allow_other");
}

static int explain(const char *path, const char *what, int code, struct error *err)
{
	const char *remedy = geteuid() ? "run this as root" : "see 'dmesg' for the kernel's reason";

	if (!geteuid() && (code == EPERM || code == EACCES))
		remedy = "root may not make loop devices here, as in a container: do it outside";
	if (code == ENOENT || code == ENXIO)
		remedy = "load the module with 'modprobe loop', or give the container the device";
	if (mounts_find(keeps_root_out, &path))
		remedy = geteuid() ? "root may not enter that mount either: add user_allow_other to "
				     "/etc/fuse.conf, mount again, and run this as root"
				   : "root may not enter the mount of a user: add user_allow_other to "
				     "/etc/fuse.conf, and mount again";
	return error_set(err, code, "cannot attach %.150s: %s: %s; %s", path, what, strerror(code),
			 remedy);
}

/* The file itself, by its magic link: no path is looked up again. */
static int open_file(int image, bool *ret_read_only)
{
	char link[40];
	int fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", image);
	fd = open(link, O_RDWR | O_CLOEXEC);
	*ret_read_only = fd < 0 && (errno == EROFS || errno == EACCES);
	if (*ret_read_only)
		fd = open(link, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_device(const char *device)
{
	for (int waited = 0;; waited += 20) {
		int fd = open(device, O_RDWR | O_CLOEXEC);

		if (fd >= 0 || errno != ENOENT || waited >= NODE_WAIT_MS)
			return fd < 0 ? -errno : fd;
		poll(NULL, 0, 20);
	}
}

/* *ret_fd holds it. -EBUSY: it is somebody's already. */
static int configure(const char *device, const struct loop_config *config, int *ret_fd)
{
	int fd = open_device(device);

	if (fd < 0)
		return fd;
	if (ioctl(fd, LOOP_CONFIGURE, config) < 0) {
		int code = errno;

		close(fd);
		return -code;
	}
	*ret_fd = fd;
	return 0;
}

static int configure_free(const struct loop_config *config, char *device, size_t size, int *ret_fd)
{
	CLEANUP_CLOSE int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int rc = control < 0 ? -errno : -EBUSY;

	for (int i = 0; rc == -EBUSY && i < FREE_TRIES; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0)
			return -errno;
		snprintf(device, size, "/dev/loop%d", number);
		rc = configure(device, config, ret_fd);
	}
	return rc;
}

/* That the kernel took this file, and that its file system answers the loop device. */
static int check_file(int device, int file, const char *path, struct error *err)
{
	dev_t file_system;
	ino_t inode;
	struct stat st;

	if (loop_ask_descriptor(device, &file_system, &inode) == 0 && fstat(file, &st) == 0 &&
	    file_system == st.st_dev && inode == st.st_ino)
		return 0;
	return error_set(err, EIO, "cannot attach %.200s: the loop device does not have that file, or "
			 "nobody answers for it; try again", path);
}

/* The kernel leaves direct I/O off without a word where it refuses it. */
static int check_device(int fd, const struct loop *loop, const char *path, uint32_t sector_size,
			struct error *err)
{
	int size = 0;

	if (!loop_is_direct(loop))
		return error_set(err, EIO,
				 "the kernel refuses direct I/O on %.200s; write errors would come "
				 "too late, use a newer kernel",
				 path);
	if (ioctl(fd, BLKSSZGET, &size) < 0 || size != (int)sector_size)
		return error_set(err, EIO,
				 "%s has sectors of %d bytes instead of %" PRIu32
				 "; use a newer kernel",
				 loop->device, size, sector_size);
	return 0;
}

int loop_attach(int image, const char *path, uint32_t sector_size, const char *device, bool partscan,
		struct loop *ret, struct error *err)
{
	bool read_only;
	CLEANUP_CLOSE int file = open_file(image, &read_only);
	CLEANUP_CLOSE int fd = -1;
	char free_device[40] = "/dev/loop-control";
	struct loop_config config = {.fd = (uint32_t)file, .block_size = sector_size};
	struct loop loop;
	int rc;

	if (file < 0)
		return explain(path, "disk.img", -file, err);
	config.info.lo_flags = LO_FLAGS_DIRECT_IO | (partscan ? LO_FLAGS_PARTSCAN : 0) |
			       (read_only ? LO_FLAGS_READ_ONLY : 0);
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", path);
	rc = device ? configure(device, &config, &fd)
		    : configure_free(&config, free_device, sizeof(free_device), &fd);
	device = device ? device : free_device;
	if (rc < 0)
		return explain(path, device, -rc, err);
	rc = check_file(fd, file, path, err);
	rc = rc < 0 ? rc : loop_look(device, &loop, err);
	rc = rc < 0 ? rc : check_device(fd, &loop, path, sector_size, err);
	if (rc < 0) {
		ioctl(fd, LOOP_CLR_FD, 0);
		return rc;
	}
	*ret = loop;
	return 0;
}

/* ---- partitions ------------------------------------------------------------- */

/* An administrator's programs are not on everybody's PATH. */
static int start(const char *const *argv, pid_t *ret_child)
{
	/* posix_spawn does not write to the words; its prototype is older than const. */
	char *const *words = (char *const *)(uintptr_t)argv;
	static const char *const folders[] = {"", "/usr/sbin/", "/sbin/"};
	posix_spawn_file_actions_t actions;
	char path[64];
	int code = ENOENT;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	for (size_t i = 0; i < 3 && code == ENOENT; i++) {
		snprintf(path, sizeof(path), "%s%s", folders[i], argv[0]);
		code = posix_spawnp(ret_child, path, &actions, NULL, words, environ);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -code;
}

/* Not every kernel reads every partition table, but partx does. */
int loop_find_partitions(const struct loop *loop, bool *ret_found, struct error *err)
{
	const char *const argv[] = {"partx", "--update", loop->device, NULL};
	pid_t child;
	int status = -1, rc = start(argv, &child);

	if (rc)
		return error_set(err, -rc, "cannot run %s: %s; install util-linux", argv[0],
				 strerror(-rc));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	*ret_found = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	return 0;
}
