#include "fuse/supervision.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void inheritance_write(char *text, const struct inheritance *i)
{
	snprintf(text, 64, "%d:%d:%d:%d", i->fuse, i->shared, i->volume, i->ready);
}

bool inheritance_read(const char *text, struct inheritance *ret)
{
	struct inheritance i;
	char more;

	if (sscanf(text, "%d:%d:%d:%d%c", &i.fuse, &i.shared, &i.volume, &i.ready, &more) != 4)
		return false;
	*ret = i;
	return true;
}

struct supervision *supervision_map(int fd)
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

int supervision_create(struct supervision **ret)
{
	static const struct supervision first = {.layout = SUPERVISION_LAYOUT,
						 .bytes = sizeof(first)};
	int fd = memfd_create("remapfs", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(first)) < 0 || pwrite(fd, &first, sizeof(first), 0) != sizeof(first) ||
	    !(*ret = supervision_map(fd))) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}
