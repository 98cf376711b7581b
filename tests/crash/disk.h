/*
 * What survives: the files and devices of one volume as bytes, the steps of I/O
 * that were done on them, and what a power cut makes of those that no flush has
 * covered.
 *
 * A write is a promise until the file it went to is flushed. At a cut each such
 * write is, for itself, kept, lost, or torn at sectors of 512 bytes. Writes that
 * do not overlap may so reach the medium in any order; of those that do, the
 * last one that is kept wins, which is what a cache does, and covers what
 * reordering them could leave.
 */
#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SPARES 3

#define UNIT 512u /* bytes: what a cut never splits */

enum file { FILE_MAIN, FILE_SPARE1, FILE_SPARE2, FILE_SPARE3, FILE_DB, FILE_LOG, FILE_JOURNAL, FILES };

/* Of one unit of a device. */
enum defect {
	DEFECT_READ = 1,  /* cannot be read */
	DEFECT_WRITE = 2, /* cannot be written */
	DEFECT_HEALS = 4, /* can be read again once it was written */
};

struct content {
	uint8_t *data;
	uint64_t size, room;
	bool exists;
	uint8_t *defects; /* by unit; devices only */
};

struct disk {
	struct content files[FILES];
};

enum step_kind {
	STEP_WRITE,
	STEP_ZERO,     /* as a write of zeros: also a discard */
	STEP_FLUSH,    /* of that file alone, its name included */
	STEP_TRUNCATE, /* to length */
	STEP_CREATE,
	STEP_DELETE,
	STEP_DEFECT, /* the medium changes by itself: nothing that a cut undoes */
};

struct step {
	enum step_kind kind;
	enum file file;
	uint64_t offset, length;
	uint8_t *data;       /* STEP_WRITE */
	enum defect defect;  /* STEP_DEFECT */
};

/* The steps of one session, in order. */
struct journal {
	struct step *steps;
	size_t count, room;
};

void content_resize(struct content *, uint64_t size);
void disk_copy(struct disk *to, const struct disk *from);
void disk_clear(struct disk *);

/* The step as it is when nothing goes wrong. */
void disk_apply(struct disk *, const struct step *);

/* Takes over step.data. */
void journal_add(struct journal *, struct step);
void journal_clear(struct journal *);

/* Which steps of a journal no flush has covered, up to a point that moves on. */
struct cache {
	const struct journal *journal;
	struct disk medium; /* what is durable */
	size_t *pending, count, room;
	size_t point; /* steps before it were issued */
};

void cache_start(struct cache *, const struct disk *, const struct journal *);
/* Issues one more step. */
void cache_advance(struct cache *);
void cache_end(struct cache *);

/*
 * The cuts of one point that are always looked at; higher numbers are drawn
 * from the seed.
 */
enum cut {
	CUT_LOSE_ALL,
	CUT_KEEP_ALL,
	CUT_KEEP_DATABASE,
	CUT_KEEP_DEVICES,
	CUT_LOSE_MAIN,
	CUT_EARLY_DATABASE, /* devices are kept, of the database what came first */
	CUT_RANDOM
};

/* What the cut leaves. CUT_KEEP_ALL is what a killed process leaves. */
void cache_cut(const struct cache *, unsigned cut, uint64_t seed, struct disk *to);

const char *step_text(const struct step *, char *to, size_t size);

#endif
