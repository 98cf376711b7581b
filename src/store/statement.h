/*
 * Every SQL statement of the program, by name, and how one is run. Internal
 * to store/.
 */
#ifndef STORE_STATEMENT_H
#define STORE_STATEMENT_H

#include <sqlite3.h>
#include <sys/types.h>

#include "remapfs/store.h"

enum statement {
	SQL_BEGIN,
	SQL_FREEZE,
	SQL_COMMIT,
	SQL_ROLLBACK,
	SQL_VOLUME_INSERT,
	SQL_VOLUME_READ,
	SQL_VOLUME_COUNT_OPEN,
	SQL_VOLUME_PATH,
	SQL_IDENTITY_READ,
	SQL_IDENTITY_WRITE,
	SQL_PLACES_READ,
	SQL_PLACES_DELETE,
	SQL_PLACE_INSERT,
	SQL_MAP_SUM_READ,
	SQL_MAP_SUM_CHANGE,
	SQL_PLACED,
	SQL_PLACED_ALL,
	SQL_SPARE_INSERT,
	SQL_SPARE_READ,
	SQL_SPARE_STATE,
	SQL_SPARE_PATH,
	SQL_SPARE_STAMP,
	SQL_SPARE_CONFIRMED,
	SQL_SPARE_USED,
	SQL_SPARE_BAD,
	SQL_REMAP_INSERT,
	SQL_REMAP_DELETE,
	SQL_REMAP_OVERLAP,
	SQL_PENDING_INSERT,
	SQL_PENDING_DELETE,
	SQL_PENDING_OVERLAP,
	SQL_EXTENTS,
	SQL_BAD_SLOT_INSERT,
	SQL_BAD_SLOT_NEXT,
	SQL_BAD_SLOTS,
	SQL_HISTORY_CLOCK_BACK,
	SQL_HISTORY_INSERT,
	SQL_HISTORY_LIFE,
	SQL_HISTORY_CLOSE,
	SQL_FAULT_INSERT,
	SQL_FAULT_READ,
	SQL_FAULT_DELETE,
	SQL_FAULT_DELETE_ALL,
	SQL_FAULT_DELETE_IN,
	SQL_SCRUB_READ,
	SQL_SCRUB_WRITE,
	SQL_EVENTS,
	SQL_TIME,
	SQL_LIST_REMAPS,
	SQL_LIST_PENDING,
	SQL_LIST_HISTORY,
	SQL_LIST_FAULTS,
	SQL_COUNT,
};

/* The database, its log, and the index of that. */
#define STORE_FILES 3

struct store {
	sqlite3 *db;
	sqlite3_stmt *statements[SQL_COUNT]; /* prepared at first use */
	uint64_t map_sum; /* what the open transaction changes volume.map_sum by */
	enum { LOG_NOT_ASKED, LOG_LOST, LOG_HERE } log; /* when this was opened */
	bool watched;     /* what follows is known: see place.c */
	struct {
		dev_t device;
		ino_t inode;
	} files[STORE_FILES];
	struct store_volume volume;
	struct store_spare *spares;
	size_t spare_count;
	struct store_spare joined; /* since then, the one asked for last; without its path */
	char damage[96]; /* what a row has that it cannot have; "": nothing was seen */
	uint64_t steps;  /* of SQLite's machine, by the thousand, in this statement: see budget.c */
	uint64_t budget; /* most of them, as last computed */
	uint64_t copied; /* bytes of the file that a database in memory is a copy of */
};

/* The negative errno for what SQLite last said, as store.h lists them. */
int store_errno(struct store *);

/*
 * The prepared statement, reset and without bindings; NULL: see store_errno.
 * It stays with the store.
 */
sqlite3_stmt *store_statement(struct store *, enum statement);

/*
 * Binds by type letters from the arguments: 'i' int64_t, 't' const char *
 * (NULL: null; must live until the statement is done), 'n' nothing: null.
 */
sqlite3_stmt *store_bind(struct store *, enum statement, const char *types, ...);

/* Runs a statement that returns no rows. NULL passes its error on. */
int store_run(struct store *, sqlite3_stmt *);

/* 1: a row is there, 0: no more, or a negative errno. Resets at the end. */
int store_step(struct store *, sqlite3_stmt *);

/* Ends a statement before its last row. */
void store_done(sqlite3_stmt *);

/* Copies a text column; "" for NULL. */
void store_text(sqlite3_stmt *, int column, char *to, size_t size);

/*
 * Ends a statement that takes more steps than a database of this size can need: one whose
 * pages lead in circles is read for ever. It then fails with -EUCLEAN.
 */
void store_watch_budget(struct store *);
/* Bytes of the database and of its log that are there, not holes. */
uint64_t store_bytes(const struct store *);
/* A statement begins: all of the budget is its own. */
void store_begin_budget(struct store *);

/*
 * store_each_extent without a word on the sum: *sum gets it by exclusive or. For whoever
 * shows the rows; that the sum is wrong is told beside them.
 */
int store_walk_extents(struct store *, int (*fn)(void *context, const struct extent *),
		       void *context, uint64_t *sum);

/* Remembers which files the open database consists of, if they are files. */
void store_note_place(struct store *);

/* A connection to the database at path; vfs NULL: the default one. */
int store_connect(const char *vfs, const char *path, int flags, struct store **ret,
		  struct error *err);

/* The line for an error of SQLite. Returns rc. */
int store_explain(struct store *, int rc, const char *path, struct error *err);

/*
 * 0: the schema is the one of that version. -EUCLEAN: it is not; others as
 * store_errno. err has the line.
 */
int store_check_schema(struct store *, int version, const char *path, struct error *err);

/* Brings the schema from its version to the newest, in one transaction. */
int store_migrate(struct store *, int version, struct error *err);

/*
 * The spare of that id, one that joined since the opening too: as it was when it was first
 * asked for, until the next call. NULL: there is none.
 */
const struct store_spare *store_spare_of(struct store *, spare_id_t);

/* Copies what is known of main into the store. */
int store_read_identity(struct store *);

/* Copies the volume and spare rows into the store. */
int store_read_volume(struct store *);

#endif
