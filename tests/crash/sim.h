/*
 * A disk in use: the devices and the SQLite VFS that the engine runs on. Reads
 * see everything that was written (the cache is in front of the medium); what
 * is durable is worked out afterwards, from the journal. One simulation is in
 * use at a time, by one thread.
 *
 * It also fails the Nth call.
 */
#ifndef CRASH_SIM_H
#define CRASH_SIM_H

#include "disk.h"
#include "remapfs/volume.h"

#define SIM_VFS "crash"
#define SIM_PATH "/sim/volume"

struct sim {
	struct disk *disk; /* as it is now; the caller's */
	struct journal journal;
	uint32_t sector_size;
	bool recording; /* whether steps go into the journal */
	bool cut;       /* no power: every call fails, nothing changes any more */

	uint64_t calls;   /* so many were made, reads included */
	uint64_t fail_at; /* this one fails (0: none), and so often from there on */
	uint64_t fail_count;
	int fail_error;    /* EIO or ENOSPC */
	bool failed;       /* one did */
	size_t failed_at;  /* at this point of the journal */
	size_t stamped_at; /* when the first spare got a new stamp; SIZE_MAX: none did */
	bool fail_changes; /* only writes, flushes and the like are counted */
	bool fail_database; /* only those of the VFS */
	bool skip_main_flush, fail_main_flush, fail_sync;
	bool quiet; /* nothing is counted and nothing fails: the simulator looks */
	uint8_t *shared[8]; /* the index of SQLite's log: in memory, gone with the power */
};

/* Makes the VFS known to SQLite. */
void sim_init(void);

/* The one in use from now on. */
void sim_use(struct sim *);
struct sim *sim_current(void);
/* Time and chance begin anew, so that what follows does not depend on what was before. */
void sim_reset(void);
void sim_end(struct sim *);

/* For volume_open. */
extern const struct volume_parts sim_parts;

/*
 * Counts a call. 0, or the positive errno that it shall fail with.
 */
int sim_call(struct sim *, bool changes, bool database);
/* Does the step, and notes it. data is copied. */
void sim_step(struct sim *, struct step, const void *data);

/* Deterministic time: moves on with each question. */
int64_t sim_now_ms(void);

#endif
