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
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static const struct {
	const char *word;
	int (*act)(void);
	long number;
} acts[] = {
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
