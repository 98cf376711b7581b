/*
 * The store: the truth on disk, an SQLite file that people open with sqlite3.
 * The only module that knows SQL. See schema/ for the tables.
 *
 * A store is used by one thread at a time (volume/commit.c sees to that); any
 * number of processes may read it meanwhile. A committed transaction is
 * durable (WAL, synchronous=FULL). Another process that holds the write lock
 * is waited for STORE_BUSY_MS, then the call fails with -EBUSY.
 *
 * Errors of all calls: -EBUSY (as above), -ENOSPC (disk full), -EIO,
 * -EROFS, -EEXIST (a row that is there, or a rule of the schema, stands in the
 * way), -EUCLEAN (the database is damaged), -ESTALE (see store_place), -ENOMEM.
 * After a failure inside a transaction only store_rollback may follow.
 */
#ifndef REMAPFS_STORE_H
#define REMAPFS_STORE_H

#include "remapfs/device.h"
#include "remapfs/error.h"
#include "remapfs/extent.h"

#include <stddef.h>

#define STORE_BUSY_MS 5000
#define STORE_UUID_TEXT 37

#define STORE_APPLICATION_ID 0x524d4653 /* 'RMFS': of the database of a volume */

struct store;

/* What main held in one place: MAIN_PLACE bytes at offset, or fewer where main ends. */
struct main_place {
	uint64_t offset;
	uint64_t digest; /* 0: all bytes are zero */
};
#define MAIN_PLACE (64u << 10)
#define MAIN_PLACES_MAX 512

/* What tells main from other disks: see volume/identity.h, which judges it. */
struct store_identity {
	bool known;         /* there is a row */
	char hardware[160]; /* a number that the device has for ever; "": none */
	char file[160];     /* which file it is, or is behind it; "": not known */
	int64_t written_at; /* of a file: nanoseconds since 1970; 0: not known */
	uint64_t opens;     /* store_volume()->opens when the places were read */
	char changed_since[32]; /* UTC: since then something else wrote to it; "": nothing did */
	struct main_place *places;
	size_t place_count;
};

struct store_volume {
	char uuid[STORE_UUID_TEXT];
	char *main_path; /* absolute */
	uint64_t main_sectors; /* 1 to SECTOR_MAX */
	uint32_t sector_size;  /* 512 or 4096 */
	uint64_t opens; /* how often it was opened for writing */
	struct store_identity main; /* store_create: what it is from the beginning */
};

const char *spare_state_name(enum spare_state);

struct store_spare {
	spare_id_t id;
	char uuid[STORE_UUID_TEXT];
	char *path;      /* absolute */
	uint64_t offset; /* bytes: the region of path that is the spare */
	uint64_t length; /* offset + length <= INT64_MAX */
	slot_t slots;    /* > 0, and no more than length has sectors */
	enum spare_state state;
	/* What a right copy of it says: see docs/format.md. */
	uint64_t stamp, next_stamp; /* one of these; next_stamp 0: the first */
	unsigned stamped;           /* so many of its superblocks, for certain */
	uint64_t confirmed;         /* at least */
};

/* ---- life ----------------------------------------------------------------- */

/*
 * Whether store_create(path) could make its file: the folder is there and may
 * be written, the name is not too long. Leaves nothing behind. -EOPNOTSUPP: its
 * file system lacks what a volume needs: hard links, sockets, shared maps, locks.
 */
int store_can_create(const char *path, struct error *err);

/*
 * Makes a new database at path, which must not exist; nothing is left behind
 * on failure. Records the volume, its spares, and "created" in the history.
 */
int store_create(const char *path, const struct store_volume *volume,
		 const struct store_spare *spares, size_t spare_count, struct error *err);

/*
 * The same of a volume that was lost: fill adds its rows, as part of the one
 * transaction, and "rebuilt". With set_aside, what is at path, and what SQLite
 * left beside it, is renamed to path.old, which must not exist; without it, a
 * log left beside a missing database is all that is set aside.
 */
int store_recreate(const char *path, const struct store_volume *volume,
		   const struct store_spare *spares, size_t spare_count, bool set_aside,
		   int (*fill)(void *context, struct store *), void *context, struct error *err);

/*
 * The same through an SQLite VFS of that name, where nothing is in the way; a
 * database that is half made stays on failure.
 */
int store_create_on(const char *vfs, const char *path, const struct store_volume *volume,
		    const struct store_spare *spares, size_t spare_count,
		    int (*fill)(void *context, struct store *), void *context, struct error *err);

/* STORE_MEMORY: what is written goes to a copy in memory, and is gone with the store. */
enum store_mode { STORE_READ, STORE_WRITE, STORE_MEMORY };

/*
 * Opens what store_create made, migrating an older schema forward or refusing
 * it (STORE_READ). err names the cause and the remedy for a file
 * that is missing, no remapfs volume, of a newer version, or damaged.
 */
int store_open(const char *path, enum store_mode mode, struct store **ret, struct error *err);
/* The same through an SQLite VFS of that name; path is then the VFS's concern. */
int store_open_on(const char *vfs, const char *path, enum store_mode mode, struct store **ret,
		  struct error *err);
/* Whether the database is on a file system that is mounted read-only. */
bool store_on_read_only(const char *path);
void store_close(struct store *); /* NULL is allowed; rolls back what is open */

/* Owned by the store, as they were when it was opened. */
const struct store_volume *store_volume(const struct store *);
const struct store_spare *store_spares(const struct store *, size_t *ret_count);

/* ---- reading ---------------------------------------------------------------- */

/*
 * The bytes of the file may be anybody's, and hold any value in any column. No call
 * hands out one that its type here, or the header of that type, does not allow: it fails
 * with -EUCLEAN. So does one that takes longer than a database of this size can need.
 */

/*
 * Calls fn for every remapped or pending extent, in the order of their
 * sectors, and stops with what fn returned when that is not 0. They lie on main and on
 * spares of store_spares(), and do not overlap. -EUCLEAN after
 * the last: their sum is not the one that the volume keeps, so some are wrong.
 */
int store_each_extent(struct store *, int (*fn)(void *context, const struct extent *),
		      void *context);
int store_each_bad_slots(struct store *,
			 int (*fn)(void *context, spare_id_t, slot_t first, uint64_t count),
			 void *context);

/* Stops with what fn returned when that is not 0. */
int store_each_fault(struct store *, int (*fn)(void *context, const struct fault *), void *context);
/* The same as an array. The caller frees *ret. */
int store_load_faults(struct store *, struct fault **ret, size_t *ret_count);

/* How the last use as a daemon ended; STORE_UNCLEAN: without a word. */
enum store_life { STORE_NEW, STORE_CLOSED, STORE_UNCLEAN };
int store_last_life(struct store *, enum store_life *ret);
int store_was_unclean(struct store *, bool *ret);

/* When it was last closed in order, or else made; UTC. -EUCLEAN: there is no history. */
int store_last_close(struct store *, char at[32]);

/* The sequence of the remap that the sector is part of. -ENOENT: it is not remapped. */
int store_sequence_of(struct store *, sector_t, uint64_t *ret);

/*
 * The remaps on one spare in the order of their slots: begin, next until it
 * returns 0 (1: *ret is one more row), end. Other calls may come in between.
 */
struct placed {
	sector_t sector;
	uint64_t count;
	slot_t slot;
	uint64_t sequence;
};
int store_placed_begin(struct store *, spare_id_t);
/* Begins with the one that the slot belongs to, or the first after it. */
int store_placed_from(struct store *, spare_id_t, slot_t first);
int store_placed_next(struct store *, struct placed *ret);
void store_placed_end(struct store *);

/*
 * The same remaps as they lie on disk, which is many times faster. Stops with
 * what fn returned when that is not 0.
 */
int store_each_placed(struct store *, spare_id_t,
		      int (*fn)(void *context, const struct placed *), void *context);

/*
 * Asks SQLite whether the file is whole, and whether the rows keep the rules
 * of the schema. found gets one line for each thing that is wrong.
 */
int store_check(struct store *, void (*found)(void *context, const char *line), void *context);

/*
 * The same as far as it decides what is served, and without comparing rows with
 * each other: in the time of reading them once. -EUCLEAN, or those of all calls;
 * err has the line.
 */
int store_quick_check(struct store *, const char *path, struct error *err);

/*
 * What is read from here on until the store is closed is of one moment, and the
 * file of its log may not shrink meanwhile: for a reader that soon ends.
 */
int store_freeze(struct store *);

/*
 * The paths of main and of all spares, without bringing the database up to date
 * first. Errors as store_open; err has the line. fn
 * returns 0 to go on, or what is then returned, above 0.
 */
int store_each_path(const char *path, int (*fn)(void *context, const char *member), void *context,
		    struct error *err);

/*
 * The same of main (id ON_MAIN, offset 0, the length that it has to have) and of the spares
 * that are in use: id, path, offset and length. *member is valid during the call.
 */
int store_each_member(const char *path,
		      int (*fn)(void *context, const struct store_spare *member), void *context,
		      struct error *err);

struct store_totals {
	uint64_t remapped_sectors, pending_sectors;
	uint64_t remaps; /* rows */
	uint64_t bad_slots;
	uint64_t faults; /* sectors with a simulated fault, INT64_MAX: or more */
	uint64_t events;
};
int store_totals(struct store *, struct store_totals *ret);

/* Used and bad slots of one spare. */
int store_spare_usage(struct store *, spare_id_t, uint64_t *ret_used, uint64_t *ret_bad);

/* ---- its files -------------------------------------------------------------- */

/* Where the files of a store that was opened for writing are now. */
enum store_place {
	STORE_IN_PLACE,
	STORE_MISPLACED,     /* the database is gone from its path, or another file is there */
	STORE_LOG_MISPLACED, /* the same of its log or the log's index */
};
/* Thread-safe: asks the file system only. Until it is in place nothing commits. */
enum store_place store_place(const struct store *);

/* Bytes of the log; 0 too where that is not known. Thread-safe. */
uint64_t store_log_bytes(const struct store *);
/*
 * Copies the log into the database and cuts it to nothing. -EBUSY, without
 * waiting: somebody reads or writes the database; others as above.
 */
int store_shrink_log(struct store *);
/* Copies as much of the log as can be, so that it is found without the log too. */
int store_empty_log(struct store *);

/* How far the scrub is: see volume_scrub_start. */
enum scrub_state { SCRUB_NONE, SCRUB_RUNNING, SCRUB_PAUSED, SCRUB_DONE };
const char *scrub_state_name(enum scrub_state);

struct scrub_counts {
	uint64_t lost;     /* sectors that could not be read: now pending */
	uint64_t weak;     /* sectors that could be read only on a retry, or slowly */
	uint64_t moved;    /* of these: to a spare, or to another slot */
	uint64_t cured;    /* pending sectors that could be read again */
	uint64_t unsteady; /* places where a read failed that then could not be pinned down */
	uint64_t skipped;  /* sectors that were not read */
};

struct store_scrub {
	enum scrub_state state;
	uint64_t rate;   /* bytes a second at most; 0: no bound */
	sector_t sector; /* all before it have been read */
	struct scrub_counts found;
	char at[32]; /* when this was written, UTC; not read by store_write_scrub */
};
/* SCRUB_NONE: there never was one. */
int store_read_scrub(struct store *, struct store_scrub *ret);

/* ---- tables for people ------------------------------------------------------ */

enum store_table { STORE_REMAPS, STORE_PENDING, STORE_HISTORY, STORE_FAULTS };

struct store_column {
	const char *name; /* as in -o and JSON, lower case; NULL ends the list */
	const char *help;
	bool number;
	bool hidden; /* shown only when asked for by name */
};
const struct store_column *store_columns(enum store_table);

struct store_filter {
	const char *since; /* STORE_HISTORY: only events at or after; any text SQLite's
			      datetime() reads, UTC; NULL: all */
	uint64_t limit;    /* only the newest (history) or first n rows; 0: all */
};

/*
 * Calls row with one text per column (NULL for none, where the schema has it so), in the
 * table's order: time for the history, sectors for the rest. -EINVAL: since cannot be read
 * (err says so). Stops with what row returned when that is not 0.
 */
int store_query(struct store *, enum store_table, const struct store_filter *,
		int (*row)(void *context, const char *const *values), void *context,
		struct error *err);

/* ---- changing --------------------------------------------------------------- */

int store_begin(struct store *);
/*
 * -EIO, -ENOSPC …: it is unknown whether the transaction became durable, until
 * a later commit succeeds or the store is opened again. -ESTALE: it did, in a
 * file that is not in its place any more.
 */
int store_commit(struct store *);
void store_rollback(struct store *);
/*
 * Whether there was no log (-wal) when this was opened, or none with a commit in it: one
 * that somebody deleted took commits along, one that was copied into the database did
 * not. To be asked before the first commit.
 */
bool store_log_lost(struct store *);
/* What may have been lost with it was found, and is committed. */
void store_log_found(struct store *);
/* What SQLite says of the last call that failed; until the next call. */
const char *store_message(const struct store *);

/*
 * Makes the sectors of e what e says, splitting the rows that overlap it.
 * error (positive errno, 0: none) is why, sequence that of the descriptors
 * (SECTOR_REMAPPED only).
 */
int store_set_extent(struct store *, const struct extent *e, int error, uint64_t sequence);
/* One more spare. What store_spares() says stays as it was. */
int store_add_spare(struct store *, const struct store_spare *);
/*
 * Only forward. -EEXIST: it has left already, or is to leave and holds sectors,
 * or there is none.
 */
int store_set_spare_state(struct store *, spare_id_t, enum spare_state);
/*
 * Where main (ON_MAIN) or a spare is from now on; path is absolute. What store_volume()
 * and store_spares() say stays as it was.
 */
int store_set_path(struct store *, spare_id_t, const char *path);
/*
 * What main is from now on. The places replace those before, or stay as they are where
 * there are none to write. What store_volume() says stays as it was.
 */
int store_set_identity(struct store *, const struct store_identity *);
/*
 * What its superblocks carry from now on, and so many of them: stamp, or
 * next_stamp where that is not 0. What store_spares() says stays as it was.
 */
int store_set_stamp(struct store *, spare_id_t, uint64_t stamp, uint64_t next_stamp,
		    unsigned stamped);
/* The spare has durably confirmed that sequence, or a greater one. */
int store_set_confirmed(struct store *, spare_id_t, uint64_t confirmed);
/* Slots that are bad already are passed over. */
int store_add_bad_slots(struct store *, spare_id_t, slot_t first, uint64_t count, int error);

/* Not SCRUB_NONE. Replaces what was there. */
int store_write_scrub(struct store *, const struct store_scrub *);

enum event_kind {
	EVENT_CREATED,         /* the volume was made */
	EVENT_OPENED,          /* by a daemon */
	EVENT_CLOSED,          /* by a daemon, everything flushed */
	EVENT_REMAPPED,        /* sectors of main now live on a spare */
	EVENT_MOVED,           /* remapped sectors went to other slots */
	EVENT_PENDING,         /* sectors could not be read and have no copy */
	EVENT_CURED,           /* pending sectors were written and verified in place, or read again */
	EVENT_SLOT_BAD,        /* slots will not be used again */
	EVENT_WRITE_FAILED,    /* a write was answered with an error */
	EVENT_SPARES_FULL,     /* there was no slot for a sector */
	EVENT_DEVICE_FAILED,   /* main or a spare failed as a whole */
	EVENT_DEVICE_WORKS,    /* … and answered again */
	EVENT_FLUSH_FAILED,    /* fsync was answered with an error */
	EVENT_COMMIT_FAILED,   /* the database would not commit */
	EVENT_COMMIT_WORKS,    /* … and commits again */
	EVENT_LOG_STUCK,       /* the database's log grows, since somebody reads in it */
	EVENT_LOG_SHRUNK,      /* … and is short again */
	EVENT_FAULTS_ADDED,    /* simulated */
	EVENT_FAULTS_CLEARED,  /* simulated */
	EVENT_GAVE_UP,         /* the worker died again and again; the mount was ended */
	EVENT_FAULT_SPENT,     /* a simulated fault that does not last has ended */
	EVENT_REPAIRED,        /* the format of a spare, from the database */
	EVENT_REBUILT,         /* the database, from the spares */
	EVENT_SPARE_ADDED,     /* one more lends slots */
	EVENT_SPARE_RETIRING,  /* one lends no more, and is being emptied */
	EVENT_SPARE_RETIRED,   /* … holds nothing any more, and is not used */
	EVENT_SPARE_LOST,      /* one was given up with all that was on it */
	EVENT_PATH_CHANGED,    /* main or a spare was found somewhere else */
	EVENT_UNMAPPED,        /* sectors live on main again, written there and verified */
	EVENT_SCRUB_STARTED,
	EVENT_SCRUB_PAUSED,    /* by an operator, or because a device is gone */
	EVENT_SCRUB_RESUMED,
	EVENT_SCRUB_DONE,      /* everything has been read: what was found */
	EVENT_MAIN_CHANGED,    /* something else wrote to main since the last close */
	EVENT_CLOCK_BACK,      /* made by store_add_event: the clock is behind the newest row */
};

struct event {
	enum event_kind kind;
	sector_t sector; /* with sectors > 0 */
	uint64_t sectors;
	spare_id_t spare; /* ON_MAIN: none */
	slot_t slot;      /* with spare */
	int error;        /* positive errno, or 0 */
	char detail[200];
};
int store_add_event(struct store *, const struct event *);

/* One more open: what store_volume()->opens says afterwards, once committed. */
int store_count_open(struct store *);

/*
 * id is not read. A fault that does not last becomes one row a sector, so that
 * each is spent on its own.
 */
int store_add_fault(struct store *, const struct fault *);
int store_clear_fault(struct store *, int64_t id);
/* All faults, or those that touch the range on spare (ON_MAIN: main). */
int store_clear_all_faults(struct store *, uint64_t *ret_cleared);
int store_clear_faults_in(struct store *, spare_id_t spare, sector_t start, uint64_t count,
			  uint64_t *ret_cleared);

#endif
