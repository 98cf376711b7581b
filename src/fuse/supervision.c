#include "fuse/supervision.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
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
	void *at = mmap(NULL, sizeof(struct supervision), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

int supervision_create(struct supervision **ret)
{
	int fd = memfd_create("remapfs", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(struct supervision)) < 0 || !(*ret = supervision_map(fd))) {
		int rc = -errno;

		close(fd);
		return rc;
	}
	return fd;
}
