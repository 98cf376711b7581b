/*
 * A session: the engine opened on a simulated disk, a list of operations, and
 * the record of what it answered.
 */
#ifndef CRASH_SESSION_H
#define CRASH_SESSION_H

#include "record.h"
#include "sim.h"

enum op_kind {
	OP_WRITE, /* start, count */
	OP_READ,
	OP_ZERO,
	OP_DISCARD,
	OP_FLUSH,
	OP_REOPEN,     /* close and open */
	OP_KILL,       /* the process ends as it stands; open */
	OP_DEFECT,     /* sectors of main get the defects of arg */
	OP_SLOT_DEFECT, /* the slots that hold these sectors do */
	OP_TABLE_DEFECT, /* the first sector of the slot table of spare `start` does */
	OP_COMMIT_FAILS, /* the next arg calls of the VFS that change something fail:
			    start EIO or ENOSPC, after letting count of them pass */
	OP_FILL, /* writes count sectors at a time, from start, until arg slots are free */
	OP_FLUSH_FAILS, /* main does not flush while arg is not 0 */
	OP_SYNC_FAILS,  /* nor does the database */
	OP_ADD_SPARE,   /* the next blank one is formatted and joins */
	OP_RETIRE,      /* spare `start` begins to leave; arg: it is lost */
	OP_EMPTY,       /* a pass over those that leave; arg: none may be left after it */
};

struct op {
	enum op_kind kind;
	uint64_t start, count;
	unsigned arg;
};

struct session {
	struct sim sim;
	struct disk disk;
	struct record record;
	struct volume *volume;
	size_t opened; /* the point at which it was open, and everything was read */
	struct turn {
		size_t began; /* to give the spares a new stamp */
		size_t ended; /* the opening, or the orderly end */
	} *turns;
	size_t turn_count;
	uint32_t sector_size;
	uint64_t sectors;
	uint8_t *buffer; /* of 64 sectors */
	struct volume_io *io;
};

/* On the disk as it then stands in session.disk; not open yet. */
void session_start(struct session *, uint32_t sector_size, uint64_t sectors);
void session_end(struct session *);

/* 0 or what volume_open said. */
int session_open(struct session *);
int session_close(struct session *);
/* Pulls the plug on what is open. */
void session_cut(struct session *);

void session_run(struct session *, const struct op *ops, size_t count);

/*
 * Reads every sector and compares. observed, if not NULL, takes the contents,
 * and lost what could not be read, as a record that begins from here.
 */
void session_read_all(struct session *, const struct record *, const struct possible *, bool live,
		      struct record *ret_observed);

/* Where the sector is now. */
struct extent session_place(struct session *, uint64_t sector);

#endif
