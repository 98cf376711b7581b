/*
 * Checking a volume that is not in use: superblocks, slot tables and database
 * against each other, and the slots that are used.
 */
#ifndef REMAPFS_CHECK_H
#define REMAPFS_CHECK_H

#include "remapfs/error.h"
#include "remapfs/extent.h"
#include "remapfs/trouble.h"

struct volume_parts;
struct store;

enum finding_kind {
	FINDING_DATABASE,     /* it is damaged, or its rows break their rules */
	FINDING_SUPERBLOCK,   /* one of the two is damaged */
	FINDING_SUPERBLOCKS,  /* both are */
	FINDING_MISSING,      /* a remapped sector's slot has no descriptor */
	FINDING_DAMAGED,      /* … or a damaged one */
	FINDING_LEFTOVER,     /* a descriptor that no row needs: of a write that was never
				 acknowledged, or of an older place of the sector */
	FINDING_UNRECORDED,   /* a whole remap, perhaps of a commit that was lost with the
				 database's log: the next mount takes it over */
	FINDING_GARBAGE,      /* a damaged descriptor of a free slot */
	FINDING_CONTRADICTION, /* a valid descriptor says something else than the row */
	FINDING_UNKNOWN,      /* an acknowledged remap that the database does not know */
	FINDING_NEWER,        /* the spare was used after this database was */
	FINDING_OLDER,        /* the spare is an older copy */
	FINDING_UNREADABLE,   /* a used slot cannot be read */
	FINDING_MAIN,         /* something else wrote to main since the last close */
};

/* Whether something was done about it. */
enum finding_fate { FINDING_REPAIRABLE, FINDING_REPAIRED, FINDING_LEFT };

struct finding {
	enum finding_kind kind;
	enum finding_fate fate;
	spare_id_t spare;  /* ON_MAIN: of main or the database */
	slot_t slot;       /* with count > 0 */
	uint64_t count;    /* of slots that follow each other */
	sector_t sector;   /* the one that the first slot holds, or says so */
	char detail[200];
};

/* "missing", "leftover" …; and a line for people. Static. */
const char *finding_name(enum finding_kind);
const char *finding_text(enum finding_kind);

struct check_options {
	const char *path; /* of the volume */
	bool repair;
	void (*found)(void *context, const struct finding *); /* in no particular order */
	void *context;
	const struct volume_parts *parts; /* as in struct volume_options */
};

struct check_result {
	uint64_t repaired, left; /* findings */
};

/*
 * Locks the volume and its parts and looks at everything; changes nothing
 * unless asked to repair. What is repaired comes from the other side: a slot
 * table from the database, a superblock from its copy. Nothing is repaired
 * while database and spares contradict each other: then it is not known which
 * of them is right.
 *
 * 0: see *ret. -EBUSY: the volume is in use, or as volume_open; err has the
 * line, and nothing was changed.
 */
int volume_check(const struct check_options *, struct check_result *ret, struct error *err);

/*
 * Lists why an opening would refuse the volume: main or a spare that is not there, a
 * spare that is another one or an older copy, a database older than its spares, rows
 * that were changed behind its back. Reads the superblocks and all rows, and after an
 * end without warning the slot tables; changes nothing, waits for nobody; what somebody
 * uses just then is not looked at. For a volume that no daemon serves. changed_since
 * stays as it is unless something else wrote to main since the last close: it then gets
 * the time of that close, UTC.
 */
void volume_look(struct store *, struct troubles *, char changed_since[32]);

#endif
