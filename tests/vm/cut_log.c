#include "cut_log.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* As in Linux's drivers/md/dm-log-writes.c; little-endian. */
struct log_super {
	uint64_t magic, version, entries;
	uint32_t sector_size;
};

struct log_entry {
	uint64_t sector, sectors, flags, data_length;
};

enum { LOG_FLUSH = 1, LOG_FUA = 2, LOG_DISCARD = 4 };

#define LOG_MAGIC 0x6a736677736872ull

static void add(struct cut_log *log, struct cut_entry entry)
{
	if ((log->count & (log->count - 1)) == 0) {
		log->entries = realloc(log->entries, (log->count * 2 + 1) * sizeof(entry));
		if (!log->entries)
			errx(1, "out of memory");
	}
	log->entries[log->count++] = entry;
}

/* A write to the further node: what a disk's log has to say of one request. */
static void add_inner(struct cut_log *log, uint64_t offset, const char *data, uint64_t sectors)
{
	const struct log_entry *inner = (const void *)data;

	/* The head of a disk's log is written anew from time to time. */
	if (offset % CUT_LOG_REGION == 0)
		return;
	if (offset / CUT_LOG_REGION >= CUT_DISKS || inner->sectors + 1 != sectors ||
	    (inner->flags & ~(uint64_t)LOG_FLUSH))
		errx(1, "an entry at byte %llu of the logs cannot be read",
		     (unsigned long long)offset);
	add(log, (struct cut_entry){
		.disk = (enum cut_disk)(offset / CUT_LOG_REGION),
		.flush = inner->flags & LOG_FLUSH,
		.sector = inner->sector,
		.sectors = inner->sectors,
		.data = data + CUT_SECTOR,
	});
}

struct cut_log cut_log_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	const struct log_super *super;
	struct cut_log log = {0};
	struct stat st;
	const char *at, *end;

	if (fd < 0 || fstat(fd, &st) < 0)
		err(1, "%s", path);
	at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (at == MAP_FAILED)
		err(1, "%s", path);
	end = at + st.st_size;
	super = (const void *)at;
	if (super->magic != LOG_MAGIC || super->sector_size != CUT_SECTOR)
		errx(1, "%s is not a log", path);
	/* The head counts those up to the last flush: there may be more. */
	for (at += CUT_SECTOR; at + CUT_SECTOR <= end;) {
		const struct log_entry *outer = (const void *)at;
		const char *data = at + CUT_SECTOR;

		if (data + outer->sectors * CUT_SECTOR > end)
			break;
		if (outer->sectors)
			add_inner(&log, outer->sector * CUT_SECTOR, data, outer->sectors);
		at = data + outer->sectors * CUT_SECTOR;
	}
	return log;
}
