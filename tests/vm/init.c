/*
 * Process 1 of the virtual machine: makes a root of the host's, read-only below
 * a tmpfs, with what the tests need mounted, runs the script VM_JOB (from the
 * kernel command line) in it, and ends the machine with its exit code.
 *
 * In C, and with its modules in the initial RAM disk, since each program that
 * is started here takes as long as all of this.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define DEBUG_EXIT 0xf4 /* the port of QEMU's isa-debug-exit */

/* The machine restarts, which QEMU is told to take for its end. */
static void die(const char *what)
{
	perror(what);
	sync();
	reboot(RB_AUTOBOOT);
	_exit(1);
}

static void load(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
		die(path);
	close(fd);
}

static void load_modules(void)
{
	FILE *list = fopen("/modules", "re");
	char path[256];

	if (!list)
		die("/modules");
	while (fgets(path, sizeof(path), list)) {
		path[strcspn(path, "\n")] = 0;
		load(path);
	}
	fclose(list);
}

static void mount_on(const char *what, const char *where, const char *type, unsigned long flags,
		     const char *options)
{
	mkdir(where, 0755);
	if (mount(what, where, type, flags, options) < 0)
		die(where);
}

static void make_root(void)
{
	mount_on("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=262144,"
						   "cache=loose");
	mount_on("tmpfs", "/over", "tmpfs", 0, "mode=755");
	mkdir("/over/upper", 0755);
	mkdir("/over/work", 0755);
	mount_on("overlay", "/root", "overlay", 0, "lowerdir=/host,upperdir=/over/upper,"
						   "workdir=/over/work");
	if (chdir("/root") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		die("/root");
}

/* Of the kernel that runs, out of the build tree. */
static void mount_modules(void)
{
	const char *kernel = getenv("VM_KERNEL");
	char from[4096], to[128];
	struct utsname name;

	uname(&name);
	snprintf(from, sizeof(from), "%s/lib/modules/%s", kernel ? kernel : "", name.release);
	snprintf(to, sizeof(to), "/lib/modules/%s", name.release);
	mkdir("/lib/modules", 0755);
	mount_on(from, to, NULL, MS_BIND, NULL);
}

static void furnish(void)
{
	mount_on("proc", "/proc", "proc", 0, NULL);
	mount_on("sysfs", "/sys", "sysfs", 0, NULL);
	mount_on("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount_on("devpts", "/dev/pts", "devpts", 0, NULL);
	mount_on("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
	mount_on("tmpfs", "/run", "tmpfs", 0, NULL);
	/* The tests want a file system with O_DIRECT, and nothing of the host's hidden. */
	mount_on("/dev/vda", "/scratch", "ext4", MS_NOATIME, NULL);
	if (symlink("/proc/self/fd", "/dev/fd") < 0)
		die("/dev/fd");
	mount_modules();
}

/* The console's lines end as in any file. */
static void plain_console(void)
{
	struct termios console;

	if (tcgetattr(STDOUT_FILENO, &console) < 0)
		return;
	console.c_oflag &= ~(tcflag_t)OPOST;
	tcsetattr(STDOUT_FILENO, TCSANOW, &console);
}

static int run_job(void)
{
	const char *job = getenv("VM_JOB");
	pid_t child = fork(), ended;
	int status;

	if (child == 0) {
		setsid();
		execl("/bin/bash", "bash", job ? job : "", (char *)NULL);
		die("/bin/bash");
	}
	/* Orphans end here, too. */
	while ((ended = wait(&status)) != child)
		if (ended < 0)
			die("wait");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

int main(void)
{
	int code;

	plain_console();
	load_modules();
	make_root();
	furnish();
	setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
	/* libdevmapper makes its nodes itself: there is no udev. */
	setenv("DM_DISABLE_UDEV", "1", 1);
	setenv("HOME", "/root", 1);
	setenv("LC_ALL", "C", 1);
	code = run_job();
	fflush(NULL);
	/* QEMU exits with twice the number, plus one. */
	if (ioperm(DEBUG_EXIT, 1, 1) == 0)
		outb((unsigned char)code, DEBUG_EXIT);
	die("the port that ends the machine");
}
