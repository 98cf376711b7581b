/* Finds dead and hidden mounts, and what stands on them, from the top downwards. */
#include "ctl/remains.h"

#include "ctl/loop.h"

#include "remapfs/cleanup.h"
#include "remapfs/control.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A stack of devices, or a chain of links, that is deeper is not followed. */
#define DEPTH_MAX 8
/* How long the kernel answers from what a daemon said that has ended since. */
#define REMEMBERED_MS 1100
/* How long the kernel may take from the end of a mount's path to the end of the mount. */
#define UNMOUNT_MS 500
#define ASK_EACH_MS 50

/* ---- steps ------------------------------------------------------------------------- */

struct steps {
	char *text;
	size_t size, used;
};

static void add_step(struct steps *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As a shell reads it back as one word: whoever made the folder chose its name. */
static const char *word_of(const char *path, char to[2 * PATH_MAX])
{
	char *at = to;

	for (; *path && at < to + 2 * PATH_MAX - 2; path++) {
		if (!isalnum((unsigned char)*path) && !strchr("/._-+=:,@%", *path) &&
		    !(*path & 0x80))
			*at++ = '\\';
		*at++ = *path;
	}
	*at = 0;
	return to;
}

/* A list that is too long ends with the last step that fits: the next try has the rest. */
static void add_step(struct steps *s, const char *format, ...)
{
	char step[PATH_MAX + 64];
	va_list args;
	int n;

	va_start(args, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the analyser does not see va_start */
	vsnprintf(step, sizeof(step), format, args);
	va_end(args);
	if (strstr(s->text, step))
		return;
	n = snprintf(s->text + s->used, s->size - s->used, "%s'%s'", s->used ? ", " : "", step);
	if (s->used + (size_t)n < s->size)
		s->used += (size_t)n;
	s->text[s->used] = 0;
}

/* ---- what stands on a device --------------------------------------------------------- */

struct mounts_of {
	dev_t device;
	char point[16][256]; /* the oldest first */
	size_t count;
};

/* btrfs has a number of its own for what it mounts: its source names the device. */
static bool is_on(const struct mount *mount, dev_t device)
{
	struct stat st;

	if (mount->device == device)
		return true;
	return major(mount->device) == 0 && !mount_is_strangers(mount) &&
	       strncmp(mount->source, "/dev/", 5) == 0 && stat(mount->source, &st) == 0 &&
	       S_ISBLK(st.st_mode) && st.st_rdev == device;
}

static bool take_mount(const struct mount *mount, void *context)
{
	struct mounts_of *m = context;

	if (is_on(mount, m->device) && m->count < sizeof(m->point) / sizeof(*m->point))
		snprintf(m->point[m->count++], sizeof(*m->point), "%s", mount->point);
	return false;
}

static bool read_word(const char *folder, const char *name, char *to, size_t size)
{
	char path[PATH_MAX];
	CLEANUP_CLOSE int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, to, size - 1);
	to[n < 0 ? 0 : n] = 0;
	to[strcspn(to, "\n")] = 0;
	return n > 0;
}

static bool is_swap(const char *device)
{
	FILE *swaps = fopen("/proc/swaps", "re");
	char line[512], name[256];
	bool found = false;

	while (swaps && !found && fgets(line, sizeof(line), swaps))
		found = sscanf(line, "%255s", name) == 1 && strcmp(name, device) == 0;
	if (swaps)
		fclose(swaps);
	return found;
}

static void free_device(struct steps *s, const char *name, int depth);

/* What is built on it: its partitions need no step of their own. */
static void free_above(struct steps *s, const char *name, int depth)
{
	char folder[300], above[300], dm[128];
	struct dirent *entry;
	size_t length = strlen(name);
	DIR *directory;

	snprintf(folder, sizeof(folder), "/sys/class/block/%s", name);
	directory = opendir(folder);
	while (directory && (entry = readdir(directory)))
		if (strncmp(entry->d_name, name, length) == 0 && entry->d_name[length])
			free_device(s, entry->d_name, depth);
	if (directory)
		closedir(directory);
	strcat(folder, "/holders");
	directory = opendir(folder);
	while (directory && (entry = readdir(directory))) {
		if (entry->d_name[0] == '.')
			continue;
		free_device(s, entry->d_name, depth);
		snprintf(above, sizeof(above), "/sys/class/block/%.250s", entry->d_name);
		if (read_word(above, "dm/name", dm, sizeof(dm)))
			add_step(s, "dmsetup remove %s", dm);
		else if (strncmp(entry->d_name, "md", 2) == 0)
			add_step(s, "mdadm --stop /dev/%s", entry->d_name);
	}
	if (directory)
		closedir(directory);
}

static void free_device(struct steps *s, const char *name, int depth)
{
	char folder[300], number[32], device[300];
	unsigned major_number, minor_number;
	struct mounts_of m = {.count = 0};
	char word[2 * PATH_MAX];

	if (depth > DEPTH_MAX)
		return;
	free_above(s, name, depth + 1);
	snprintf(device, sizeof(device), "/dev/%.250s", name);
	snprintf(folder, sizeof(folder), "/sys/class/block/%.250s", name);
	if (read_word(folder, "dev", number, sizeof(number)) &&
	    sscanf(number, "%u:%u", &major_number, &minor_number) == 2) {
		m.device = makedev(major_number, minor_number);
		mounts_find(take_mount, &m);
	}
	while (m.count)
		add_step(s, "umount %s", word_of(m.point[--m.count], word));
	if (is_swap(device))
		add_step(s, "swapoff %s", device);
}

/* devices: as hidden_loops names them. */
static void free_loops(struct steps *s, const char *devices)
{
	CLEANUP_FREE char *copy = strdup(devices);
	char *rest = copy, *device;

	while (copy && (device = strsep(&rest, " ")))
		if (*device)
			free_device(s, device + strlen("/dev/"), 0);
	if (*devices)
		add_step(s, "losetup -d %s", devices);
}

static void list_loops(const struct loop *loops, size_t count, char *to, size_t size)
{
	size_t used = 0;

	*to = 0;
	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(to + used, size - used, "%s%s", used ? " " : "",
					 loops[i].device);
}

/* The loop devices whose backing file has this path. */
static void loops_of(const char *image, char *to, size_t size)
{
	CLEANUP_FREE struct loop *loops = NULL;
	size_t count = 0;

	if (loop_find(image, &loops, &count, NULL))
		count = 0;
	list_loops(loops, count, to, size);
}

/* ---- dead ------------------------------------------------------------------------------ */

#define ANSWER_MS 1000
#define LOOK_EACH_MS 5

/*
 * In a process of its own, which is left behind if it gets no answer: between two workers
 * nobody answers, for as long as the next one waits for its database. -ETIMEDOUT.
 */
static int ask_statfs(const char *point)
{
	const struct timespec pause = {.tv_nsec = LOOK_EACH_MS * 1000000};
	pid_t child = fork();
	struct statfs fs;
	int status;

	if (child == 0)
		_exit(statfs(point, &fs) < 0 ? errno & 0xff : 0);
	if (child < 0)
		return -errno;
	for (int waited = 0; waited < ANSWER_MS; waited += LOOK_EACH_MS) {
		if (waitpid(child, &status, WNOHANG) == child)
			return WIFEXITED(status) ? -WEXITSTATUS(status) : -EINTR;
		nanosleep(&pause, NULL);
	}
	kill(child, SIGKILL);
	return -ETIMEDOUT;
}

/* statfs is never answered from a cache; one that is asked as the last daemon ends is aborted. */
static bool is_dead(const struct mount *mount)
{
	int rc = strcmp(mount->type, "fuse.remapfs") == 0 ? ask_statfs(mount->point) : 0;

	return rc == -ENOTCONN || rc == -ECONNABORTED;
}

static bool note_dead(const struct mount *mount, struct dead_mount *ret)
{
	snprintf(ret->point, sizeof(ret->point), "%s", mount->point);
	return (size_t)snprintf(ret->image, sizeof(ret->image), "%s/disk.img", mount->point) <
	       sizeof(ret->image);
}

static char *joined(const char *folder, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s", strcmp(folder, "/") ? folder : "", name) < 0 ? NULL : path;
}

/*
 * Absolute, and its last part not looked at: realpath(3) would ask the mount. NULL: there
 * is no such path.
 */
static char *place_of(const char *path, int depth)
{
	CLEANUP_FREE char *copy = strdup(path), *folder = NULL, *link = NULL;
	size_t length = strlen(path);
	char target[PATH_MAX], *slash;
	ssize_t n;

	while (copy && length > 1 && copy[length - 1] == '/')
		copy[--length] = 0;
	n = copy ? readlink(copy, target, sizeof(target) - 1) : -1;
	target[n < 0 ? 0 : n] = 0;
	slash = copy ? strrchr(copy, '/') : NULL;
	if (slash)
		*slash = 0;
	folder = realpath(!slash ? "." : *copy ? copy : "/", NULL);
	if (!folder || n <= 0 || !depth)
		return folder ? joined(folder, slash ? slash + 1 : copy) : NULL;
	link = target[0] == '/' ? strdup(target) : joined(folder, target);
	return link ? place_of(link, depth - 1) : NULL;
}

struct search {
	const char *what;
	struct dead_mount *ret;
};

static bool is_dead_at(const struct mount *mount, void *context)
{
	const struct search *s = context;

	size_t length = strlen(mount->point);

	return strncmp(mount->point, s->what, length) == 0 &&
	       (!s->what[length] || s->what[length] == '/') && is_dead(mount) &&
	       note_dead(mount, s->ret);
}

bool dead_mount_at(const char *path, struct dead_mount *ret)
{
	CLEANUP_FREE char *place = place_of(path, DEPTH_MAX);
	struct search s = {place, ret};

	return place && mounts_find(is_dead_at, &s);
}

/* Anybody can mount a file system that calls itself so. */
static bool may_be_of(const struct mount *mount, const char *volume)
{
	uid_t owner;
	struct stat st;

	if (!mount_is_strangers(mount))
		return true;
	return mounts_owner(mount->device, &owner) && stat(volume, &st) == 0 && st.st_uid == owner;
}

static bool is_dead_of(const struct mount *mount, void *context)
{
	const struct search *s = context;
	char name[MOUNT_NAME_SIZE];
	bool ours = false;

	for (int by_mount = 0; !ours && by_mount < 2; by_mount++) {
		mounts_name(s->what, by_mount, name, sizeof(name));
		ours = strcmp(mount->source, name) == 0;
	}
	return ours && may_be_of(mount, s->what) && is_dead(mount) && note_dead(mount, s->ret);
}

bool dead_mount_of(const char *volume, struct dead_mount *ret)
{
	struct search s = {volume, ret};

	return mounts_find(is_dead_of, &s);
}

bool dead_mount_find(const char *path, struct dead_mount *ret)
{
	CLEANUP_FREE char *real = realpath(path, NULL);

	return dead_mount_at(path, ret) || (real && dead_mount_of(real, ret));
}

int dead_mount_explain(const struct dead_mount *dead, struct error *err)
{
	char devices[200], text[320] = "", word[2 * PATH_MAX];
	struct steps s = {text, sizeof(text), 0};

	loops_of(dead->image, devices, sizeof(devices));
	free_loops(&s, devices);
	add_step(&s, "fusermount3 -u %s", word_of(dead->point, word));
	return error_set(err, ENOTCONN, "the mount on %.150s is dead: all of remapfs has ended there; "
			 "%s, then mount anew", dead->point, text);
}

/* ---- hidden --------------------------------------------------------------------------------- */

static bool is_dead_loop(const struct loop *loop)
{
	dev_t file_system;
	ino_t inode;
	int rc = loop_ask(loop, &file_system, &inode);

	if (rc == 0) {
		poll(NULL, 0, REMEMBERED_MS);
		rc = loop_ask(loop, &file_system, &inode);
	}
	return rc == -ENOTCONN || rc == -ECONNABORTED;
}

/* A mount without a path is its own root. */
static void dead_loops(char *to, size_t size)
{
	CLEANUP_FREE struct loop *loops = NULL;
	size_t count = 0, dead = 0;

	if (loop_find("/disk.img", &loops, &count, NULL))
		count = 0;
	for (size_t i = 0; i < count; i++)
		if (is_dead_loop(&loops[i]))
			loops[dead++] = loops[i];
	list_loops(loops, dead, to, size);
}

void hidden_loops(dev_t file_system, char *to, size_t size)
{
	CLEANUP_FREE struct loop *loops = NULL;
	size_t count = 0;

	if (!file_system) {
		dead_loops(to, size);
		return;
	}
	if (loop_find_file(file_system, 0, &loops, &count, NULL))
		count = 0;
	list_loops(loops, count, to, size);
}

static bool is_device(const struct mount *mount, void *context)
{
	return mount->device == *(const dev_t *)context;
}

/* Whether others than the daemon itself are in its mount namespace. Unknown: yes. */
static bool namespace_is_used(pid_t supervisor, pid_t worker)
{
	char path[320];
	struct dirent *entry;
	struct stat here, there;
	bool used = false;
	DIR *processes = opendir("/proc");

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)supervisor);
	if (!processes || stat(path, &here) < 0)
		used = true;
	while (!used && (entry = readdir(processes))) {
		pid_t pid = (pid_t)atoi(entry->d_name);

		snprintf(path, sizeof(path), "/proc/%.200s/ns/mnt", entry->d_name);
		used = pid > 0 && pid != supervisor && pid != worker && stat(path, &there) == 0 &&
		       here.st_ino == there.st_ino && here.st_dev == there.st_dev;
	}
	if (processes)
		closedir(processes);
	return used;
}

static const char *text_of(const json_t *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer, key));

	return text ? text : "";
}

/* "the mount on /mnt/disk"; a stranger's is not always to be seen: see peer.h. */
static const char *place_text(const json_t *answer)
{
	const char *point = text_of(answer, "mountpoint");

	return *point ? point : "a folder that cannot be seen from here";
}

/* No mount of it is in any namespace: its last user ends it. */
static void explain_detached(const json_t *answer, dev_t device, int pid, struct error *err)
{
	char devices[200], text[240] = "";
	struct steps s = {text, sizeof(text), 0};

	hidden_loops(device, devices, sizeof(devices));
	free_loops(&s, devices);
	if (*devices)
		error_set(err, EBUSY, "the mount on %.150s was unmounted while in use, and is out of "
			  "sight; %s, and process %d ends by itself", place_text(answer),
			  text, pid);
	else
		error_set(err, EBUSY, "the mount on %.150s was unmounted while in use, and is out of "
			  "sight; end the program that has its disk.img open, and process %d ends by "
			  "itself, or end that with two times 'kill %d'",
			  place_text(answer), pid, pid);
}

/* It is in the mount namespace of the daemon, and to be unmounted there. */
static void explain_elsewhere(const json_t *answer, int pid, bool used, struct error *err)
{
	char devices[200], text[240] = "", word[2 * PATH_MAX];
	struct steps s = {text, sizeof(text), 0};

	hidden_loops(mount_number(answer), devices, sizeof(devices));
	free_loops(&s, devices);
	add_step(&s, "nsenter -t %d -m umount %s", pid, word_of(place_text(answer), word));
	error_set(err, EBUSY, "the mount on %.150s is in %s; %s, and process %d ends by itself",
		  place_text(answer), used ? "another mount namespace"
		  : "a mount namespace that nobody uses any more", text, pid);
}

dev_t mount_number(const json_t *answer)
{
	unsigned major_number, minor_number;

	if (sscanf(text_of(answer, "device"), "%u:%u", &major_number, &minor_number) != 2)
		return 0;
	return makedev(major_number, minor_number);
}

/* A mount that has just been unmounted has no path either, and its daemon may not know yet. */
static bool is_ending(const char *volume, const json_t *answer)
{
	bool ending = json_is_true(json_object_get(answer, "ending"));

	for (unsigned ms = 0; !ending && ms < UNMOUNT_MS; ms += ASK_EACH_MS) {
		json_t *again = NULL;
		struct error err;
		int rc;

		poll(NULL, 0, ASK_EACH_MS);
		rc = control_ask(volume, "status", &again, &err);
		ending = rc == -ENOENT || rc == -ECONNREFUSED ||
			 json_is_true(json_object_get(again, "ending"));
		json_decref(again);
	}
	return ending;
}

enum mount_reach mount_reach(const char *volume, const json_t *answer, struct error *err)
{
	int pid = (int)json_integer_value(json_object_get(answer, "pid"));
	int worker = (int)json_integer_value(json_object_get(answer, "worker_pid"));
	dev_t device = mount_number(answer);
	bool used;

	if (!device || mounts_find(is_device, &device) || !mounts_can_see(pid))
		return MOUNT_HERE;
	if (!mounts_find_of(pid, is_device, &device)) {
		if (is_ending(volume, answer))
			return MOUNT_HERE;
		explain_detached(answer, device, pid, err);
		return MOUNT_HIDDEN;
	}
	used = namespace_is_used(pid, worker);
	explain_elsewhere(answer, pid, used, err);
	return used ? MOUNT_ELSEWHERE : MOUNT_HIDDEN;
}
