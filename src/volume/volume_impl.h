/*
 * A volume from the inside, and what its parts do for each other. Every file
 * here keeps one part of the contract; docs/states.md tells which.
 *
 * Locks, in the order in which they may be taken:
 *   range lock (locks)  -> marking -> those inside map, spare, committer
 *   saving of the scrub -> those inside committer, scrub
 * That of evidence is held for no I/O.
 * Nothing waits for a range lock while it holds another lock or another range.
 */
#ifndef VOLUME_IMPL_H
#define VOLUME_IMPL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uuid/uuid.h>

#include "remapfs/map.h"
#include "remapfs/spare.h"
#include "remapfs/volume.h"
#include "volume/background.h"
#include "volume/clock.h"
#include "volume/commit.h"
#include "volume/range_lock.h"
#include "volume/scrub.h"
#include "volume/spare_set.h"

/* To be written, never to be changed; aligned. */
#define ZEROS_BYTES (1u << 20)
extern uint8_t volume_zeros[ZEROS_BYTES];

#define NOT_FULL UINT64_MAX
#define EVIDENCE 8
#define PROBE_MS 1000 /* what asking main elsewhere may take, and one answer more */

/* Whether main reads, or writes: see health.c. */
struct evidence {
	const char *what; /* "reads", "writes" */
	/* Of each eighth of main, where it worked last; UINT64_MAX: nowhere. */
	_Atomic(sector_t) worked[EVIDENCE];
	/* The most errors of main of which I/O knew, when it began, that succeeded. */
	_Atomic(uint64_t) works_after;
	/* The number of the last error that was of main as a whole; 0: it works. */
	_Atomic(uint64_t) failed;
	pthread_mutex_t lock;    /* guards what follows */
	pthread_cond_t answered; /* of monotonic_cond_init */
	bool asked;              /* by somebody */
};

struct volume {
	struct volume_options options;
	/*
	 * Read-only, and the database or a spare cannot be written: a copy of the database in
	 * memory and overlays of the spares take what is recorded, until the volume is closed.
	 */
	bool sealed;
	int lock_fd; /* on the database file: contract 8 */
	char uuid[37];
	uint32_t sector_size;
	sector_t sectors;

	struct device *main;
	struct spare_set spares;
	pthread_mutex_t membership; /* held by who adds a spare or lets one go */
	bool adding_in_doubt; /* the row of a spare may turn out to be durable; under membership */
	spare_id_t last_spare;      /* the greatest number that there ever was */
	uint32_t spares_in_use;     /* all but those that were retired, or wiped for it */
	uint64_t stamp;       /* of this life: see stamp.c */
	bool stamp_everywhere;
	atomic_bool in_doubt; /* the slot tables may say what no row does: see tables_in_doubt */
	struct background emptying; /* of retiring spares */
	_Atomic(const char *) stuck; /* why they cannot be emptied; NULL: they can */
	struct map *map;
	/* Pending sectors of main that it may still hold as they were: pending.c. */
	struct map *main_intact;
	atomic_bool none_intact; /* there was no memory to forget one: none counts any more */
	struct scrub scrub;
	struct store *store;
	struct committer committer;
	struct change opening; /* what is to be recorded of the opening, before that can be */
	bool started;          /* it can be */
	struct range_locks locks;
	pthread_mutex_t marking; /* of sectors as pending: see pending.c */
	struct store_identity identity; /* of main, without places: see identity.h */
	bool main_changed;              /* something else wrote to it before it was opened */
	struct evidence reading, writing; /* main */
	_Atomic(uint64_t) main_errors;    /* that were judged: their numbers, from 1 on */
	pthread_mutex_t flushing;         /* main: a second flush waits for the first */
	_Atomic(uint64_t) flushes_begun;  /* of main; changes under flushing only */

	atomic_bool *flush_failed, own_flush_failed; /* the first may be the second */
	/* What the last request needed that found too few free slots, and how many there were. */
	_Atomic(uint64_t) slots_needed, slots_found; /* told once, until there is room; 0: there is */
	/*
	 * Where main's file system had no room, NOT_FULL: it has; and for how many sectors.
	 * Both are set under the lock of writing.
	 */
	_Atomic(sector_t) full_at;
	uint64_t full_count;
	struct background watching; /* the devices: device_watch.c */
	_Atomic(int64_t) looking_since; /* at a spare, in now_ms(); 0: at none */
	_Atomic(struct spare *) looking_at;
	_Atomic(uint64_t) reads, writes, errors;
	_Atomic(int64_t) last_complaint; /* monotonic seconds */
	_Atomic(uint64_t) complaints_left_out;
};

static inline uint64_t bytes_of(const struct volume *v, uint64_t sectors)
{
	return sectors * v->sector_size;
}

struct spare_judgement; /* age.h */

struct spare *volume_spare(struct volume *, spare_id_t);

/* When who begins now has to stop finding out which sectors or slots fail. */
int64_t isolation_deadline(const struct volume *);

/* What one request puts up with of spares whose slots fail: see relocate.c. */
struct spare_budget {
	int64_t deadline;          /* in now_ms(), for all spares; 0: none was written to yet */
	const struct spare *spare; /* the last one of which a slot failed */
	unsigned bad_slots;        /* of that one, in a row */
	unsigned late_failures;    /* past the deadline, of spares that were not given up for it */
};

/* What one call of volume.h holds until it returns. */
struct request {
	struct range_ticket ticket;
	int64_t deadline; /* in now_ms(): then it stops finding out what fails */
	bool failing;     /* main is alive and refused some of what was to be written */
	struct spare_budget spare_budget;
};

/* ---- request.c ----------------------------------------------------------------------- */

/* The sectors that a range of bytes touches. */
struct span {
	sector_t start;
	uint64_t count;
	uint32_t head; /* bytes of the first sector before the range */
	uint32_t tail; /* bytes of the last sector after it */
};

/* -EINVAL: outside the image. */
int make_span(const struct volume *, uint64_t offset, uint64_t length, struct span *ret);

/* Whether buf can be used for it as it is. */
static inline bool is_direct(const struct span *s, const void *buf)
{
	return s->head == 0 && s->tail == 0 && (uintptr_t)buf % VOLUME_ALIGNMENT == 0;
}

/* Once the request has its range. */
void begin_time(const struct volume *, struct request *);
/* Lets go of the range, and counts; of a change that failed tells as well. */
void end_read(struct volume *, struct request *, int rc);
void end_change(struct volume *, struct request *, int rc);

/*
 * ---- read.c, write.c: whole sectors, aligned buffers, inside what the request holds ---
 *
 * 0, or an error as volume.h lists them.
 */

/* Shared or owned. */
int read_sectors(struct volume *, const struct request *, void *buf, sector_t start,
		 uint64_t count);
/* What is left to do for an extent whose reading failed with error (positive). */
int read_failed(struct volume *, const struct request *, const struct extent *, void *buf,
		int error);
/* Part of an extent, from where it is (or was, if it is pending). Errors: those of the device. */
int read_extent(struct volume *, const struct extent *, void *buf);
/* Owned. */
int write_sectors(struct volume *, struct request *, const void *buf, sector_t start,
		  uint64_t count);
/* The same, where writing the extent in place failed already, with error (positive). */
int write_after(struct volume *, struct request *, const void *buf, const struct extent *,
		int error);
/* -EIO too when main refused some of it and the time of the request is over. */
int write_zeros(struct volume *, struct request *, sector_t start, uint64_t count);

/* Whether it is over for a request whose sectors fail: see docs/guarantees.md. */
static inline bool out_of_time(const struct request *r)
{
	return r->failing && now_ms() >= r->deadline;
}

/* ---- isolation: which sectors of a range fail -------------------------------------- */

struct isolation {
	int64_t deadline;
	/* Does I/O on part of the range again. */
	int (*again)(struct isolation *, sector_t start, uint64_t count);
	/*
	 * A sector that fails. When the deadline has passed also more than one, of
	 * which some may not fail, and with ETIMEDOUT such as were not tried at all.
	 */
	int (*bad)(struct isolation *, sector_t start, uint64_t count, int error);
};

/*
 * The range failed with a media error: finds by halving which sectors do, and
 * stops with what `bad` returned when that is not 0, or with an error of
 * `again` that is not of the media. Halves are cut at multiples of their size,
 * so that a physical sector is not split before it stands alone.
 */
int isolate(struct isolation *, sector_t start, uint64_t count, int error);
/* The same, but a range of one sector is tried once more before it fails. */
int isolate_again(struct isolation *, sector_t start, uint64_t count, int error);

/* In place of an errno of a slot: it must not be overwritten, see commit_confirm. */
#define UNCONFIRMED ESTALE

/* ---- relocate.c --------------------------------------------------------------------- */

/* Sectors that have to live elsewhere from now on. */
struct move {
	struct extent from; /* what they are now */
	const void *data;   /* what they shall hold */
	/*
	 * Positive errno: why. 0 and UNCONFIRMED: where it is is in order, and only has
	 * to be left.
	 */
	int error;
	const char *detail; /* for the history; NULL: none */
};

/* What a write has to settle before it can be acknowledged. */
struct settlement {
	struct move *moves;
	size_t move_count;
	struct move *cured; /* pending sectors that main holds again */
	size_t cured_count;
	struct spare_budget *budget; /* of the request that it is a part of; NULL: its own */
};

/* 0 or -ENOMEM. */
int settlement_move(struct settlement *, struct extent from, const void *data, int error);
/* data is what they hold, should they have to move after all; NULL: not known. */
int settlement_cured(struct settlement *, struct extent, const void *data);
void settlement_clear(struct settlement *);

/*
 * Moves, records, publishes: contract 1, in its order. The caller owns the
 * sectors. 0, or -EIO with nothing changed (contract 4), but that those whose
 * commit is in doubt are pending in memory. What was to be cured may be among the
 * moves afterwards.
 */
int settle(struct volume *, struct settlement *);

/* ---- flush.c ---------------------------------------------------------------------------- */

/*
 * Main alone: what was written to it before the call is durable. Many callers share
 * a flush that began after all of them called. -EIO: one did not succeed, and no
 * fsync does from now on.
 */
int flush_main(struct volume *);
/* For spare_on_failed_flush: whoever flushed it, no fsync succeeds from now on. */
void spare_did_not_flush(void *volume, struct spare *, int error);

/* ---- pending.c ------------------------------------------------------------------------ */

/*
 * The moves of lost name sectors that could not be read (without data): they
 * are pending from now on, and so recorded, all at once. Contract 3. The range
 * is shared or owned.
 */
void mark_pending(struct volume *, const struct settlement *lost);

/*
 * Whether a sector is pending and what main holds of it, could it be read, is
 * what was acknowledged last. Shared or owned.
 */
bool is_main_intact(struct volume *, sector_t);
/*
 * It is not from now on: before a write to main, and once the sector is cured, has
 * moved, or the commit of that is in doubt. Owned.
 */
void forget_intact(struct volume *, sector_t start, uint64_t count);

/* ---- reconcile.c: while the volume is opened ---------------------------------------------- */

/*
 * Compares spares and database, the map being loaded, and repairs what a crash
 * left. -EUCLEAN: they contradict each other, or -EIO …; nothing was changed.
 */
int reconcile(struct volume *, struct error *err);
/* Whether the next opening has to compare them, also after an orderly end. */
bool tables_in_doubt(struct volume *);
/* Before stamp_opening, which makes it whole. */
void tell_damaged_superblock(struct volume *, const struct spare *, const char *path);

/*
 * ---- stamp.c: what tells spares from older copies of them -----------------------------------
 *
 * An opening has stamp_announce in the transaction that records it, then stamp_opening,
 * which also confirms what was before this life.
 */

/* Begins to give all spares a new stamp. In a transaction; errors as store.h. */
int stamp_announce(struct volume *);
/*
 * Writes it, and records that. A spare that cannot be written is failed, and keeps
 * the old one. -ENOMEM, or as store.h.
 */
int stamp_opening(struct volume *);
/*
 * An orderly end: everything is flushed and confirmed, and nothing else is done with
 * the volume any more. On success `closed` is to be recorded, with which the new stamp
 * is in force. -EIO, -ENOMEM, or as store.h: it is not to be, and the next opening compares.
 */
int stamp_closing(struct volume *, struct change *closed);
/* Gives a spare that joins the stamp of the others. Errors as spare_stamp. */
int stamp_joining(struct volume *, struct spare *);

/* ---- successor.c: an opening after another process's, under the same users ------------------ */

/*
 * A spare that cannot be opened, for error (positive) as err says: it is gone, told in the
 * log, and recorded. Errors as open_spare_device.
 */
int keep_as_gone(struct volume *, const struct store_spare *, const struct spare_identity *,
		 int error, struct spare **ret, struct error *err);
/*
 * Whether an open spare that spare_judge refused may be done without, and so is gone, as
 * above: it cannot be read, or is older. Otherwise it was the database that was refused.
 */
bool do_without(struct volume *, struct spare *, const struct spare_judgement *, int error,
		const struct error *why);
/* Once it is durable that spares are not in use any more: whoever holds them lets them go. */
void let_go_of_former_spares(struct volume *);

/* ---- health.c ---------------------------------------------------------------------------- */

void evidence_init(struct evidence *, const char *what);
void evidence_destroy(struct evidence *);
/*
 * How many errors of main I/O knows of that begins now. A success is a sign of life
 * for these, and for none that came while it was under way.
 */
static inline uint64_t errors_known(const struct volume *v)
{
	return atomic_load(&v->main_errors);
}

/* Main did it, in I/O that began when so many errors were known. */
void note_read(struct volume *, sector_t, uint64_t known);
void note_written(struct volume *, sector_t, uint64_t known);
/*
 * Main answered error (positive) for [start, start + count), which the request
 * holds. 0: that speaks of these sectors. Otherwise the error to return: it is
 * about main as a whole (and is recorded), or about us. Contract 7.
 */
int judge_main_read(struct volume *, const struct request *, int error, sector_t start,
		    uint64_t count);
int judge_main_write(struct volume *, const struct request *, int error, sector_t start,
		     uint64_t count);
/* The same for a spare that was read or written. */
int judge_spare(struct volume *, struct spare *, int error, bool writing);

/*
 * A spare as a whole does not do what is asked: no slot of it is given out any
 * more, and it is recorded, once. How bad that is, error tells, or the caller.
 */
void spare_gone(struct volume *, struct spare *, int error);
void spare_is(struct volume *, struct spare *, enum spare_health, int error);
/* It recovered: recorded. */
void spare_works(struct volume *, struct spare *);
/* Asks main again where its file system had no room. */
void try_full_main(struct volume *);

/* ---- device_watch.c ---------------------------------------------------------------------- */

/*
 * A look at every device each second: spares that are gone, and what failed and may
 * do again what is asked.
 */
void watch_devices(struct volume *);
/* Begins that, on a thread of its own. */
void start_watching(struct volume *);
/* The spare that has not answered a look for too long, or NULL. */
struct spare *silent_spare(struct volume *);

/*
 * As commit_record, but does not wait for a database that does not commit: who
 * was told that already has waited enough.
 */
void record_change(struct volume *, struct change *);
/* Records an event in this way. */
void tell(struct volume *, const struct event *);
/*
 * The same, but at most once a second, with the number of those left out: who
 * goes on trying must not fill the disk.
 */
void complain(struct volume *, const struct event *);

/* ---- open.c, members.c, retire.c: spares that come and go ----------------------------------- */

/*
 * Opens the device of a spare, which shall be the one that id tells. As volume_open.
 * fd: what its path was opened as by another process, or -1; options.members: that one
 * holds the claims.
 */
int open_one_spare(struct volume *, const struct store_spare *, const struct spare_identity *id,
		   int fd, struct spare **ret, struct error *err);
/* Of a member, NULL: nothing is kept for later openings. */
struct member_mark *mark_of(const struct volume *, spare_id_t);
/* Its device, of the kind and size that the spare has. *ret is one of fault_device_wrap. */
int open_spare_device(struct volume *, const struct store_spare *, int fd, struct device **ret,
		      struct error *err);
/* What every spare that is open is given. Closes it on failure. -ENOMEM. */
int name_spare(struct volume *, const struct store_spare *, struct spare *, struct error *err);
/*
 * As parts_open_device, of main (id ON_MAIN) or a spare, with a remedy where it is not
 * there, and -EBADMSG for a main that is not info->length bytes long: hold.c.
 */
int open_member(const struct volume_parts *, const struct store_spare *,
		const struct file_device_options *, struct device **ret, struct error *err);
/* Writes into the superblocks of all spares how many there are in use; leaving may be NULL. */
void tell_members(struct volume *, spare_id_t last, uint32_t in_use, struct spare *leaving);
/* Tells whoever holds the members that a spare is not one any more. Under membership. */
void has_left(struct volume *, spare_id_t);
/* Free slots that it would give out. Takes no lock that is held during I/O. */
uint64_t slots_to_lend(struct spare *);
/* The same of all spares. */
uint64_t slots_free_now(struct volume *);
/* Goes on emptying those that are retiring. */
void resume_emptying(struct volume *);

/* ---- faults.c ----------------------------------------------------------------------------- */

/* Wraps a device so that simulated faults act on it; closes it on failure. */
int wrap_faults(struct volume *, struct device *inner, struct device **ret);

/* Takes over what the database says. Errors as store.h. */
int load_faults(struct volume *);

/* How many sectors of main and spares have a simulated fault in force. */
uint64_t faulty_sectors(struct volume *);

#endif
