/*
 * A volume: one main, its spares and its map. This is where the contract is
 * kept (docs/guarantees.md); it knows nothing of FUSE, argv, JSON or SQL.
 *
 * Offsets and lengths are bytes of the image, whose size never changes. Any
 * offset and length inside the image will do; whole sectors in a buffer that
 * is aligned to VOLUME_ALIGNMENT take the fast path. All calls but open and
 * close may be made from many threads at once. Each takes effect at one
 * instant between its call and its return. They return 0 or:
 *
 *   -EINVAL   outside the image
 *   -EIO      a sector is lost (read), or the write could not be kept
 *   -ENOSPC   the file system that holds main is full
 *   -EROFS    the volume was opened read-only
 *   -ENOMEM
 */
#ifndef REMAPFS_VOLUME_H
#define REMAPFS_VOLUME_H

#include "remapfs/device.h"
#include "remapfs/error.h"
#include "remapfs/extent.h"
#include "remapfs/parse.h"
#include "remapfs/store.h"
#include "remapfs/trouble.h"

#include <stdatomic.h>
#include <stddef.h>

#define VOLUME_ALIGNMENT 4096u

struct volume;

/*
 * Where the parts of a volume come from when they are no files and block
 * devices: a simulation. Stays the caller's while the volume is open.
 */
struct volume_parts {
	int (*open_device)(void *context, const char *path, const struct file_device_options *,
			   struct device **ret, struct error *err);
	void *context;
	const char *vfs; /* of SQLite, for the database */
};

/*
 * Locks the volume at path against every other process: contract 8. *ret_fd
 * holds the lock, also in children that inherit it, until all copies of it are
 * closed. It must stay open for as long as this process uses the database
 * (closing it drops the locks of SQLite as well). The file is read ahead, since
 * opening needs all of it. -EBUSY: another one holds it, and still did after
 * wait_ms; as folder_check; or as open(2). err has the line.
 */
int volume_lock(const char *path, unsigned wait_ms, int *ret_fd, struct error *err);

/* ---- members that are open for longer than one process serves them ------------- */

/* Main (ON_MAIN) or a spare, and its descriptor. */
struct volume_member {
	spare_id_t id;
	int fd;
};

/* Of a member, for the processes that open it one after the other; zeros at first. */
struct member_mark {
	atomic_bool cut;        /* its file was seen to be cut short */
	atomic_uchar unflushed; /* of a spare, see spare_note_unflushed_at */
};

/*
 * What a process serves that did not open it. Stays the caller's while the volume is
 * open. joined and left are called by one thread at a time.
 */
struct volume_members {
	const struct volume_member *all;
	size_t count;
	struct member_mark *marks; /* of SPARE_ID_MAX + 1, by id; NULL: nothing is kept */
	/*
	 * A spare is to join, fd is the one that its opener passed: whoever holds the others
	 * claims it and keeps it. Otherwise -errno, and it does not join; err has the line.
	 */
	int (*joined)(void *context, const struct store_spare *, int fd, struct error *err);
	/* One has left, or did not join after all. */
	void (*left)(void *context, spare_id_t);
	void *context;
};

/*
 * Opens and claims main and all spares that are in use, by their paths, for the
 * processes that serve them. Nothing is written to them. With read_only main is opened
 * for reading, and so is a spare that cannot be written. The caller holds volume_lock,
 * and calls from one thread at a time. err has the line. Errors: those of
 * store_each_member and file_device_open, -EINVAL (two share storage).
 */
struct volume_hold;
int volume_hold_open(const char *path, bool read_only, unsigned lock_wait_ms,
		     struct volume_hold **ret, struct error *err);
void volume_hold_close(struct volume_hold *); /* NULL is allowed */
/*
 * One more spare, which another process has opened as file_device_descriptor does; fd
 * stays the caller's. In place of one of the same number. -EINVAL: no such number, or
 * there are too many; -EBADF: fd is not what the path leads to; those of file_device_open.
 */
int volume_hold_add(struct volume_hold *, const struct store_spare *, int fd, struct error *err);
/* No-op if it is not held. */
void volume_hold_drop(struct volume_hold *, spare_id_t);
size_t volume_hold_count(const struct volume_hold *);
/* The descriptor stays the hold's. */
struct volume_member volume_hold_member(const struct volume_hold *, size_t index);
/* As file_device_claims of it. */
size_t volume_hold_claims(const struct volume_hold *, size_t index, int *ret);

struct volume_options {
	bool read_only;
	/*
	 * Serve what is remapped, but move nothing more and record no pending
	 * sectors: errors reach the caller as from the bare disk.
	 */
	bool no_remap;
	/*
	 * How long one request may go on finding out which of its sectors fail;
	 * past that it tries nothing more: a write moves the rest as one, a read, a
	 * discard and a zeroing give up. 0: 10 s. See docs/guarantees.md.
	 */
	unsigned isolation_ms;
	/* A scrub takes a sector whose reading takes longer for a weak one. 0: 1 s. */
	unsigned slow_ms;
	/* How long to wait for another process to let go of the volume. */
	unsigned lock_wait_ms;
	bool locked; /* the caller holds volume_lock */
	/*
	 * Where it stands that a flush failed, for who opens the same volume again
	 * under the same users: fsync goes on failing (contract 5). NULL: forgotten
	 * when the volume is closed. Stays the caller's.
	 */
	atomic_bool *flush_failed;
	/* NULL: they are opened by their paths. */
	const struct volume_members *members;
	/*
	 * Another process served them, to users who go on: what was served is not refused
	 * (successor.c). With members.
	 */
	bool successor;
	/*
	 * Set where an opening failed since the database cannot do its part, which may pass:
	 * it is locked or not in its place, its disk is full or fails. NULL: not told.
	 */
	bool *database_failed;
	const char *opener; /* for the history: what opened it; may be NULL */
	/* NULL: files and block devices, which are locked (contract 8). */
	const struct volume_parts *parts;
};

/*
 * Opens and locks main, spares and database, and loads the map.
 * err has the line. Errors: -ENOENT, -EBUSY (in use), -EBADMSG (a file is not
 * what the volume says), -EUCLEAN (map and spares contradict), or those of
 * store_open and file_device_open.
 */
int volume_open(const char *path, const struct volume_options *, struct volume **ret,
		struct error *err);

/*
 * Flushes, records the end and lets go. The result is that of the last flush
 * and commit; the volume is gone in any case. No call may be under way.
 */
int volume_close(struct volume *);

uint64_t volume_size(const struct volume *); /* bytes */
uint32_t volume_sector_size(const struct volume *);
const char *volume_uuid(const struct volume *);

int volume_read(struct volume *, void *buf, size_t length, uint64_t offset);
int volume_write(struct volume *, const void *buf, size_t length, uint64_t offset);

/*
 * ---- reads and writes of which the caller does the I/O --------------------------
 *
 * For who has more requests under way than threads (see queue.h). What most
 * requests come to is one read or write of one device. volume_start_read and
 * volume_start_write say which, wait for nothing, and hold the sectors until
 * volume_finish. false: nothing was done, since there is more to do or to wait for;
 * volume_read and volume_write do that.
 *
 * The I/O is device_read or device_write of what the volume_io says, or the same
 * queued. volume_finish takes its result and returns what volume_read or
 * volume_write would have; with -EAGAIN, for I/O that was not done, it does it. It
 * may be called by another thread, must be called exactly once, and waits for
 * nothing if the result is 0.
 *
 * A volume_io is the caller's, for one request at a time.
 */
struct volume_io {
	struct device *device;
	void *buf; /* of a write: only read */
	size_t length;
	uint64_t offset; /* bytes of the device */
	bool write;
};

struct volume_io *volume_io_new(void); /* NULL: no memory */
void volume_io_free(struct volume_io *);

bool volume_start_read(struct volume *, void *buf, size_t length, uint64_t offset,
		       struct volume_io *);
bool volume_start_write(struct volume *, const void *buf, size_t length, uint64_t offset,
			struct volume_io *);
int volume_finish(struct volume *, struct volume_io *, int result);

/* Durable: every write that returned before the call began. Contract 5. */
int volume_flush(struct volume *);

/*
 * Afterwards the range reads as zeros; discard may free space on main, and
 * fails with -EOPNOTSUPP, nothing done, where main cannot do that.
 */
int volume_discard(struct volume *, uint64_t offset, uint64_t length);
int volume_zero(struct volume *, uint64_t offset, uint64_t length);

/*
 * The first part at or after offset that may hold data, as byte range.
 * -ENXIO: zeros up to the end. For lseek(2).
 */
int volume_next_data(struct volume *, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end);

/*
 * Records an event of a volume that is not open, by who holds its lock. Errors
 * as store_open.
 */
int volume_note(const char *path, const struct event *event);

/* ---- spares that come and go ------------------------------------------------ */

/*
 * Before volume_prepare_spare overwrites what may be a spare of the volume. err has the
 * line: -EROFS, -EINPROGRESS: a commit that failed may have added one, which the
 * next opening finds out.
 */
int volume_may_add_spare(struct volume *, struct error *err);

/*
 * Takes in a spare that volume_prepare_spare made: from then on it lends slots.
 * What `slots` and `length` say is measured anew. err has the line: -EAGAIN
 * (another spare came first), those of volume_may_add_spare (also when the commit
 * failed now), of volume_open, and of the commit.
 */
int volume_add_spare(struct volume *, const struct store_spare *, struct error *err);

/*
 * The same of a spare that another process has opened (file_device_descriptor),
 * for who may not open it. fd stays the caller's. -EBADF: it is not that spare.
 */
int volume_add_opened_spare(struct volume *, const struct store_spare *, int fd,
			    struct error *err);

/*
 * The spare lends nothing any more, and a thread moves what is on it to the
 * others; when it is empty its superblocks are wiped and it is not used again.
 * Goes on after the volume is opened anew. With lost nothing is read from it:
 * its sectors become pending. err has the line: -ENOENT (none of that number in
 * use), -EINVAL (the last one that lends slots, and not lost), -EROFS, and
 * those of the commit. volume_status tells when it is stuck.
 */
int volume_retire_spare(struct volume *, spare_id_t, bool lost, struct error *err);

/*
 * One pass over the retiring spares, as the thread does it. For simulations,
 * which have no such thread. Whether any is left that is not empty.
 */
bool volume_empty_spares(struct volume *);

/*
 * Gives up a spare of a volume that is not open, and maybe cannot be without
 * it: its sectors become pending. *ret_sectors: how many. err has the line.
 * Errors: those of volume_lock and store_open, -ENOENT, and of the commit.
 */
int volume_forget_spare(const char *path, spare_id_t, uint64_t *ret_sectors, struct error *err);

/* ---- main and spares that are somewhere else --------------------------------- */

struct path_change {
	spare_id_t spare; /* ON_MAIN: main */
	const char *path;
};

/*
 * Tells a volume that is not open where main or spares are now: names of disks
 * change from one start of the machine to the next. All in one transaction, or
 * none. A spare is known by its superblock, main by what is kept of it: another one with
 * other content, or one that cannot be compared, is taken with force alone. warning gets a
 * line when main is a copy, was written to by something else, may be another one, or when
 * what was main before is still there. err has the line. Errors: -ENOENT (no such file, or
 * no spare of that number in use), -EBADMSG (it is another spare, an older copy of it,
 * another main, or has another size), -EINVAL (main is a spare or the database, or a number
 * is given twice), -EBUSY, those of volume_lock, store_open, file_device_open and of the
 * commit.
 */
int volume_set_paths(const char *path, const struct path_change *, size_t count, bool force,
		     struct error *warning, struct error *err);

/* ---- sectors that leave main, and come back ---------------------------------- */

/* How far the call came, also when it failed. */
struct volume_progress {
	sector_t next;  /* the first sector not looked at; at the end of the ranges: none */
	uint64_t moved; /* sectors that live elsewhere now */
	uint64_t lost;  /* mark: sectors that could not be read, and so are pending now */
	uint64_t left;  /* unmap: sectors that stay on their spare: main does not hold them */
};

/*
 * Sectors that are known to be bad: what is readable moves to a spare now, what
 * is not becomes pending; what is remapped or pending stays as it is. The ranges
 * are sorted and do not overlap. Gives way to requests; returns once patience_ms
 * are over, to be called again from ret->next on. err has the line:
 * -EROFS, -EINVAL (the ranges), -ENOSPC (no slot is free), -EIO (main does not
 * answer, or nothing can be committed), -ENOMEM.
 */
int volume_mark(struct volume *, const struct sector_range *ranges, size_t count,
		unsigned patience_ms, struct volume_progress *ret, struct error *err);

/*
 * Sectors whose content is known to be lost, such as those that ddrescue could
 * not copy: those that are good become pending without being read, and only a
 * write cures them. What is remapped or pending stays as it is. Otherwise as
 * volume_mark; no slot is needed. -EIO: the rows were not committed, and where
 * that is in doubt the sectors are pending until the volume is opened anew.
 */
int volume_mark_lost(struct volume *, const struct sector_range *ranges, size_t count,
		     unsigned patience_ms, struct volume_progress *ret, struct error *err);

/*
 * Remapped sectors go back to main where that holds them again: written,
 * flushed, read back equal, and only then forgotten. Their slots are free
 * afterwards. What main does not hold stays on its spare and is counted. As
 * volume_mark, and -EBUSY: a spare is leaving or has failed, so that what it
 * says of these sectors cannot be taken back. -EIO also: a spare does not take
 * that its slots are free. ret->lost: sectors of which the slot failed.
 */
int volume_unmap(struct volume *, const struct sector_range *ranges, size_t count,
		 unsigned patience_ms, struct volume_progress *ret, struct error *err);

/* ---- scrub ------------------------------------------------------------------- */

#define SCRUB_RATE_DEFAULT (UINT64_C(32) << 20)
#define SCRUB_RATE_MIN (UINT64_C(64) << 10)

/*
 * Reads every sector from where it lives, on a thread of its own that gives way
 * to requests, at most `rate` bytes a second (at least SCRUB_RATE_MIN; 0: no
 * bound). What cannot be read becomes pending. What could be read only on a
 * retry, or took longer than slow_ms twice while its neighbours did not, is
 * weak, and is moved. Pending sectors of main are read once more, and cleared if
 * they were lost since the volume was opened and nobody began to write them
 * since. With read_only and no_remap nothing is moved or cleared; with no_remap
 * nothing becomes pending either.
 *
 * How far it is stands in the database, so that it can go on after a crash. It
 * pauses by itself when main or a spare is gone: contract 7.
 *
 * err has the line. -EBUSY (start: one is running), -EINVAL (pause, resume:
 * there is none to pause or to resume; the rate), -ENOMEM, -EAGAIN (no thread),
 * and those of the commit. Pausing a paused one and resuming a running one
 * succeed. resume with SCRUB_RATE_SAME keeps the rate.
 */
#define SCRUB_RATE_SAME UINT64_MAX
int volume_scrub_start(struct volume *, uint64_t rate, struct error *err);
int volume_scrub_pause(struct volume *, struct error *err);
int volume_scrub_resume(struct volume *, uint64_t rate, struct error *err);
/* After volume_open: one that was running goes on. */
void volume_scrub_continue(struct volume *);

struct volume_scrub {
	struct store_scrub scrub;
	char reason[120];          /* why it paused by itself; "": it did not */
	uint64_t done, total;      /* bytes */
	uint64_t bytes_per_second; /* since it was begun or resumed, or the volume opened */
	uint64_t seconds_left;     /* at this pace; 0: not known */
};
/* As volume_status. */
void volume_scrub_look(struct volume *, struct volume_scrub *ret);

/* ---- faults that are simulated ------------------------------------------------ */

/* Takes the simulated faults from the database anew; at once for new requests. */
int volume_reload_faults(struct volume *);

struct volume_status {
	struct troubles troubles; /* contract 13 */
	bool main_failed;   /* main did not answer when it was last tried */
	bool flush_failed;  /* a flush failed since it was opened: fsync fails */
	bool commit_failed; /* the last commit failed, or could only fail */
	int commit_error;   /* positive errno of that; 0: it did not */
	bool misplaced;     /* the database is not at its path, or another one is */
	bool main_full;     /* the file system that holds main had no room */
	uint64_t slots_needed, slots_found; /* by the last write that found too few; 0: none */
	bool main_direct;   /* main is read and written past the page cache */
	char stuck[200];    /* why a retiring spare cannot be emptied; "": it can */
	uint64_t faults;    /* sectors with a simulated fault in force */
	uint64_t remapped_sectors, pending_sectors, free_slots;
	uint64_t reads, writes, errors, commits; /* since it was opened */
	uint64_t map_bytes;
	uint64_t log_bytes; /* of the database's log, when that was last looked at */
	bool log_stuck;     /* it is long, and somebody reads in it, so it cannot shrink */
};
/* Takes no lock that I/O holds: answers while every request is stuck. */
void volume_status(struct volume *, struct volume_status *ret);

struct volume_spare_status {
	spare_id_t id;
	uint64_t free; /* slots that can be given out now */
	enum volume_state health;
};
/* Of one spare after the other, in the order of their numbers; false: i is past the last. */
bool volume_spare_status(struct volume *, size_t i, struct volume_spare_status *ret);

/* ---- making one ------------------------------------------------------------- */

struct part_spec {
	const char *path;
	uint64_t size;   /* bytes: make the file when it is missing; 0: it must exist */
	uint64_t offset; /* spares: the region; length 0: up to the end */
	uint64_t length;
};

struct create_options {
	const char *path; /* of the SQLite file, which must not exist */
	struct part_spec main;
	const struct part_spec *spares;
	size_t spare_count;    /* 1 to SPARE_ID_MAX */
	uint32_t sector_size;  /* 512, 4096, or 0: what main has */
	bool force;            /* spares may carry a file system or be another volume's */
	/*
	 * Called often while spares are verified; may be NULL. Returning false
	 * gives up: volume_create cleans up and fails with -EINTR.
	 */
	bool (*progress)(void *context, const char *what, uint64_t done, uint64_t total);
	void *context;
};

/*
 * Checks everything first and changes nothing unless all of it holds; then
 * makes missing files (main sparse, spares allocated), writes and reads back
 * every spare sector, formats the spares and makes the database. On failure
 * the files that it made are removed. A spare with a bad sector is refused:
 * a region (offset, length) beside it can be used. warning gets a line, or "".
 *
 * Errors: -EEXIST, -ENOENT, -EINVAL (sizes, sector sizes, overlaps), -EBUSY,
 * -EIO (a bad spare sector), -EINTR, those of file_device_open and store_create.
 */
int volume_create(const struct create_options *, struct error *warning, struct error *err);

struct prepare_options {
	const char *path; /* of the volume, which may be open elsewhere */
	struct part_spec spare;
	bool force; /* as in struct create_options */
	bool *ret_made; /* whether the file was made; may be NULL */
	bool (*progress)(void *context, const char *what, uint64_t done, uint64_t total);
	void *context;
};

/*
 * Makes one more spare for a volume, for volume_add_spare: with the checks of
 * volume_create and the same errors, and those of store_open. ret->path is the
 * caller's to free. What is not added after all is accepted when it is prepared
 * again.
 */
int volume_prepare_spare(const struct prepare_options *, struct store_spare *ret,
			 struct error *warning, struct error *err);

#endif
