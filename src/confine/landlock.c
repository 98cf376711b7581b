/*
 * Which files can be opened (Landlock, Linux 5.13). Not libc's business so far,
 * and what the header knows is older than what the kernel may: so the rights and
 * their numbers stand here.
 */
#include "confine/confine.h"
#include "confine/measures.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

#define MAY_WRITE (1ULL << 1)
#define MAY_READ (1ULL << 2)
#define MAY_LIST (1ULL << 3)
#define MAY_REMOVE (1ULL << 5)
#define MAY_MAKE_FILE (1ULL << 8)
#define MAY_MAKE_SOCKET (1ULL << 9)
#define MAY_REFER (1ULL << 13)    /* ABI 2 */
#define MAY_TRUNCATE (1ULL << 14) /* ABI 3 */
#define MAY_IOCTL (1ULL << 15)    /* ABI 5: of devices */

#define ALL_OF_ABI_1 ((1ULL << 13) - 1)

#define TCP_BIND_AND_CONNECT 3       /* ABI 4 */
#define ABSTRACT_SOCKETS_AND_KILL 3  /* ABI 6: of processes outside */

#define VERSION_FLAG 1
#define PATH_BENEATH 1

struct ruleset {
	__u64 files, net, scoped;
};

struct rule {
	__u64 may;
	__s32 parent;
} __attribute__((packed));

struct landlock {
	int fd;
	__u64 handled;
};

static struct ruleset all_of(int abi)
{
	return (struct ruleset){
		.files = ALL_OF_ABI_1 | (abi >= 2 ? MAY_REFER : 0) | (abi >= 3 ? MAY_TRUNCATE : 0) |
			 (abi >= 5 ? MAY_IOCTL : 0),
		.net = abi >= 4 ? TCP_BIND_AND_CONNECT : 0,
		.scoped = abi >= 6 ? ABSTRACT_SOCKETS_AND_KILL : 0,
	};
}

static int begin(struct landlock *l)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION_FLAG);
	struct ruleset set;

	if (abi < 1)
		return abi < 0 ? -errno : -ENOSYS;
	set = all_of((int)abi);
	l->handled = set.files;
	/* Older kernels know a shorter one. */
	l->fd = (int)syscall(SYS_landlock_create_ruleset, &set,
			     abi >= 6 ? sizeof(set) : abi >= 4 ? 2 * sizeof(__u64) : sizeof(__u64),
			     0);
	return l->fd < 0 ? -errno : 0;
}

static int allow(const struct landlock *l, int fd, __u64 may)
{
	struct rule rule = {.may = may & l->handled, .parent = fd};

	return syscall(SYS_landlock_add_rule, l->fd, PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

/* Of the system, not of a volume. What is not there is not opened. */
static int allow_path(const struct landlock *l, const char *path, __u64 may)
{
	CLEANUP_CLOSE int fd = open(path, O_PATH | O_CLOEXEC);

	return fd < 0 ? 0 : allow(l, fd, may);
}

/* What libraries and the engine look at, whichever volume it is. */
static int allow_the_system(const struct landlock *l)
{
	static const struct {
		const char *path;
		__u64 may;
	} paths[] = {
		{"/dev/null", MAY_READ | MAY_WRITE},
		{"/dev/urandom", MAY_READ},
		/* What is below main and spares, and who else uses it. */
		{"/sys", MAY_READ | MAY_LIST},
		{"/proc/self/mountinfo", MAY_READ},
		{"/proc/swaps", MAY_READ},
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(paths) / sizeof(paths[0]); i++)
		rc = allow_path(l, paths[i].path, paths[i].may);
	return rc;
}

static int restrict_files(int folder, int sockets)
{
	struct landlock l = {.fd = -1};
	int rc = begin(&l);

	if (rc < 0)
		return rc;
	rc = allow_the_system(&l);
	rc = rc < 0 ? rc : allow(&l, folder, MAY_READ | MAY_WRITE | MAY_LIST | MAY_REMOVE |
				 MAY_MAKE_FILE | MAY_MAKE_SOCKET | MAY_TRUNCATE);
	rc = rc < 0 || sockets < 0 ? rc : allow(&l, sockets, MAY_REMOVE | MAY_MAKE_SOCKET);
	if (rc == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			syscall(SYS_landlock_restrict_self, l.fd, 0) < 0))
		rc = -errno;
	close(l.fd);
	return rc;
}

void confine_files(int folder, int sockets, char *refused, size_t size)
{
	refused[0] = 0;
	measure_note(refused, size, "Landlock", restrict_files(folder, sockets));
}
