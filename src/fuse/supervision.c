#include "fuse/supervision.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static const char refusal[] = "refused: ";

/* snprintf may not be called there. */
void supervision_note_refusal(struct supervision *s, long number)
{
	char digits[24], *digit = digits + sizeof(digits) - 1;

	*digit = 0;
	do
		*--digit = (char)('0' + number % 10);
	while ((number /= 10) > 0 && digit > digits);
	memcpy(s->former, refusal, sizeof(refusal));
	memcpy(s->former + sizeof(refusal) - 1, digit, strlen(digit) + 1);
}

long supervision_refusal(const struct supervision *s)
{
	if (strncmp(s->former, refusal, sizeof(refusal) - 1) != 0)
		return -1;
	return strtol(s->former + sizeof(refusal) - 1, NULL, 10);
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
