/*
 * Which system calls can be made (seccomp).
 *
 * The worker's filter is a list of what it uses: on the way of every request,
 * when a volume is opened and closed, on the control socket, and what the C
 * library does by itself for threads, memory and time. Anything else is made by a
 * fault of ours or by somebody who has taken the process over, and ends it; the
 * supervisor starts another one, and says which call it was.
 *
 * The supervisor's is a list of what no version of remapfs has a use for, since
 * every worker inherits it: such a call fails with EPERM, and the kernel logs it
 * (audit).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <seccomp.h>
#include <signal.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "confine/measures.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Names, since not every architecture has each of them. */
static const char *const used[] = {
	/* requests */
	"read", "pread64", "pwrite64", "write", "writev", "readv", "preadv", "pwritev", "fdatasync",
	"fsync", "fallocate", "lseek", "futex", "io_setup", "io_submit", "io_getevents", "io_destroy",
	"epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait",
	/* opening, closing, SQLite, the socket */
	"close", "stat", "lstat", "fstat", "newfstatat", "fstatat64", "statx", "statfs",
	"fstatfs", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents",
	"getdents64", "getcwd", "ftruncate", "unlink", "unlinkat", "rename", "renameat",
	"renameat2", "fchown", "flock", "fadvise64", "pipe2",
	"poll", "ppoll", "eventfd2", "signalfd4", "umask",
	"bind", "listen", "accept", "accept4", "getsockopt", "setsockopt", "getsockname", "recvfrom",
	"recvmsg", "shutdown",
	/* threads, memory, time, the end */
	"set_robust_list", "get_robust_list", "rseq", "set_tid_address", "gettid", "getpid", "getppid",
	"getuid", "geteuid", "getgid", "getegid", "sched_yield", "sched_getaffinity",
	"membarrier", "futex_waitv", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn",
	"rt_sigtimedwait", "sigaltstack", "restart_syscall", "brk", "munmap", "mremap", "madvise",
	"munlock", "munlockall", "nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres",
	"gettimeofday", "time", "getrandom", "getrusage", "getrlimit", "sysinfo", "uname", "getcpu",
	"exit", "exit_group",
	/* which takes rights away, and gives none */
	"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self",
};

#define ALL (~0UL)
#define LOW 0xffffffffUL /* what the kernel looks at in an int */
#define NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
		    CLONE_NEWPID | CLONE_NEWNET)
#define SET_ID (S_ISUID | S_ISGID | S_ISVTX)
#ifndef F2FS_GET_FEATURES /* SQLite asks, where it was built to */
#define F2FS_GET_FEATURES _IOR(0xf5, 12, __u32)
#endif

/* Allowed where (argument & mask) == value. */
struct narrow {
	const char *name;
	unsigned argument;
	unsigned long mask, value;
};

static const struct narrow narrow[] = {
	/* No file that gives others its owner's rights. */
	{"open", 2, SET_ID, 0},
	{"openat", 3, SET_ID, 0},
	{"fchmod", 1, SET_ID, 0},
	/* On a socket that is connected: none is sent to by name. */
	{"sendto", 4, ALL, 0},
	/* Disks and files are asked about. No terminal is typed into. */
	{"ioctl", 1, LOW, BLKGETSIZE64},
	{"ioctl", 1, LOW, BLKSSZGET},
	{"ioctl", 1, LOW, BLKROGET},
	{"ioctl", 1, LOW, FS_IOC_GETFLAGS},
	{"ioctl", 1, LOW, LOOP_GET_STATUS64},
	{"ioctl", 1, LOW, DM_TABLE_STATUS},
	{"ioctl", 1, LOW, F2FS_GET_FEATURES},
	{"ioctl", 1, LOW, TCGETS},
	/* Without F_SETOWN and F_SETSIG, which have the kernel send signals to others. */
	{"fcntl", 1, LOW, F_GETFD},
	{"fcntl", 1, LOW, F_SETFD},
	{"fcntl", 1, LOW, F_GETFL},
	{"fcntl", 1, LOW, F_SETFL},
	{"fcntl", 1, LOW, F_DUPFD_CLOEXEC},
	{"fcntl", 1, LOW, F_GETLK},
	{"fcntl", 1, LOW, F_SETLK},
	{"fcntl", 1, LOW, F_OFD_GETLK},
	{"fcntl", 1, LOW, F_OFD_SETLK},
	{"mmap", 2, PROT_EXEC, 0},
	{"mprotect", 2, PROT_EXEC, 0},
	/* Threads, no processes. */
	{"clone", 0, CLONE_THREAD | NAMESPACES, CLONE_THREAD},
	/* The limits of the C library's threads are asked for, none is set. */
	{"prlimit64", 2, ~0UL, 0},
	{"prctl", 0, ~0UL, PR_SET_NAME},
	{"prctl", 0, ~0UL, PR_SET_NO_NEW_PRIVS},
};

static const char *const of_nobody[] = {
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
	"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf",
	"perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "open_by_handle_at",
	"mount", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr",
	"pivot_root", "chroot", "unshare", "setns", "swapon", "swapoff", "reboot", "acct", "quotactl",
	"settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname",
	"iopl", "ioperm", "syslog", "vhangup", "setuid", "setreuid", "setresuid", "setgid", "setregid",
	"setresgid", "setgroups", "setfsuid", "setfsgid",
};

static void (*tell)(long number);

/* The call has not been made. What is left is to say so, and to end. */
static void refused(int number, siginfo_t *info, void *context)
{
	(void)context;
	tell(info->si_syscall);
	signal(number, SIG_DFL);
	raise(number);
}

static int catch_refusals(void (*told)(long number))
{
	/* SA_NODEFER: the second one is to take effect inside the handler. */
	struct sigaction action = {.sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_NODEFER};

	tell = told;
	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}

/* A name that the library or the architecture does not have is no call to refuse. */
static int add(scmp_filter_ctx filter, uint32_t action, const char *name)
{
	int number = seccomp_syscall_resolve_name(name);

	return number == __NR_SCMP_ERROR ? 0 : seccomp_rule_add(filter, action, number, 0);
}

static int add_list(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = add(filter, action, names[i]);
	return rc;
}

static int add_narrow(scmp_filter_ctx filter, uint32_t action, const struct narrow *rules,
		      size_t count)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		int number = seccomp_syscall_resolve_name(rules[i].name);
		struct scmp_arg_cmp only = SCMP_CMP(rules[i].argument, SCMP_CMP_MASKED_EQ,
						    rules[i].mask, rules[i].value);

		if (number != __NR_SCMP_ERROR)
			rc = seccomp_rule_add(filter, action, number, 1, only);
	}
	return rc;
}

/* What is known only now. */
static int add_own(scmp_filter_ctx filter, int up)
{
	const struct narrow own[] = {
		{"tgkill", 0, ALL, (unsigned long)getpid()},
		/* Which can name a receiver, where no filter sees it: see keep_up. */
		{"sendmsg", 0, LOW, (unsigned long)up},
	};
	int rc = add_narrow(filter, SCMP_ACT_ALLOW, own, COUNT(own) - (up < 0));

	/* Of a thread of its own. */
	return rc < 0 ? rc : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioprio_set), 2,
					      SCMP_A0(SCMP_CMP_EQ, 1), SCMP_A1(SCMP_CMP_EQ, 0));
}

/* Takes the filter over; rc is that of filling it. */
static int load(scmp_filter_ctx filter, int rc, bool log)
{
	/* Both are of newer kernels and libraries: a log of refusals, and a tree instead of a chain. */
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, log);
	seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = rc < 0 ? rc : seccomp_load(filter);
	seccomp_release(filter);
	/* The library's own word for "the kernel refused". */
	return rc == -ECANCELED ? -errno : rc;
}

/*
 * clone3 and openat2 have flags and mode where a filter cannot see them: their callers
 * then take clone and open. That happens for every thread and is no news for the
 * kernel's log, so it is a filter of its own. Of two filters the stricter answer counts.
 */
static int refuse_unseen(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int rc;

	if (!filter)
		return -ENOMEM;
	rc = add(filter, SCMP_ACT_ERRNO(ENOSYS), "clone3");
	rc = rc < 0 ? rc : add(filter, SCMP_ACT_ERRNO(ENOSYS), "openat2");
	return load(filter, rc, false);
}

/* Its number stays that of the socket to the supervisor. */
static int keep_up(int up)
{
	const struct narrow it = {"close", 0, LOW, (unsigned long)up};
	scmp_filter_ctx filter = up < 0 ? NULL : seccomp_init(SCMP_ACT_ALLOW);

	if (!filter)
		return up < 0 ? 0 : -ENOMEM;
	return load(filter, add_narrow(filter, SCMP_ACT_TRAP, &it, 1), true);
}

static int fill_worker(scmp_filter_ctx filter, int up)
{
	int rc = add_list(filter, SCMP_ACT_ALLOW, used, COUNT(used));

	rc = rc < 0 ? rc : add(filter, SCMP_ACT_ALLOW, "clone3");
	rc = rc < 0 ? rc : add(filter, SCMP_ACT_ALLOW, "openat2");
	rc = rc < 0 ? rc : add_narrow(filter, SCMP_ACT_ALLOW, narrow, COUNT(narrow));
	return rc < 0 ? rc : add_own(filter, up);
}

int measure_worker_filter(void (*told)(long number), int up)
{
	scmp_filter_ctx filter;
	int rc = refuse_unseen();

	rc = rc < 0 ? rc : keep_up(up);
	filter = rc < 0 ? NULL : seccomp_init(SCMP_ACT_TRAP);
	if (!filter)
		return rc < 0 ? rc : -ENOMEM;
	rc = fill_worker(filter, up);
	return load(filter, rc < 0 ? rc : catch_refusals(told), true);
}

int measure_supervisor_filter(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (!filter)
		return -ENOMEM;
	return load(filter, add_list(filter, SCMP_ACT_ERRNO(EPERM), of_nobody, COUNT(of_nobody)),
		    true);
}
