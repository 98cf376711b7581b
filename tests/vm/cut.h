/*
 * Power cuts. A machine writes to disks whose every write and flush QEMU
 * records, in one order for all of them (see cut_log.h). In it, cut-load tells
 * what it was acknowledged by writing marks to one more recorded disk. Outside,
 * cut-replay makes the disks as a power cut at some point of the record would
 * have left them, and cut-check opens the volume on them.
 */
#ifndef CUT_H
#define CUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stddef.h>

#define CUT_SECTOR 512u
#define CUT_BLOCK 8u /* sectors: what cut-load writes at once */

/* The disks, in the order of the record. */
enum cut_disk { CUT_MAIN, CUT_SPARE, CUT_DATABASE, CUT_MARKS, CUT_DISKS };

enum cut_mark_kind {
	CUT_START = 1, /* everything before is preparation */
	CUT_ACK,       /* block was written with this sequence number */
	CUT_SYNC,      /* block, at this sequence number, was also fsynced */
	CUT_FILE,      /* file number `sequence` was written and fsynced */
	CUT_END,
};

#define CUT_MARK_MAGIC 0x6b72616d74756372ull

/* What is written to the marks once something was acknowledged. */
struct cut_mark {
	uint64_t magic;
	uint32_t kind;
	uint32_t block; /* counted from the start of the region of cut-load */
	uint64_t sequence;
};

/* What cut-load writes to each sector, so that its content tells its age. */
struct cut_tag {
	uint64_t sector; /* of disk.img */
	uint64_t sequence;
	uint8_t fill[CUT_SECTOR - 24];
	uint64_t sum; /* of all before it */
};

void cut_tag_make(struct cut_tag *, uint64_t sector, uint64_t sequence);
bool cut_tag_is_valid(const struct cut_tag *, uint64_t sector);

/* How old each block may be after a cut. Sequence numbers count from 1. */
struct cut_expectation {
	uint64_t first; /* of the first acknowledged write; 0: none */
	uint64_t synced; /* of the last one that was fsynced */
	uint64_t last;  /* of the last acknowledged write */
};

#endif
