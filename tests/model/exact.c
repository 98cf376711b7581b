/*
 * The run is cut into epochs, each with a volume of its own shape: many spares
 * or few slots, 512 or 4096 bytes a sector. An epoch ends with a reading of the
 * whole image and a look at what lies on the disk (audit.c).
 */
#include "exact.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "audit.h"
#include "own_io.h"
#include "random.h"
#include "rig.h"
#include "shadow.h"
#include "suspicion.h"
#include "trace.h"

#define EPOCH_OPS 40000
#define LENGTH_MAX (256u << 10)
#define FAULTS_MAX 200

struct run {
	uint64_t seed, op, epoch_end;
	struct rig rig;
	struct shadow *shadow;
	struct suspicion *suspicion;
	bool scarce; /* few slots: writes may fail for want of them */
	uint64_t hot_start, hot_sectors;
	uint8_t *buffer; /* LENGTH_MAX and a page */
	struct volume_io *io;
	uint64_t stamp;
	struct {
		uint64_t reads, writes, erases, flushes, faults, restarts, unreadable, unwritable,
			remapped, pending, main_failed;
	} count;
};

/* Bytes of one request. */
struct request {
	uint64_t offset, length;
	sector_t start, end; /* sectors it touches */
	uint8_t *data;
};

static void __attribute__((noreturn)) wrong(struct run *r, sector_t sector, const char *what)
{
	trace_print(sector);
	rig_die("operation %llu, sector %llu: %s", (unsigned long long)r->op,
		(unsigned long long)sector, what);
}

static void note(struct run *r, enum trace_kind kind, const struct request *q, int result,
		 const char *text)
{
	struct trace_entry e = {.op = r->op, .kind = kind, .start = q->start, .end = q->end,
				.result = result};

	snprintf(e.note, sizeof(e.note), "%s", text);
	trace_add(&e);
}

/* ---- requests ------------------------------------------------------------------- */

static uint64_t random_length(struct run *r)
{
	uint32_t sector = r->rig.shape.sector_size;

	switch (random_below(&r->seed, 16)) {
	case 0: /* any bytes */
		return 1 + random_below(&r->seed, 4ull * sector);
	case 1:
		return 1 + random_below(&r->seed, sector);
	case 2: /* many sectors */
		return (1 + random_below(&r->seed, LENGTH_MAX / 4 / sector)) * sector;
	default:
		return (1 + random_below(&r->seed, 8)) * sector;
	}
}

static struct request random_request(struct run *r)
{
	uint32_t sector = r->rig.shape.sector_size;
	uint64_t first = one_in(&r->seed, 8) ? random_below(&r->seed, r->rig.sectors)
					     : r->hot_start + random_below(&r->seed, r->hot_sectors);
	struct request q = {.offset = first * sector, .length = random_length(r)};

	if (q.length % sector)
		q.offset += random_below(&r->seed, sector);
	if (q.length > r->rig.shape.main_bytes - q.offset)
		q.length = r->rig.shape.main_bytes - q.offset;
	q.start = q.offset / sector;
	q.end = (q.offset + q.length + sector - 1) / sector;
	/* One buffer in eight is not aligned for direct I/O. */
	q.data = r->buffer + (one_in(&r->seed, 8) ? random_below(&r->seed, 64) : 0);
	return q;
}

static void fill(struct run *r, const struct request *q)
{
	uint64_t state = ++r->stamp, word;
	uint64_t i;

	for (i = 0; i + sizeof(word) <= q->length; i += sizeof(word)) {
		word = random_next(&state);
		memcpy(q->data + i, &word, sizeof(word));
	}
	for (; i < q->length; i++)
		q->data[i] = (uint8_t)random_next(&state);
}

/* ---- reading -------------------------------------------------------------------- */

static int find_pending(void *context, const struct extent *e)
{
	struct request *q = context;

	if (e->state != SECTOR_PENDING || extent_end(e) <= q->start || e->start >= q->end)
		return 0;
	q->start = e->start > q->start ? e->start : q->start;
	return 1;
}

/* The sector to blame for an error that nothing explains. */
static sector_t suspect_of(struct run *r, const struct request *q)
{
	struct request found = *q;

	store_each_extent(r->rig.store, find_pending, &found);
	return found.start;
}

static void read_failed(struct run *r, const struct request *q, int rc)
{
	r->count.unreadable++;
	if (rc != -EIO)
		wrong(r, q->start, "a read failed with another error than EIO");
	if (!may_be_unreadable(r->suspicion, q->start, q->end - q->start))
		wrong(r, suspect_of(r, q), "a read failed, and no fault explains it");
}

static void read_and_check(struct run *r, const struct request *q)
{
	sector_t bad;
	int rc;

	memset(q->data, 0xdb, q->length);
	rc = read_some_way(r->rig.volume, q->data, q->length, q->offset, r->io, q->start + q->end);
	note(r, TRACE_READ, q, rc, "");
	r->count.reads++;
	if (rc < 0) {
		read_failed(r, q, rc);
		return;
	}
	if (!shadow_accept(r->shadow, q->data, q->length, q->offset, &bad))
		wrong(r, bad, "a read returned what the sector cannot hold");
	suspect_read(r->suspicion, q->start, q->end - q->start);
}

/* ---- changing ------------------------------------------------------------------- */

/* Whether the request must read sectors that it covers only in part. */
static bool edges_may_be_unreadable(const struct run *r, const struct request *q)
{
	uint32_t sector = r->rig.shape.sector_size;

	return (q->offset % sector && may_be_unreadable(r->suspicion, q->start, 1)) ||
	       ((q->offset + q->length) % sector &&
		may_be_unreadable(r->suspicion, q->end - 1, 1));
}

/* Contract 4: a change fails for want of slots, or of the rest of a sector. */
static void change_failed(struct run *r, const struct request *q, int rc)
{
	struct volume_status status;

	r->count.unwritable++;
	if (rc != -EIO)
		wrong(r, q->start, "a write failed with another error than EIO");
	if (edges_may_be_unreadable(r, q))
		return;
	volume_status(r->rig.volume, &status);
	r->count.main_failed += status.main_failed;
	if (status.main_failed && suspect_faults(r->suspicion))
		return;
	if (!r->scarce || status.free_slots >= q->end - q->start)
		wrong(r, q->start, "a write failed although there were slots");
}

static void change(struct run *r, const struct request *q, enum trace_kind kind)
{
	const uint8_t *data = kind == TRACE_WRITE ? q->data : NULL;
	struct volume *v = r->rig.volume;
	int rc;

	if (data)
		fill(r, q);
	rc = kind == TRACE_WRITE  ? write_some_way(v, data, q->length, q->offset, r->io,
						   q->start + q->end)
	     : kind == TRACE_ZERO ? volume_zero(v, q->offset, q->length)
				  : volume_discard(v, q->offset, q->length);
	note(r, kind, q, rc, "");
	/* Main cannot discard: nothing was done. */
	if (rc == -EOPNOTSUPP && kind == TRACE_DISCARD)
		return;
	if (rc < 0) {
		change_failed(r, q, rc);
		shadow_write_failed(r->shadow, data, q->length, q->offset);
		suspect_write_failed(r->suspicion, q->start, q->end - q->start);
		return;
	}
	shadow_write(r->shadow, data, q->length, q->offset);
	suspect_written(r->suspicion, q->start, q->end - q->start, kind == TRACE_DISCARD);
}

/* ---- the rest ------------------------------------------------------------------- */

static void flush(struct run *r)
{
	const struct request all = {.end = 0};
	int rc = volume_flush(r->rig.volume);

	note(r, TRACE_FLUSH, &all, rc, "");
	r->count.flushes++;
	if (rc < 0)
		wrong(r, 0, "a flush failed");
}

static void next_data(struct run *r, const struct request *q)
{
	uint64_t start = 0, end = 0, size = r->rig.shape.main_bytes;
	int rc = volume_next_data(r->rig.volume, q->offset, &start, &end);

	if (rc == -ENXIO)
		start = size;
	else if (rc < 0)
		wrong(r, q->start, "the search for data failed");
	else if (start < q->offset || end <= start || end > size)
		wrong(r, q->start, "the search for data left the image");
	/* Long holes are looked at in part: this is called often. */
	if (start > q->offset + 16 * LENGTH_MAX)
		start = q->offset + 16 * LENGTH_MAX;
	if (!shadow_may_be_zero(r->shadow, start - q->offset, q->offset))
		wrong(r, q->start, "data was passed over as a hole");
}

static void restart(struct run *r)
{
	const struct request all = {.end = 0};

	audit_counts(&r->rig);
	rig_close(&r->rig);
	audit_slots(&r->rig);
	rig_open(&r->rig);
	audit_counts(&r->rig);
	note(r, TRACE_RESTART, &all, 0, "");
	r->count.restarts++;
}

/* ---- faults --------------------------------------------------------------------- */

static enum fault_on random_on(struct run *r)
{
	return (enum fault_on)(1 + random_below(&r->seed, 3));
}

static struct fault random_fault(struct run *r)
{
	static const int errors[] = {EIO, EIO, EIO, ENODATA, EREMOTEIO, EILSEQ};
	struct fault f = {.start = r->hot_start + random_below(&r->seed, r->hot_sectors),
			  .count = 1,
			  .on = random_on(r),
			  .error = errors[random_below(&r->seed, 6)],
			  .life = (enum fault_life)random_below(&r->seed, 3)};

	if (one_in(&r->seed, 4)) {
		f.spare = 1 + (spare_id_t)random_below(&r->seed, r->rig.shape.spare_count);
		f.start = r->rig.first_slot[f.spare - 1] +
			  random_below(&r->seed, r->rig.slots[f.spare - 1]);
	}
	if (f.life == FAULT_PERMANENT && f.spare == ON_MAIN && one_in(&r->seed, 3)) {
		f.count = 1 + random_below(&r->seed, 12);
		if (f.count > r->rig.sectors - f.start)
			f.count = r->rig.sectors - f.start;
	}
	if (f.life == FAULT_TIMES)
		f.times = 1 + random_below(&r->seed, 4);
	if (f.life == FAULT_UNTIL_REWRITTEN)
		f.on = FAULT_ON_READ;
	return f;
}

static void add_fault(struct run *r)
{
	struct fault f = random_fault(r);
	struct request q = {.start = f.start, .end = f.start + f.count};
	char text[48];

	snprintf(text, sizeof(text), "on %u, %d/%d/%d", f.spare, f.on, f.life, f.error);
	suspect_fault(r->suspicion, &f);
	rig_add_faults(&r->rig, &f, 1);
	if (f.spare != ON_MAIN)
		q.start = q.end = 0;
	note(r, TRACE_FAULT, &q, 0, text);
	r->count.faults++;
}

static void clear_faults(struct run *r)
{
	struct request q = {.start = r->hot_start + random_below(&r->seed, r->hot_sectors)};

	if (one_in(&r->seed, 8)) {
		rig_clear_all_faults(&r->rig);
		suspect_all_cleared(r->suspicion);
		q.start = 0;
	} else {
		q.end = q.start + 1 + random_below(&r->seed, r->hot_sectors);
		rig_clear_faults(&r->rig, ON_MAIN, q.start, q.end - q.start);
		suspect_cleared(r->suspicion, ON_MAIN, q.start, q.end - q.start);
	}
	note(r, TRACE_CLEAR, &q, 0, "");
}

/* ---- epochs --------------------------------------------------------------------- */

static struct rig_shape random_shape(struct run *r)
{
	struct rig_shape s = {.main_bytes = (4 + random_below(&r->seed, 4)) << 20,
			      .spare_count = 1 + random_below(&r->seed, SPARES_MAX),
			      .sector_size = settings.sector_size};

	if (!s.sector_size)
		s.sector_size = random_below(&r->seed, 2) ? 512 : 4096;
	r->scarce = one_in(&r->seed, 3);
	for (size_t i = 0; i < s.spare_count; i++)
		s.spare_bytes[i] = r->scarce ? (s.sector_size == 512 ? 128u << 10 : 512u << 10) +
						       (random_below(&r->seed, 16) << 12)
					     : s.main_bytes + (s.main_bytes >> 1);
	return s;
}

static void start_epoch(struct run *r)
{
	struct rig_shape shape = random_shape(r);

	rig_start(&r->rig, &shape);
	r->shadow = shadow_new(shape.main_bytes, shape.sector_size);
	r->suspicion = suspicion_new(r->rig.sectors);
	r->hot_sectors = 200 + random_below(&r->seed, 400);
	r->hot_start = random_below(&r->seed, r->rig.sectors - r->hot_sectors);
	r->epoch_end = r->op + EPOCH_OPS;
	trace_forget();
}

static void read_whole_image(struct run *r)
{
	uint32_t sector = r->rig.shape.sector_size;

	for (sector_t s = 0; s < r->rig.sectors; s++) {
		struct request q = {s * sector, sector, s, s + 1, r->buffer};

		read_and_check(r, &q);
	}
}

static void end_epoch(struct run *r)
{
	struct volume_status status;

	read_whole_image(r);
	volume_status(r->rig.volume, &status);
	r->count.remapped += status.remapped_sectors;
	r->count.pending += status.pending_sectors;
	rig_close(&r->rig);
	audit_slots(&r->rig);
	audit_map(&r->rig, r->shadow, r->suspicion);
	suspicion_free(r->suspicion);
	shadow_free(r->shadow);
	rig_end(&r->rig);
}

static void step(struct run *r)
{
	uint64_t dice = random_below(&r->seed, 1000);
	struct request q = random_request(r);

	if (dice < 10 && suspect_faults(r->suspicion) < FAULTS_MAX)
		add_fault(r);
	else if (dice < 11 && suspect_faults(r->suspicion))
		clear_faults(r);
	else if (dice < 12)
		flush(r);
	else if (dice < 13 && one_in(&r->seed, 2))
		restart(r);
	else if (dice < 20)
		next_data(r, &q);
	else if (dice < 40)
		change(r, &q, TRACE_ZERO), r->count.erases++;
	else if (dice < 60)
		change(r, &q, TRACE_DISCARD), r->count.erases++;
	else if (dice < 530)
		change(r, &q, TRACE_WRITE), r->count.writes++;
	else
		read_and_check(r, &q);
	r->op++;
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static void report(const struct run *r, double seconds)
{
	printf("model: %llu operations in %.1f s: %llu reads (%llu failed), %llu writes, %llu zeroes "
	       "and discards (%llu changes failed, %llu while main was given up), %llu flushes, "
	       "%llu faults, %llu restarts; %llu sectors were remapped and %llu pending at the ends\n",
	       (unsigned long long)r->op, seconds, (unsigned long long)r->count.reads,
	       (unsigned long long)r->count.unreadable, (unsigned long long)r->count.writes,
	       (unsigned long long)r->count.erases, (unsigned long long)r->count.unwritable,
	       (unsigned long long)r->count.main_failed, (unsigned long long)r->count.flushes,
	       (unsigned long long)r->count.faults, (unsigned long long)r->count.restarts,
	       (unsigned long long)r->count.remapped, (unsigned long long)r->count.pending);
}

void exact_run(void)
{
	struct run r = {.seed = settings.seed, .buffer = rig_buffer(LENGTH_MAX + 4096),
			.io = volume_io_new()};
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (r.op < settings.ops &&
	       (!settings.seconds || seconds_since(&start) < settings.seconds)) {
		start_epoch(&r);
		while (r.op < r.epoch_end && r.op < settings.ops)
			step(&r);
		end_epoch(&r);
	}
	report(&r, seconds_since(&start));
	free(r.buffer);
	volume_io_free(r.io);
}
