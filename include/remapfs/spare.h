/*
 * A spare: replacement sectors on a device, and the format that describes them.
 *
 * The spare describes itself, so that the map can be rebuilt without the
 * database (contract 10): a superblock at both ends, a table with one
 * checksummed descriptor per slot, the slots. See docs/format.md.
 *
 * Slots are allocated in memory; which are used or bad comes from the
 * database when the volume is opened. Allocation and I/O on slots are
 * thread-safe. What reads and writes the slot table is for one thread at a time
 * (the committing one).
 */
#ifndef REMAPFS_SPARE_H
#define REMAPFS_SPARE_H

#include "remapfs/device.h"

#include <stdatomic.h>
#include <uuid/uuid.h>

/*
 * The least spare has 64 slots: with fewer, one damaged track ends it, and the
 * format itself would take more room than it lends.
 */
#define SPARE_SLOTS_MIN 64

struct spare_layout {
	uint64_t table_offset; /* bytes from the start of the region */
	uint64_t slots_offset;
	uint64_t backup_offset; /* of the second superblock */
	slot_t slots;
};

/* How a region of `bytes` is laid out; slots is 0 where nothing fits. */
struct spare_layout spare_layout(uint64_t bytes, uint32_t sector_size);

/* The least region, bytes, that holds SPARE_SLOTS_MIN slots. */
uint64_t spare_bytes_min(uint32_t sector_size);

/* In place of how many are in use: this one holds nothing; it has not joined yet, or leaves. */
#define SPARE_OUTSIDE UINT16_MAX

struct spare_identity {
	uuid_t volume;
	uuid_t spare;
	spare_id_t id;
	uint32_t sector_size;
	uint64_t main_sectors;
	uint32_t spares; /* the greatest number of one in the volume; 0: not known */
	uint32_t in_use; /* how many of them have not been retired, or SPARE_OUTSIDE; 0: all */
};

/* Whether both are the same spare; what is known of the others does not matter. */
bool spare_same(const struct spare_identity *, const struct spare_identity *);

/*
 * Writes an empty slot table and both superblocks, and makes them durable.
 * Errors: those of the device.
 */
int spare_format(struct device *, const struct spare_identity *);

/* Writes both superblocks, the table stays: for a spare that lost both. Not flushed. */
int spare_write_superblocks(struct device *, const struct spare_identity *, uint64_t confirmed,
			    uint64_t stamp);

/*
 * Reads the identity from either superblock. -ENOENT: neither is one of ours
 * (or both are damaged), -EPROTO: of a newer format; or a device error. *ret is set with 0 only.
 */
int spare_probe(struct device *, struct spare_identity *ret);

/*
 * Each opening of the volume, and each orderly end, gives database and spares a new
 * random number, so that a copy from before it can be told: see docs/format.md.
 */
struct spare_stamp {
	uint64_t number; /* 0: none was given yet */
	bool everywhere; /* every spare in use has it in one superblock at least */
};

/* One of the two superblocks. */
struct spare_copy {
	/* 0, -ENOENT: none of ours, or damaged, -EPROTO: newer; or the device's. */
	int error;
	struct spare_identity identity;
	uint64_t confirmed; /* as spare_confirmed */
	struct spare_stamp stamp;
};
/* Reads both. -ENOENT: the region is too small to have them, -ENOMEM. */
int spare_inspect(struct device *, struct spare_copy ret[2]);

/* A superblock that was found somewhere: one end of a region of `bytes`. */
struct spare_trace {
	uint64_t at, bytes;
	struct spare_identity identity;
};
/*
 * Finds the next one in bytes that were read at `from`, at or after buf + *at (multiples
 * of 512), and moves *at past it. false: there is none.
 */
bool spare_next_trace(const void *buf, size_t length, uint64_t from, size_t *at,
		      struct spare_trace *ret);
/* How far the second superblock of its region is behind the first. */
uint64_t spare_trace_backup(const struct spare_trace *);
/* Whether its region, if this is its first (its second) superblock, meets [start, end). */
bool spare_trace_meets(const struct spare_trace *, bool is_backup, uint64_t start, uint64_t end);
/*
 * Whether the region of another spare than `own` reaches over the block at `place`, by
 * what its superblocks on this device tell: 1, with whose it is, or 0, or -ENOMEM. Reads
 * all of the device.
 */
int spare_find_intruder(struct device *, const uuid_t own, uint64_t place,
			struct spare_identity *ret);

struct spare;

/*
 * Takes over device (closed by spare_close, and also on failure) and checks
 * that it carries the expected identity. All slots begin free.
 * -EBADMSG: another spare or none, or another spare was made over a part of it,
 * -EPROTO: newer format; err has the line.
 * *ret_damaged tells that one of the two superblocks is unreadable or wrong.
 */
int spare_open(struct device *device, const struct spare_identity *expected,
	       struct spare **ret, bool *ret_damaged, struct error *err);
/*
 * One that is known by the database alone: device, of the size that the spare had, fails
 * whatever it is asked, and is not asked here. The spare is SPARE_GONE, for error
 * (positive), and nothing of it is confirmed. Takes over device, also on failure. -ENOMEM.
 */
int spare_open_gone(struct device *device, const struct spare_identity *expected, int error,
		    struct spare **ret);
void spare_close(struct spare *);

spare_id_t spare_id(const struct spare *);
struct device *spare_device(struct spare *);

/* ---- allocation ---------------------------------------------------------- */

struct spare_counts {
	slot_t slots, used, bad, free;
};
struct spare_counts spare_counts(struct spare *);

/*
 * Takes up to want (> 0) free slots that follow each other and returns how
 * many; 0: none is free, or the spare has been failed.
 */
uint64_t spare_allocate(struct spare *, uint64_t want, slot_t *ret_first);

/* Used or bad slots become free; free ones become used; any become bad. */
void spare_release(struct spare *, slot_t first, uint64_t count);
/* -ERANGE: outside the spare, -EEXIST: one of them is not free. */
int spare_take(struct spare *, slot_t first, uint64_t count);
void spare_mark_bad(struct spare *, slot_t first, uint64_t count);

/* Gravest last. All but SPARE_WELL: no slot is handed out; what is there is still served. */
enum spare_health {
	SPARE_WELL,
	SPARE_NO_ROOM, /* the file system that holds it is full */
	SPARE_FAILING, /* it answers, and does not take what it is given; for good */
	SPARE_AWAY,    /* it does not answer */
	SPARE_GONE,    /* nor will it under this descriptor: it was removed, or cut short */
};

/* It is no better than that, for error (positive). Whether that is new. */
bool spare_fail(struct spare *, enum spare_health, int error);
enum spare_health spare_health(const struct spare *);
int spare_error(const struct spare *); /* of the last spare_fail that was new */
bool spare_failed(const struct spare *); /* it is not SPARE_WELL */

/* 0, or why the device is certainly not what was opened. No I/O: see device.h. */
int spare_look(struct spare *);
/*
 * Tries a spare without room, or that does not answer, again: whether it is better.
 * It must have room where it had none, and be as it was last written.
 */
bool spare_recover(struct spare *);

/* For messages. -ENOMEM. Before the spare is shared. */
int spare_set_path(struct spare *, const char *path);
const char *spare_path(const struct spare *); /* "" where none was told */

/* SPARE_ACTIVE at first. In the others, too, no slot is handed out. */
void spare_set_state(struct spare *, enum spare_state);
enum spare_state spare_state(const struct spare *);

/* ---- I/O ------------------------------------------------------------------ */

/* Sectors of data in slots; as device_read and device_write. */
int spare_read(struct spare *, void *buf, slot_t first, uint64_t count);
int spare_write(struct spare *, const void *buf, slot_t first, uint64_t count);
/* The device that spare_read asks, and where. */
struct device *spare_place(const struct spare *, slot_t first, uint64_t *ret_offset);
/*
 * Durable: everything written before the call. Costs nothing when nothing was.
 * -EIO: the device did not flush; then for ever, since what was lost is unknown.
 */
int spare_flush(struct spare *);
/*
 * Keeps at *mark, which stays the caller's, whether something that was written may not be
 * durable, for whoever opens the spare after a process that was killed: 0: it is. Before
 * the spare is shared.
 */
void spare_note_unflushed_at(struct spare *, atomic_uchar *mark);
/*
 * fn is called when a flush fails for the first time, by whoever flushes, with
 * the positive errno. It must not flush. Set it before the spare is shared.
 */
typedef void (*spare_flush_fn)(void *context, struct spare *, int error);
void spare_on_failed_flush(struct spare *, spare_flush_fn fn, void *context);

/*
 * 0 when the spare still answers: one of its superblocks can be read, and with
 * writing also be written again as it is. Otherwise an error of the device.
 */
int spare_alive(struct spare *, bool writing);

/* The checksum that a descriptor holds of the data first written to its slot. */
uint32_t spare_data_sum(const void *sector, uint32_t sector_size);

/*
 * Makes the descriptors that say: slot first + i holds sector + i, written in
 * `sequence`, with checksum sums[i]. The last table sector is not written before
 * spare_save_table, or before another one is touched; nothing is durable before
 * spare_flush. Errors: those of the device, then of any table sector since the last
 * spare_save_table, -ENOMEM. A table sector that cannot be written makes the slots
 * that it describes useless: see spare_table_group.
 */
int spare_describe(struct spare *, slot_t first, uint64_t count, sector_t sector,
		   uint64_t sequence, const uint32_t *sums);
/* 0 where all is written. For the committing thread. */
int spare_save_table(struct spare *);
/* Revokes those that were described with this sequence and can be read. */
int spare_clear_sequence(struct spare *, slot_t first, uint64_t count, uint64_t sequence);

/*
 * Revokes count descriptors and keeps what they were, in *ret (the caller
 * frees it), for spare_put_back of the same range. On failure they are put
 * back. Slots of which a descriptor cannot be put back are unconfirmed for good,
 * see below; without memory to note them all slots of the spare are, as after
 * spare_hold. Errors: those of the device, -ENOMEM.
 */
int spare_take_out(struct spare *, slot_t first, uint64_t count, void **ret);
int spare_put_back(struct spare *, slot_t first, uint64_t count, const void *taken);
/*
 * Calls fn for every bad slot of which a descriptor says that it held a sector,
 * and stops with what fn returned when that is not 0. Otherwise an error of the
 * device: what stands there cannot be read. For the committing thread.
 */
int spare_each_bad(struct spare *, int (*fn)(void *context, slot_t, sector_t), void *context);

/*
 * ---- confirming -------------------------------------------------------------
 *
 * A rebuild believes the descriptors up to the confirmed sequence as they are;
 * one above it only while its slot holds what descriptor and slot were first
 * written with. So unconfirmed slots must not be written again.
 */

/* The sequence that is durably confirmed. */
uint64_t spare_confirmed(const struct spare *);

/* What its superblocks said when the spare was opened. */
struct spare_found {
	struct spare_stamp stamp;       /* the one with the greater confirmed sequence */
	struct spare_stamp other_stamp; /* the other one; the same where that is damaged */
	uint64_t confirmed;             /* the greater one */
	uint64_t vouched; /* both: it had every descriptor up to here, also if copied meanwhile */
	bool damaged;     /* one was: maybe that with the later sequence */
};
const struct spare_found *spare_found(const struct spare *);

/*
 * Gives the spare a new stamp together with a greater confirmed sequence (as for
 * spare_confirm), durably. spare_stamp writes the one superblock, spare_stamp_other
 * then the other one, with what is known of all other spares by then. Errors: those
 * of the device, -EIO (as spare_flush), -ENOMEM; then the spare may have it or not.
 */
int spare_stamp(struct spare *, uint64_t number, uint64_t sequence);
int spare_stamp_other(struct spare *, bool everywhere);
/* The stamp that it has durably, and in how many of its superblocks. */
uint64_t spare_stamped(const struct spare *, unsigned *ret_copies);

/*
 * What spare_confirmed says, where it is not what was returned before; otherwise 0.
 * For the committing thread, which records it in the database, and forgets that
 * with spare_not_recorded where that may have failed.
 */
uint64_t spare_unrecorded(struct spare *);
void spare_not_recorded(struct spare *);
/*
 * Writes it into one of the superblocks; in force after the next spare_flush.
 * The caller vouches that every descriptor of this spare up to `sequence` is
 * of a committed change, or durably cleared. For the committing thread. Never
 * goes back. Errors: those of the device, -ENOMEM.
 */
int spare_confirm(struct spare *, uint64_t sequence);
/*
 * What an earlier life left could not be confirmed: until it is, up to sequence,
 * every slot counts as described above what is confirmed. -ENOMEM.
 */
int spare_unconfirm(struct spare *, uint64_t sequence);
/*
 * The table could not be brought in order: nothing is confirmed any more, so no
 * slot may be written again.
 */
void spare_hold(struct spare *);
/* Whether one of the slots was described above what is confirmed. Thread-safe. */
bool spare_unconfirmed(struct spare *, slot_t first, uint64_t count);

/*
 * ---- the table as a whole: for the thread that alone has the spare --------------
 */

enum descriptor_state {
	DESCRIPTOR_NONE,
	DESCRIPTOR_VALID,
	DESCRIPTOR_REVOKED, /* it was valid, and was cleared: the slot is free */
	DESCRIPTOR_DAMAGED,
};

struct slot_descriptor {
	enum descriptor_state state;
	sector_t sector; /* these with DESCRIPTOR_VALID and DESCRIPTOR_REVOKED only */
	uint64_t sequence;
	uint32_t data_sum;
};

/* A sector of the table. */
struct slot_group {
	slot_t first;
	uint64_t count;
	bool unreadable; /* all of it DESCRIPTOR_DAMAGED */
	struct slot_descriptor slots[4096 / 32];
};

/*
 * Calls fn for the table sector by sector, in order, read in large pieces, and
 * stops with what fn returned when that is not 0. Otherwise -ENOMEM, or an
 * error of the device that is not of the media.
 */
int spare_each_group(struct spare *, int (*fn)(void *context, struct slot_group *),
		     void *context);
/* Writes the table sector whole; damaged ones become free. Durable after spare_flush. */
int spare_write_group(struct spare *, const struct slot_group *);
/* Writes the older superblock anew. */
int spare_rewrite_superblock(struct spare *);
/*
 * Nothing on the device says any more that it is a spare, durably, and nothing
 * written later will. Errors: those of the device, -ENOMEM.
 */
int spare_wipe(struct spare *);
/*
 * Its superblocks are not read or written any more, and a flush has nothing to
 * do: with no slot in use, nobody asks anything of its device any more but the
 * committing thread. false: its device has not answered somebody for a second, and is
 * still in use.
 */
bool spare_leave(struct spare *);
/*
 * Writes into both superblocks what they say of the others, durably. Errors:
 * those of spare_flush, -ENOMEM; then a later opening writes them anew.
 */
int spare_set_members(struct spare *, uint32_t spares, uint32_t in_use);
bool spare_slot_bad(struct spare *, slot_t);

/* The slots whose descriptors share a table sector with that of slot. */
void spare_table_group(const struct spare *, slot_t slot, slot_t *ret_first, uint64_t *ret_count);

#endif
