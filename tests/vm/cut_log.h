/*
 * The record of a machine's disks.
 *
 * QEMU's blklogwrites logs one disk. The logs of all disks go to regions of one
 * further node, which is logged in turn: so one log tells the order over all of
 * them, and which disk each write and each flush was for. QEMU logs a request
 * when it is done and before the machine hears of it, so whatever the machine
 * did because of it comes later in the log.
 */
#ifndef CUT_LOG_H
#define CUT_LOG_H

#include "cut.h"

#define CUT_LOG_REGION (1ull << 34) /* bytes of the further node for each disk's log */

struct cut_entry {
	enum cut_disk disk;
	bool flush;
	uint64_t sector, sectors; /* 0 of a flush */
	const char *data;
};

struct cut_log {
	struct cut_entry *entries;
	size_t count;
};

/* Maps the log for the life of the process. Ends it when the log is no such log. */
struct cut_log cut_log_read(const char *path);

#endif
