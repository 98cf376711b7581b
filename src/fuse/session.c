#include "fuse/session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ctl/mounts.h"
#include "fuse/serve.h"
#include "remapfs/cleanup.h"
#include "remapfs/text.h"

struct session {
	struct fuse_session *fuse;
	char *mountpoint;           /* of who mounted it; otherwise NULL */
	uint64_t mount;             /* its number; 0: not known */
	struct service *service;
};

int session_start(struct session *s, unsigned threads, struct error *err)
{
	return service_start(s->fuse, threads, &s->service, err);
}

/* ---- the end -------------------------------------------------------------------------------- */

void session_block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Past a limit on file sizes (ulimit -f) a write fails with EFBIG instead. */
	signal(SIGXFSZ, SIG_IGN);
}

/* The terminal's signals go to all of its processes; they are the supervisor's. */
static int signal_source(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Number of the mount on top at a path, without asking who serves it; 0: not known. */
static uint64_t mount_at(const char *path)
{
	struct statx stx;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID, &stx) < 0 ||
	    !(stx.stx_mask & STATX_MNT_ID))
		return 0;
	return stx.stx_mnt_id;
}

static bool has_number(const struct mount *mount, void *number)
{
	return mount->id == *(const uint64_t *)number;
}

static bool is_mounted(uint64_t mount)
{
	return mounts_find(has_number, &mount);
}

/* Otherwise the path leads to something else, which is not ours to unmount. */
static bool is_on_top(const struct session *s)
{
	return !s->mount || mount_at(s->mountpoint) == s->mount;
}

bool session_is_gone(const struct session *s)
{
	struct pollfd device = {.fd = session_fd(s)};

	return poll(&device, 1, 0) > 0 && (device.revents & POLLERR);
}

bool session_is_hidden(const struct session *s)
{
	return !is_on_top(s) && is_mounted(s->mount);
}

void session_unmount_lazily(const struct session *s)
{
	pid_t child;

	if (!is_on_top(s))
		return;
	if (umount2(s->mountpoint, MNT_DETACH) == 0 || errno == EINVAL)
		return;
	child = fork();
	if (child == 0) {
		execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", s->mountpoint, NULL);
		_exit(127);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

bool session_pause(int fd, unsigned ms, enum session_end *ret)
{
	CLEANUP_CLOSE int signals = signal_source();
	struct pollfd polls[] = {{.fd = fd}, {.fd = signals, .events = POLLIN}};

	if (poll(polls, 2, (int)ms) <= 0)
		return true;
	*ret = polls[0].revents ? SESSION_GONE : SESSION_ASKED;
	return false;
}

enum session_end session_wait(struct session *s)
{
	CLEANUP_CLOSE int signals = signal_source();
	struct pollfd polls[] = {{.fd = service_end_fd(s->service), .events = POLLIN},
				 {.fd = signals, .events = POLLIN}};
	bool asked = false, broken;

	while (!(polls[0].revents & POLLIN) && !asked) {
		struct signalfd_siginfo info;

		if (poll(polls, 2, -1) > 0 && (polls[1].revents & POLLIN))
			asked = read(signals, &info, sizeof(info)) == sizeof(info);
	}
	broken = service_broken(s->service);
	service_stop(STEAL(s->service));
	return asked ? SESSION_ASKED : broken ? SESSION_BROKEN : SESSION_GONE;
}

void session_end(struct session *s)
{
	if (!s)
		return;
	service_stop(s->service);
	if (s->fuse) {
		/* Only who mounted unmounts, and only that; what is gone is only forgotten. */
		if (s->mountpoint && (is_on_top(s) || session_is_gone(s)))
			fuse_session_unmount(s->fuse);
		fuse_session_destroy(s->fuse);
	}
	free(s->mountpoint);
	free(s);
}

/* ---- mounting -------------------------------------------------------------------------------- */

static char last_words[400]; /* what libfuse said last, for our one line */

__attribute__((format(printf, 2, 0))) static void hear(enum fuse_log_level level,
						       const char *format, va_list args)
{
	char line[sizeof(last_words)];

	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = 0;
	if (level >= FUSE_LOG_DEBUG)
		fprintf(stderr, "%s\n", text_clean(line));
	else
		snprintf(last_words, sizeof(last_words), "%s", line);
}

static int new_session(struct session *s, struct image *image, const struct options *o)
{
	char name[MOUNT_NAME_SIZE], list[1536];
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	int rc;

	mounts_name(o->volume, o->helper, name, sizeof(name));
	snprintf(list, sizeof(list), "-ofsname=%s,subtype=remapfs,default_permissions%s%s%s%s",
		 name, o->read_only ? ",ro" : "", o->allow_other ? ",allow_other" : "",
		 o->allow_root ? ",allow_root" : "", o->mount);
	rc = fuse_opt_add_arg(&args, "remapfs") | fuse_opt_add_arg(&args, list);
	if (o->debug)
		rc |= fuse_opt_add_arg(&args, "-d");
	if (rc == 0)
		s->fuse = fuse_session_new(&args, &image_ops, sizeof(image_ops), image);
	fuse_opt_free_args(&args);
	return s->fuse ? 0 : -EINVAL;
}

/* Without a right that root has outside of a container. */
static bool lacks_right(unsigned right)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	return syscall(SYS_capget, &header, data) == 0 &&
	       !(data[CAP_TO_INDEX(right)].effective & CAP_TO_MASK(right));
}

/* As fusermount3 asks: a folder of the user, which nobody else may replace. */
static bool is_own(const char *mountpoint)
{
	struct stat st;

	return stat(mountpoint, &st) == 0 && access(mountpoint, W_OK) == 0 &&
	       (!(st.st_mode & S_ISVTX) || st.st_uid == getuid());
}

static const char *mount_remedy(const char *mountpoint)
{
	if (access("/dev/fuse", F_OK) < 0)
		return "there is no /dev/fuse: load the module with 'modprobe fuse', or give the "
		       "container the device";
	if (access("/dev/fuse", R_OK | W_OK) < 0)
		return "/dev/fuse may not be opened: 'chmod 666 /dev/fuse', or allow the container to "
		       "use it";
	if (geteuid() == 0)
		return lacks_right(CAP_SYS_ADMIN)
		       ? "root lacks CAP_SYS_ADMIN here, as in a container: run it with "
			 "--cap-add SYS_ADMIN, or outside"
		       : "root may not mount here: a security module forbids it, or this is a user "
			 "namespace without mounts of its own ('unshare --mount' makes them)";
	if (!is_own(mountpoint))
		return "give a folder that is yours, and that you may write";
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		return "fusermount3 may not gain the rights it needs (no_new_privs is set): run it "
		       "outside of what sets that, or as root";
	return "check the mount options, and that fusermount3 is installed and set-user-ID root";
}

static int cannot_mount(struct session *s, const struct options *o, struct error *err)
{
	error_set(err, EIO, "cannot mount at '%s': %s; %s", o->mountpoint,
		  last_words[0] ? last_words : "FUSE refused it", mount_remedy(o->mountpoint));
	if (s && s->fuse)
		fuse_session_destroy(s->fuse);
	if (s)
		s->fuse = NULL;
	session_end(s);
	return -EIO;
}

static struct session *session_new(void)
{
	fuse_set_log_func(hear);
	return calloc(1, sizeof(struct session));
}

/*
 * By this number a loop device names the file system of its file, which outlives every
 * path. The workers inherit it: later the mount may be out of sight.
 */
static bool note_device(const struct mount *mount, void *context)
{
	char number[32];

	if (strcmp(mount->point, context) == 0 && strcmp(mount->type, "fuse.remapfs") == 0) {
		snprintf(number, sizeof(number), "%u:%u", major(mount->device),
			 minor(mount->device));
		setenv(SESSION_DEVICE, number, 1);
	}
	return false;
}

/* What no worker has a part in is true for all of them. */
static int read_init(const struct session *s, struct supervision *own, struct error *err)
{
	const size_t size = IMAGE_MAX_IO + 4096; /* the kernel insists on room for any request */
	CLEANUP_FREE char *request = malloc(size);
	ssize_t n = request ? read(session_fd(s), request, size) : -1;

	if (n < 0)
		return error_set(err, errno, "cannot read the first request of the mount: %s; mount anew",
				 strerror(errno));
	if (n > INIT_BYTES_MAX)
		return error_set(err, EPROTO, "the first request of the mount has %zd bytes, which this "
				 "version does not know; install a newer one", n);
	memcpy(own->init, request, (size_t)n);
	own->init_bytes = (uint32_t)n;
	return 0;
}

int session_mount(const struct options *options, struct supervision *own, struct session **ret,
		  struct error *err)
{
	struct session *s = session_new();

	if (!s || !(s->mountpoint = strdup(options->mountpoint)) ||
	    new_session(s, NULL, options) < 0 || fuse_session_mount(s->fuse, s->mountpoint) < 0)
		return cannot_mount(s, options, err);
	s->mount = mount_at(s->mountpoint);
	unsetenv(SESSION_DEVICE);
	mounts_find(note_device, s->mountpoint);
	if (read_init(s, own, err) < 0) {
		session_end(s);
		return -EIO;
	}
	*ret = s;
	return 0;
}

int session_fd(const struct session *s)
{
	return fuse_session_fd(s->fuse);
}

/* ---- adopting --------------------------------------------------------------------------------- */

#ifndef FUSE_HAS_RESEND /* Linux 6.9 */
#define FUSE_HAS_RESEND (1ULL << 39)
#define FUSE_NOTIFY_RESEND 7
#endif

bool session_can_resend(const struct supervision *own)
{
	const struct fuse_in_header *header = (const void *)own->init;
	const struct fuse_init_in *init = (const void *)(header + 1);

	/* flags2 came with the second half of the request. */
	if (own->init_bytes < sizeof(*header) + sizeof(*init))
		return false;
	return ((uint64_t)init->flags2 << 32 | init->flags) & FUSE_HAS_RESEND;
}

/* INIT is answered, unless it was; what the workers before did not answer comes again. */
static int take_over(struct session *s, struct supervision *shared, struct error *err)
{
	struct fuse_out_header resend = {.len = sizeof(resend), .error = FUSE_NOTIFY_RESEND};
	struct fuse_buf init = {.mem = shared->init, .size = shared->init_bytes};

	fuse_session_process_buf(s->fuse, &init);
	if (shared->former_end != FORMER_DIED ||
	    write(session_fd(s), &resend, sizeof(resend)) == sizeof(resend))
		return 0;
	return error_set(err, errno, "the kernel does not hand out the requests of the worker "
			 "before: %s; mount anew", strerror(errno));
}

int session_adopt(struct image *image, const struct options *options, int fd,
		  struct supervision *shared, struct session **ret, struct error *err)
{
	struct session *s = session_new();
	char path[32];
	int rc;

	snprintf(path, sizeof(path), "/dev/fd/%d", fd);
	if (!s || new_session(s, image, options) < 0 || fuse_session_mount(s->fuse, path) < 0)
		return cannot_mount(s, options, err);
	rc = take_over(s, shared, err);
	if (rc < 0)
		session_end(s);
	else
		*ret = s;
	return rc;
}
