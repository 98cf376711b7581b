#include "fuse/survive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/error.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

/* Allocations of this process do not start writeback that would need it. */
static int io_flusher(void)
{
	return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

/*
 * Pages once touched stay. Where a limit on locked memory binds (it does not
 * bind who has CAP_IPC_LOCK), later allocations would fail, which is worse than
 * to be paged: so one beyond it is tried.
 */
static int lock_memory(void)
{
	struct rlimit limit;
	void *beyond;

	if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0 ||
	    mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) < 0)
		return -errno;
	if (limit.rlim_cur == RLIM_INFINITY)
		return 0;
	beyond = mmap(NULL, limit.rlim_cur + 1, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (beyond == MAP_FAILED) {
		munlockall();
		return -EPERM;
	}
	munmap(beyond, limit.rlim_cur + 1);
	return 0;
}

static int spare_from_oom(void)
{
	CLEANUP_CLOSE int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, "-900", 4) == 4 ? 0 : -errno;
}

void survive(char *refused, size_t size)
{
	static const struct {
		const char *name;
		int (*take)(void);
	} measures[] = {
		{"PR_SET_IO_FLUSHER", io_flusher},
		{"mlockall", lock_memory},
		{"oom_score_adj", spare_from_oom},
	};

	refused[0] = 0;
	for (size_t i = 0; i < sizeof(measures) / sizeof(measures[0]); i++) {
		int rc = measures[i].take();
		size_t used = strlen(refused);

		if (rc < 0)
			snprintf(refused + used, size - used, "%s%s (%s)",
				 used ? ", " : "", measures[i].name, errno_name(-rc));
	}
}
