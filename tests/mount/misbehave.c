/*
 * Loaded into remapfs (LD_PRELOAD), this makes a worker do once what it may not,
 * as one would that somebody has taken over: at a flush, when the file that
 * MISBEHAVE names is there. What it says is what is done; the file is removed
 * first, and the number of the call is left in MISBEHAVE.number. Where the call is
 * let pass, or fails, the same file then has what came of it.
 *
 * While the file is there that MISBEHAVE_HOLD names, who opens disk.img waits.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuse/supervision.h"

static int run_a_program(void)
{
	return execl("/bin/sh", "sh", "-c", ": >\"$MISBEHAVE.ran\"", NULL);
}

static int reach_the_network(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int end_the_supervisor(void)
{
	return kill(getppid(), SIGKILL);
}

static int open_another_file(void)
{
	return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

/* ---- what it was started with ------------------------------------------------------------- */

static int shared = -1, up = -1, memory; /* memory: of another process, to be read */

__attribute__((constructor)) static void note_descriptors(int argc, char **argv)
{
	const char *list = argc > 2 && strcmp(argv[1], "--worker") == 0 ? argv[2] : "", *at;

	at = strstr(list, "shared=");
	shared = at ? atoi(at + 7) : -1;
	at = strstr(list, ",up=");
	up = at ? atoi(at + 4) : -1;
}

/* ---- ways out ------------------------------------------------------------------------------ */

/* Of root, as systemd's or a container engine's. MISBEHAVE.root listens. */
static int connect_to_root(void)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(to.sun_path, sizeof(to.sun_path), "%.90s.root", getenv("MISBEHAVE"));
	return fd < 0 ? fd : connect(fd, (const struct sockaddr *)&to, sizeof(to));
}

/* Whatever of 0 to 2 is a terminal. */
static int type_into_the_terminal(void)
{
	int rc = -1;

	for (int fd = 0; rc < 0 && fd < 3; fd++)
		rc = ioctl(fd, TIOCSTI, "x");
	return rc;
}

static int signal_a_thread(void)
{
	return (int)syscall(SYS_tgkill, getppid(), getppid(), SIGWINCH);
}

static int have_it_signalled(void)
{
	return fcntl(up, F_SETOWN, getppid());
}

static int trace_the_supervisor(void)
{
	return (int)ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}

static int read_the_supervisor(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {&memory, 1};

	return (int)syscall(SYS_process_vm_readv, getppid(), &here, 1, &there, 1, 0);
}

static int queue_io(void)
{
	char params[120] = {0};

	return (int)syscall(SYS_io_uring_setup, 1, params);
}

static int enter_a_user_namespace(void)
{
	return (int)syscall(SYS_unshare, CLONE_NEWUSER);
}

static int dump_again(void)
{
	return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

/* For a friend outside, to whom it gives root's rights. */
static int make_a_program_of_root(void)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s.setuid", getenv("MISBEHAVE"));
	return open(path, O_RDWR | O_CREAT | O_CLOEXEC, 04755);
}

static int mark_a_program_of_root(void)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s.setuid", getenv("MISBEHAVE"));
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	return fd < 0 ? fd : fchmod(fd, 04755);
}

static int open_shadow(void)
{
	return open("/etc/shadow", O_RDWR | O_CLOEXEC);
}

static int open_from_what_is_open(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/../../root/etc/shadow", shared);
	return open(path, O_RDONLY | O_CLOEXEC) < 0 ? open("/proc/1/root/etc/shadow", O_RDONLY | O_CLOEXEC)
						    : 0;
}

static int cut_the_shared_memory(void)
{
	return ftruncate(shared, 0);
}

static int grow_the_shared_memory(void)
{
	return ftruncate(shared, 1 << 20);
}

/* ---- what is allowed, to do harm with ----------------------------------------------------------- */

/*
 * No end of a text, numbers beyond all bounds, and a line for systemd; but not what a
 * successor is to believe, such as that a flush failed. Then it dies.
 */
static int scribble(void)
{
	static const char line[] = "\nMAINPID=1\nSTOPPING=1\n";
	struct supervision *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, shared, 0);

	if (s == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < offsetof(struct supervision, flush_failed); i++)
		((char *)s)[i] = line[i % (sizeof(line) - 1)];
	atomic_store(&s->refused_call, LONG_MAX);
	return (int)syscall(SYS_tgkill, getpid(), getpid(), SIGKILL);
}

/* As one that has seen the end of the mount. */
static int leave_in_order(void)
{
	_exit(0);
}

static int pass_descriptors(void)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(2 * sizeof(int))}};
	struct iovec data = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const int passed[] = {STDERR_FILENO, shared};
	char answer[4096];

	memcpy(CMSG_DATA(&control.header), passed, sizeof(passed));
	for (int i = 0; i < 100; i++)
		if (sendmsg(up, &message, 0) < 0 || recv(up, answer, sizeof(answer), 0) < 0)
			return -1;
	return 0;
}

static int flood_the_log(void)
{
	static const char lines[] = "<3>\033[2Jflood\n<0>flood\nflood <3>\n";

	for (int i = 0; i < 20000; i++)
		if (write(STDERR_FILENO, lines, sizeof(lines) - 1) < 0 && errno != EAGAIN)
			return -1;
	return 0;
}

static const struct {
	const char *word;
	int (*act)(void);
	long number;
} acts[] = {
	{"connect", connect_to_root, SYS_socket},
	{"terminal", type_into_the_terminal, SYS_ioctl},
	{"tgkill", signal_a_thread, SYS_tgkill},
	{"setown", have_it_signalled, SYS_fcntl},
	{"ptrace", trace_the_supervisor, SYS_ptrace},
	{"memory", read_the_supervisor, SYS_process_vm_readv},
	{"io_uring", queue_io, SYS_io_uring_setup},
	{"namespace", enter_a_user_namespace, SYS_unshare},
	{"dumpable", dump_again, SYS_prctl},
	{"setuid", make_a_program_of_root, SYS_openat},
	{"mark-setuid", mark_a_program_of_root, SYS_fchmod},
	{"shadow", open_shadow, SYS_openat},
	{"proc-fd", open_from_what_is_open, SYS_openat},
	{"cut", cut_the_shared_memory, SYS_ftruncate},
	{"grow", grow_the_shared_memory, SYS_ftruncate},
	{"scribble", scribble, 0},
	{"leave", leave_in_order, 0},
	{"descriptors", pass_descriptors, SYS_sendmsg},
	{"flood", flood_the_log, 0},
	{"program", run_a_program, SYS_execve},
	{"network", reach_the_network, SYS_socket},
	{"kill", end_the_supervisor, SYS_kill},
	{"file", open_another_file, SYS_openat},
};

__attribute__((format(printf, 3, 4)))
static void leave(const char *path, const char *suffix, const char *format, ...)
{
	char name[4096];
	va_list args;
	FILE *file;

	snprintf(name, sizeof(name), "%s%s", path, suffix);
	file = fopen(name, "we");
	if (!file)
		return;
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	fclose(file);
}

static void act(const char *word, const char *path)
{
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (strcmp(word, acts[i].word) != 0)
			continue;
		leave(path, ".number", "%ld\n", acts[i].number);
		leave(path, "", "%s: %s\n", word, strerror(acts[i].act() < 0 ? errno : 0));
	}
}

static void misbehave(void)
{
	const char *path = getenv("MISBEHAVE");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	char word[32] = "";
	ssize_t n;

	if (fd < 0)
		return;
	n = read(fd, word, sizeof(word) - 1);
	close(fd);
	/* One thread alone, and not what is there to be told. */
	if (n > 0 && !strchr(word, ':') && unlink(path) == 0)
		act(word, path);
}

int fsync(int fd)
{
	misbehave();
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	misbehave();
	return (int)syscall(SYS_fdatasync, fd);
}

static int open_or_wait(const char *path, int flags, mode_t mode)
{
	const char *hold = getenv("MISBEHAVE_HOLD"), *name = strrchr(path, '/');

	while (hold && name && strcmp(name, "/disk.img") == 0 && access(hold, F_OK) == 0)
		usleep(20000);
	return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list args;

	if (flags & O_CREAT) {
		va_start(args, flags);
		mode = (mode_t)va_arg(args, unsigned);
		va_end(args);
	}
	return open_or_wait(path, flags, mode);
}

/* What the compiler makes of a call without mode. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags)
{
	return open_or_wait(path, flags, 0);
}
