#include "confine/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/measures.h"
#include "remapfs/error.h"

/*
 * A worker of root opens files of other users, as root does, gives SQLite's log
 * to the owner of the database, replaces a socket in a folder with the sticky
 * bit, and has memory locked that later mappings add to.
 */
static const int of_worker[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_IPC_LOCK};

/* It unmounts, and its workers ask not to wait for memory (fuse/survive.c). */
static const int of_supervisor[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_IPC_LOCK,
				    CAP_SYS_ADMIN, CAP_SYS_RESOURCE};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void measure_note(char *refused, size_t size, const char *name, int rc)
{
	size_t used = strlen(refused);

	if (rc < 0)
		snprintf(refused + used, size - used, "%s%s (%s)", used ? ", " : "", name,
			 errno_name(-rc));
}

/* ---- capabilities ------------------------------------------------------------- */

/* So that no program that is started brings them back. */
static int drop_for_children(const __u32 *kept)
{
	for (int cap = 0; cap < 64; cap++) {
		if (kept[cap / 32] & 1U << cap % 32)
			continue;
		/* EINVAL: past the last one that this kernel has. */
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return errno == EINVAL ? 0 : -errno;
	}
	return 0;
}

int measure_capabilities(const int *kept, size_t count)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct had[2];
	__u32 keep[2] = {0, 0};
	int rc = 0;

	for (size_t i = 0; i < count; i++)
		keep[kept[i] / 32] |= 1U << kept[i] % 32;
	if (syscall(SYS_capget, &header, had) < 0)
		return -errno;
	if (had[0].effective & 1U << CAP_SETPCAP)
		rc = drop_for_children(keep);
	for (int i = 0; i < 2; i++) {
		had[i].permitted &= keep[i];
		had[i].effective &= keep[i];
		had[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, had) < 0 ? -errno : rc;
}

/* ---- the contract --------------------------------------------------------------- */

/* Nobody of the same user may look into it, nor is its memory left in a file. */
static int hide_memory(void)
{
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

void confine_calls(void (*told)(long number), int up, char *refused, size_t size)
{
	refused[0] = 0;
	measure_note(refused, size, "PR_SET_DUMPABLE", hide_memory());
	measure_note(refused, size, "capabilities",
		     measure_capabilities(of_worker, COUNT(of_worker)));
	measure_note(refused, size, "seccomp", measure_worker_filter(told, up));
}

void confine_supervisor(char *refused, size_t size)
{
	refused[0] = 0;
	measure_note(refused, size, "PR_SET_DUMPABLE", hide_memory());
	if (geteuid() != 0)
		return;
	/* The filter first: it takes CAP_SYS_ADMIN, or to forgo new privileges. */
	measure_note(refused, size, "seccomp", measure_supervisor_filter());
	measure_note(refused, size, "capabilities",
		     measure_capabilities(of_supervisor, COUNT(of_supervisor)));
}
