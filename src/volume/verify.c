#include "volume/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "remapfs/cleanup.h"

#define CHUNK (1u << 20)
#define UNIT 4096u

struct verification {
	struct device *device;
	const char *path;
	bool (*progress)(void *, const char *, uint64_t, uint64_t);
	void *context;
	struct error *err;
	uint64_t seed;
	char *pattern, *back; /* CHUNK bytes each */
};

/* What belongs at offset: differs from place to place and from run to run. */
static void fill(const struct verification *v, uint64_t offset, size_t length)
{
	for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
		uint64_t place = (offset + i) ^ v->seed, word;

		word = XXH3_64bits(&place, sizeof(place));
		memcpy(v->pattern + i, &word, sizeof(word));
	}
}

static int bad(struct verification *v, uint64_t offset, const char *what)
{
	return error_set(v->err, EIO, "spare '%s' has a bad sector at byte %llu (%s); use another "
			 "spare, or a region without it (offset=, length=)", v->path,
			 (unsigned long long)offset, what);
}

static int write_chunk(struct verification *v, uint64_t offset, size_t length)
{
	int rc;

	fill(v, offset, length);
	rc = device_write(v->device, v->pattern, length, offset);
	if (rc == 0)
		return 0;
	/* Again in small pieces, to name the place. */
	for (size_t at = 0; at < length; at += UNIT) {
		size_t n = length - at < UNIT ? length - at : UNIT;

		if (device_write(v->device, v->pattern + at, n, offset + at) < 0)
			return bad(v, offset + at, errno_name(-rc));
	}
	return 0;
}

static int check_chunk(struct verification *v, uint64_t offset, size_t length)
{
	int rc = device_read(v->device, v->back, length, offset);

	fill(v, offset, length);
	for (size_t at = 0; at < length; at += UNIT) {
		size_t n = length - at < UNIT ? length - at : UNIT;

		if (rc < 0 && device_read(v->device, v->back + at, n, offset + at) < 0)
			return bad(v, offset + at, errno_name(-rc));
		if (memcmp(v->back + at, v->pattern + at, n) != 0)
			return bad(v, offset + at, "it does not hold what was written");
	}
	return 0;
}

static int pass(struct verification *v, const char *what,
		int (*chunk)(struct verification *, uint64_t, size_t))
{
	uint64_t size = v->device->geometry.size;

	for (uint64_t at = 0; at < size; at += CHUNK) {
		size_t n = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
		int rc = chunk(v, at, n);

		if (rc < 0)
			return rc;
		if (v->progress && !v->progress(v->context, what, at + n, size))
			return error_set(v->err, EINTR, "interrupted; nothing was made, but what "
					 "spare '%s' held is lost", v->path);
	}
	return 0;
}

int verify_spare(struct device *device, const char *path,
		 bool (*progress)(void *, const char *, uint64_t, uint64_t), void *context,
		 struct error *err)
{
	CLEANUP_FREE void *pattern = NULL;
	CLEANUP_FREE void *back = NULL;
	struct timespec now;
	struct verification v = {.device = device, .path = path, .progress = progress,
				 .context = context, .err = err};
	int rc;

	if (posix_memalign(&pattern, UNIT, CHUNK) != 0 || posix_memalign(&back, UNIT, CHUNK) != 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	clock_gettime(CLOCK_REALTIME, &now);
	v.seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
	v.pattern = pattern;
	v.back = back;
	rc = pass(&v, "writing", write_chunk);
	if (rc == 0 && device_flush(device) < 0)
		rc = error_set(err, EIO, "spare '%s' does not flush; use another spare", path);
	return rc < 0 ? rc : pass(&v, "reading back", check_chunk);
}
