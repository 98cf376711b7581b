#include "fuse/supervision.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

/* ---- descriptors ------------------------------------------------------------------- */

char *inheritance_write(const struct inheritance *i)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (!file)
		return NULL;
	fprintf(file, "fuse=%d,shared=%d,volume=%d,folder=%d,ready=%d,up=%d", i->fuse, i->shared,
		i->volume, i->folder, i->ready, i->up);
	for (size_t m = 0; m < i->count; m++)
		if (i->members[m].id == ON_MAIN)
			fprintf(file, ",main=%d", i->members[m].fd);
		else
			fprintf(file, ",spare%u=%d", i->members[m].id, i->members[m].fd);
	for (size_t c = 0; c < i->claim_count; c++)
		fprintf(file, ",claim%u=%d", i->claims[c].id, i->claims[c].fd);
	if (fclose(file) == 0)
		return text;
	free(text);
	return NULL;
}

static bool add_to(struct volume_member **all, size_t *count, spare_id_t id, int fd)
{
	struct volume_member *more = reallocarray(*all, *count + 1, sizeof(*more));

	if (!more)
		return false;
	*all = more;
	more[(*count)++] = (struct volume_member){id, fd};
	return true;
}

static bool add_member(struct inheritance *i, spare_id_t id, int fd)
{
	return add_to(&i->members, &i->count, id, fd);
}

bool inheritance_add_claim(struct inheritance *i, spare_id_t id, int fd)
{
	return add_to(&i->claims, &i->claim_count, id, fd);
}

/* One "NAME=FD". */
static bool read_one(struct inheritance *i, const char *name, int fd)
{
	const struct {
		const char *name;
		int *fd;
	} known[] = {{"fuse", &i->fuse}, {"shared", &i->shared}, {"volume", &i->volume},
		     {"folder", &i->folder}, {"ready", &i->ready}, {"up", &i->up}};
	spare_id_t spare;

	for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++)
		if (strcmp(name, known[k].name) == 0)
			*known[k].fd = fd;
	if (strcmp(name, "main") == 0)
		return add_member(i, ON_MAIN, fd);
	if (sscanf(name, "claim%u", &spare) == 1)
		return inheritance_add_claim(i, spare, fd);
	return sscanf(name, "spare%u", &spare) != 1 || add_member(i, spare, fd);
}

bool inheritance_read(const char *text, struct inheritance *ret)
{
	struct inheritance i = {.fuse = -1, .shared = -1, .volume = -1, .folder = -1, .ready = -1,
				.up = -1};
	bool good = true;
	char name[32];
	int fd, n;

	for (; good && *text; text += n + (text[n] == ',')) {
		n = 0;
		good = sscanf(text, "%31[a-z0-9]=%d%n", name, &fd, &n) == 2 && fd >= 0 &&
		       (text[n] == ',' || !text[n]) && read_one(&i, name, fd);
	}
	good = good && i.fuse >= 0 && i.shared >= 0 && i.volume >= 0 && i.folder >= 0 &&
	       i.ready >= 0 && i.up >= 0 && i.count && i.members[0].id == ON_MAIN;
	if (good)
		*ret = i;
	else
		inheritance_clear(&i);
	return good;
}

void inheritance_clear(struct inheritance *i)
{
	free(i->members);
	free(i->claims);
	i->members = i->claims = NULL;
	i->count = i->claim_count = 0;
}

void inheritance_pass_on(const struct inheritance *i, bool pass_on)
{
	const int flags = pass_on ? 0 : FD_CLOEXEC;

	for (const int *fd = &i->fuse; fd <= &i->up; fd++)
		fcntl(*fd, F_SETFD, flags);
	for (size_t m = 0; m < i->count; m++)
		fcntl(i->members[m].fd, F_SETFD, flags);
	for (size_t c = 0; c < i->claim_count; c++)
		fcntl(i->claims[c].fd, F_SETFD, flags);
}

/* ---- shared memory --------------------------------------------------------------------- */

static struct supervision *map(int fd)
{
	struct supervision *at;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return NULL;
	errno = EPROTO;
	if (st.st_size != sizeof(*at))
		return NULL;
	at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (at->layout == SUPERVISION_LAYOUT && at->bytes == sizeof(*at))
		return at;
	munmap(at, sizeof(*at));
	errno = EPROTO;
	return NULL;
}

/*
 * A file description of its own, which this mapping alone keeps from being closed, and
 * with it its lock.
 */
static int open_anew(int fd, unsigned wait_ms)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000000};
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDWR | O_CLOEXEC);
	for (unsigned waited = 0; own >= 0 && flock(own, LOCK_EX | LOCK_NB) < 0; waited += 10) {
		if (errno == EWOULDBLOCK && waited < wait_ms) {
			nanosleep(&pause, NULL);
			continue;
		}
		cleanup_close(&own);
		own = -1;
	}
	return own;
}

struct supervision *supervision_map(int fd, unsigned wait_ms)
{
	CLEANUP_CLOSE int own = open_anew(fd, wait_ms);

	return own < 0 ? NULL : map(own);
}

bool supervision_fits(int fd)
{
	struct supervision *at = map(fd);

	if (at)
		munmap(at, sizeof(*at));
	return at;
}

void supervision_publish(struct supervision *shared, const struct supervision *own)
{
	memcpy(shared, own, offsetof(struct supervision, upgrades_refused));
	/* Whoever sees the number finds the reason. */
	atomic_store(&shared->upgrades_refused, own->upgrades_refused);
}

int supervision_create(struct supervision *own, struct supervision **ret)
{
	int fd = memfd_create("remapfs", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	*own = (struct supervision){.layout = SUPERVISION_LAYOUT, .bytes = sizeof(*own),
				    .refused_call = -1};
	/* A mapping that reaches beyond the end of its file kills whoever touches it. */
	if (ftruncate(fd, sizeof(*own)) < 0 || pwrite(fd, own, sizeof(*own), 0) != sizeof(*own) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0 ||
	    !(*ret = map(fd))) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}
