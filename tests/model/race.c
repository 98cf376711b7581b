/*
 * A write puts a stamp of its own into every sector that it covers, so that a
 * sector tells who wrote it; the rest of the sector follows from the stamp, so
 * that a torn or mixed sector is noticed as well. The run is cut into rounds,
 * each with a new volume. After a round's threads have ended, every hot sector
 * is read once more, and again after a restart: nothing acknowledged may be
 * lost then either.
 */
#include "race.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "linear.h"
#include "own_io.h"
#include "random.h"
#include "rig.h"

#define HOT 64		/* sectors that everybody wants, in two clusters */
#define CLUSTER (HOT / 2)
#define SECTORS_MAX 8	/* in one request */
#define ROUND_OPS 40000 /* of all threads together */
#define THREADS_MAX 64
#define FAULTS_MAX 40
#define MAIN_BYTES (4u << 20)

struct stamp {
	uint64_t value; /* who wrote it and when: never the same twice; never 0 */
	uint64_t sector;
	uint64_t check;
};

struct record {
	uint32_t sector; /* among the hot ones */
	bool write;
	uint64_t value, start, end;
};

struct worker {
	struct race *race;
	pthread_t thread;
	unsigned number;
	uint64_t seed, sequence, ops;
	uint8_t *buffer;
	struct volume_io *io;
	struct record *records;
	size_t count, capacity;
	uint64_t failed_reads, failed_writes;
};

struct race {
	struct rig rig;
	/*
	 * Where the clusters begin. They lie in different eighths of main: an
	 * error in one makes the engine ask the other whether main is alive.
	 */
	sector_t hot[2];
	struct worker workers[THREADS_MAX];
	atomic_uint running;
	uint64_t seed, ops, records, ambiguous, failed_reads, failed_writes, faults, remapped;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- what sectors hold ---------------------------------------------------------- */

static uint64_t mix(uint64_t value, uint64_t i)
{
	uint64_t state = value * 0x2545f4914f6cdd1dull + i;

	return random_next(&state);
}

static void stamp_sector(uint8_t *to, uint32_t size, uint64_t value, uint64_t sector)
{
	struct stamp stamp = {value, sector, mix(value, sector)};

	memcpy(to, &stamp, sizeof(stamp));
	for (uint32_t i = sizeof(stamp); i < size; i += 8) {
		uint64_t word = mix(stamp.check, i);

		memcpy(to + i, &word, 8);
	}
}

/* The value that a sector holds. Dies when it is torn, foreign or invented. */
static uint64_t value_of(const uint8_t *from, uint32_t size, uint64_t sector)
{
	uint8_t expected[4096] = {0};
	struct stamp stamp;

	memcpy(&stamp, from, sizeof(stamp));
	if (stamp.value != LINEAR_ZEROS)
		stamp_sector(expected, size, stamp.value, sector);
	if (memcmp(from, expected, size) != 0)
		rig_die("sector %llu is torn or not its own: value %llx of sector %llu",
			(unsigned long long)sector, (unsigned long long)stamp.value,
			(unsigned long long)stamp.sector);
	return stamp.value;
}

/* ---- where they are ------------------------------------------------------------- */

/* The sector of main behind a number below HOT. */
static sector_t hot_sector(const struct race *r, uint64_t number)
{
	return r->hot[number / CLUSTER] + number % CLUSTER;
}

/* ---- one request ---------------------------------------------------------------- */

static void record(struct worker *w, uint64_t sector, bool write, uint64_t value, uint64_t start,
		   uint64_t end)
{
	if (w->count == w->capacity) {
		w->capacity = w->capacity * 2 + 4096;
		w->records = realloc(w->records, w->capacity * sizeof(*w->records));
		if (!w->records)
			rig_die("out of memory");
	}
	w->records[w->count++] = (struct record){(uint32_t)sector, write, value, start, end};
}

static void do_read(struct worker *w, uint64_t first, uint64_t count)
{
	const struct rig *rig = &w->race->rig;
	uint32_t size = rig->shape.sector_size;
	sector_t start = hot_sector(w->race, first);
	uint64_t called = now_ns(), returned;
	int rc = read_some_way(rig->volume, w->buffer, count * size, start * size, w->io, called);

	returned = now_ns();
	if (rc < 0) {
		w->failed_reads++;
		if (rc != -EIO)
			rig_die("a read failed: %s", strerror(-rc));
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		record(w, first + i, false, value_of(w->buffer + i * size, size, start + i), called,
		       returned);
}

static void do_write(struct worker *w, uint64_t first, uint64_t count, bool zeros)
{
	const struct rig *rig = &w->race->rig;
	uint32_t size = rig->shape.sector_size;
	sector_t start = hot_sector(w->race, first);
	uint64_t value = zeros ? LINEAR_ZEROS : (uint64_t)(w->number + 1) << 40 | ++w->sequence;
	uint64_t called, returned;
	int rc;

	for (uint64_t i = 0; i < count && !zeros; i++)
		stamp_sector(w->buffer + i * size, size, value, start + i);
	called = now_ns();
	rc = zeros ? volume_zero(rig->volume, start * size, count * size)
		   : write_some_way(rig->volume, w->buffer, count * size, start * size, w->io, called);
	returned = now_ns();
	if (rc < 0) {
		w->failed_writes++;
		if (rc != -EIO)
			rig_die("a write failed: %s", strerror(-rc));
	}
	for (uint64_t i = 0; i < count; i++)
		record(w, first + i, true, value, called, rc < 0 ? LINEAR_NEVER : returned);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (uint64_t i = 0; i < w->ops; i++) {
		uint64_t first = random_below(&w->seed, HOT);
		uint64_t count = 1 + random_below(&w->seed, SECTORS_MAX);
		uint64_t dice = random_below(&w->seed, 200);

		if (count > CLUSTER - first % CLUSTER)
			count = CLUSTER - first % CLUSTER;
		if (dice < 100)
			do_read(w, first, count);
		else if (dice < 197)
			do_write(w, first, count, false);
		else if (dice < 199)
			do_write(w, first, count, true);
		else if (volume_flush(w->race->rig.volume) < 0)
			rig_die("a flush failed");
	}
	atomic_fetch_sub(&w->race->running, 1);
	return NULL;
}

/* ---- faults meanwhile ----------------------------------------------------------- */

static struct fault random_fault(struct race *r)
{
	struct fault f = {.start = hot_sector(r, random_below(&r->seed, HOT)),
			  .count = 1 + random_below(&r->seed, 3),
			  .on = (enum fault_on)(1 + random_below(&r->seed, 3)),
			  .error = EIO,
			  .life = (enum fault_life)random_below(&r->seed, 3)};

	if (one_in(&r->seed, 4)) {
		f.spare = 1 + (spare_id_t)random_below(&r->seed, r->rig.shape.spare_count);
		f.start = r->rig.first_slot[f.spare - 1] + random_below(&r->seed, 4 * HOT);
	}
	if (f.life == FAULT_TIMES)
		f.times = 1 + random_below(&r->seed, 3);
	if (f.life == FAULT_UNTIL_REWRITTEN)
		f.on = FAULT_ON_READ;
	/* Slow ones widen the windows that others may slip through. */
	if (one_in(&r->seed, 5)) {
		f.delay_ms = 1;
		f.on = FAULT_ON_WRITE;
		f.error = one_in(&r->seed, 2) ? EIO : 0;
		f.life = FAULT_PERMANENT;
		f.times = 0;
	}
	return f;
}

static void torment(struct race *r)
{
	const struct timespec pause = {.tv_nsec = 1000000};
	unsigned in_force = 0;

	while (atomic_load(&r->running) > 0) {
		struct fault f = random_fault(r);

		if (++in_force > FAULTS_MAX || one_in(&r->seed, 20)) {
			rig_clear_all_faults(&r->rig);
			in_force = 0;
		} else {
			rig_add_faults(&r->rig, &f, 1);
			r->faults++;
		}
		nanosleep(&pause, NULL);
	}
	rig_clear_all_faults(&r->rig);
}

/* ---- checking ------------------------------------------------------------------- */

static size_t gather(struct race *r, struct linear_op *ops, uint32_t sector)
{
	size_t n = 0;

	/* The volume begins with zeros. */
	ops[n++] = (struct linear_op){.value = LINEAR_ZEROS, .write = true};
	for (unsigned t = 0; t <= settings.threads; t++) {
		const struct worker *w = &r->workers[t];

		for (size_t i = 0; i < w->count; i++)
			if (w->records[i].sector == sector)
				ops[n++] = (struct linear_op){w->records[i].value,
							      w->records[i].start,
							      w->records[i].end,
							      w->records[i].write};
	}
	return n;
}

static void print_history(struct race *r, uint32_t sector)
{
	unsigned shown = 0;

	fprintf(stderr, "model: the last requests of each thread on sector %llu:\n",
		(unsigned long long)hot_sector(r, sector));
	for (unsigned t = 0; t <= settings.threads; t++, shown = 0) {
		const struct worker *w = &r->workers[t];

		for (size_t i = w->count; i > 0 && shown < 12; i--) {
			const struct record *x = &w->records[i - 1];

			if (x->sector != sector)
				continue;
			shown++;
			fprintf(stderr, "  thread %u %s %llx from %llu to %llu\n", t,
				x->write ? "wrote" : "read", (unsigned long long)x->value,
				(unsigned long long)x->start, (unsigned long long)x->end);
		}
	}
}

static void check_histories(struct race *r)
{
	struct linear_op *ops;
	size_t all = 1;

	for (unsigned t = 0; t <= settings.threads; t++)
		all += r->workers[t].count;
	ops = calloc(all, sizeof(*ops));
	if (!ops)
		rig_die("out of memory");
	for (uint32_t sector = 0; sector < HOT; sector++) {
		struct linear_verdict verdict;

		if (!linear_check(ops, gather(r, ops, sector), &verdict)) {
			print_history(r, sector);
			rig_die("sector %llu has no linear history: %s",
				(unsigned long long)hot_sector(r, sector), verdict.text);
		}
		r->ambiguous += verdict.ambiguous_reads;
	}
	r->records += all - 1;
	free(ops);
}

/* ---- rounds --------------------------------------------------------------------- */

static void start_round(struct race *r)
{
	struct rig_shape shape = {.main_bytes = MAIN_BYTES, .spare_count = 2,
				  .sector_size = settings.sector_size};

	if (!shape.sector_size)
		shape.sector_size = random_below(&r->seed, 2) ? 512 : 4096;
	shape.spare_bytes[0] = 16u << 20;
	shape.spare_bytes[1] = 16u << 20;
	rig_start(&r->rig, &shape);
	r->hot[0] = random_below(&r->seed, r->rig.sectors / 2 - HOT);
	r->hot[1] = r->rig.sectors / 8 * (5 + random_below(&r->seed, 3)) - CLUSTER / 2;
	/* The last one reads at the end. */
	for (unsigned t = 0; t <= settings.threads; t++) {
		struct worker *w = &r->workers[t];

		*w = (struct worker){.race = r, .number = t, .seed = random_next(&r->seed),
				     .ops = ROUND_OPS / settings.threads,
				     .buffer = rig_buffer((uint64_t)SECTORS_MAX * shape.sector_size),
				     .io = volume_io_new()};
	}
}

static void run_threads(struct race *r)
{
	atomic_store(&r->running, settings.threads);
	for (unsigned t = 0; t < settings.threads; t++)
		if (pthread_create(&r->workers[t].thread, NULL, work, &r->workers[t]) != 0)
			rig_die("cannot start a thread");
	torment(r);
	for (unsigned t = 0; t < settings.threads; t++)
		pthread_join(r->workers[t].thread, NULL);
}

static void read_all(struct race *r)
{
	for (uint64_t i = 0; i < HOT; i++)
		do_read(&r->workers[settings.threads], i, 1);
}

static void end_round(struct race *r)
{
	struct volume_status status;

	volume_status(r->rig.volume, &status);
	r->remapped += status.remapped_sectors;
	for (unsigned t = 0; t <= settings.threads; t++) {
		struct worker *w = &r->workers[t];

		r->failed_reads += w->failed_reads;
		r->failed_writes += w->failed_writes;
		r->ops += w->ops;
		free(w->records);
		free(w->buffer);
		volume_io_free(w->io);
	}
	r->ops -= r->workers[settings.threads].ops;
	rig_end(&r->rig);
}

void race_run(void)
{
	static struct race r;
	uint64_t started = now_ns();

	if (settings.threads > THREADS_MAX - 1)
		rig_die("at most %d threads", THREADS_MAX - 1);
	r.seed = settings.seed;
	while (r.ops < settings.ops &&
	       (!settings.seconds || now_ns() - started < settings.seconds * 1000000000ull)) {
		start_round(&r);
		run_threads(&r);
		read_all(&r);
		rig_close(&r.rig);
		rig_open(&r.rig);
		read_all(&r);
		check_histories(&r);
		end_round(&r);
	}
	printf("model: %llu requests of %u threads in %.1f s: %llu steps of sectors are linear (%llu "
	       "reads of zeros were ambiguous); %llu reads and %llu writes failed; %llu faults, %llu "
	       "sectors remapped\n", (unsigned long long)r.ops, settings.threads,
	       (double)(now_ns() - started) / 1e9, (unsigned long long)r.records,
	       (unsigned long long)r.ambiguous, (unsigned long long)r.failed_reads,
	       (unsigned long long)r.failed_writes, (unsigned long long)r.faults,
	       (unsigned long long)r.remapped);
}
