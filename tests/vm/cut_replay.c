/*
 * cut-replay LOG FOLDER SEED MOST COMMAND...: cuts the power at points of
 * a record, MOST of them at most, and runs COMMAND on each.
 *
 * FOLDER has the disks as they were before the machine started: main.0, spare.0
 * and database.0. For each point main, spare and database are made of them,
 * and expected and files, which tell what had been acknowledged.
 *
 * There are two points for each flush: right after it, and at a random place
 * between it and the next one. What a disk had flushed it still has; of what it
 * had not, each write is kept whole, lost, or torn to sectors, at random, and
 * on each disk for itself.
 */
#include "cut_log.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS_MAX 65536

struct disk {
	char *content; /* what is durable */
	size_t size;
	size_t *waiting; /* entries that are not */
	size_t waiting_count;
};

static const char *const names[] = {"main", "spare", "database"};
static struct disk disks[CUT_MARKS];
static struct cut_expectation expected[BLOCKS_MAX];
static uint64_t files; /* acknowledged so far */
static enum { BEFORE, RUNNING, OVER } phase;
static const char *folder;
static unsigned seed;

static void path_of(char *path, size_t size, const char *name, const char *suffix)
{
	if (snprintf(path, size, "%s/%s%s", folder, name, suffix) >= (int)size)
		errx(1, "the path of %s is too long", name);
}

static void load_disk(struct disk *d, const char *name, size_t entries)
{
	char path[4096];
	struct stat st;
	FILE *file;

	path_of(path, sizeof(path), name, ".0");
	file = fopen(path, "re");
	if (!file || fstat(fileno(file), &st) < 0)
		err(1, "%s", path);
	d->size = (size_t)st.st_size;
	d->content = malloc(d->size);
	d->waiting = malloc(entries * sizeof(*d->waiting));
	if (!d->content || !d->waiting || fread(d->content, 1, d->size, file) != d->size)
		err(1, "%s", path);
	fclose(file);
}

/* ---- marks ------------------------------------------------------------------- */

static void take_mark(const struct cut_mark *m)
{
	struct cut_expectation *e = &expected[m->block % BLOCKS_MAX];

	if (m->magic != CUT_MARK_MAGIC || m->block >= BLOCKS_MAX)
		return;
	switch ((enum cut_mark_kind)m->kind) {
	case CUT_START:
		phase = RUNNING;
		return;
	case CUT_END:
		phase = OVER;
		return;
	case CUT_ACK:
		e->first = e->first ? e->first : m->sequence;
		e->last = m->sequence;
		return;
	case CUT_SYNC:
		e->synced = m->sequence > e->synced ? m->sequence : e->synced;
		return;
	case CUT_FILE:
		files = m->sequence;
		return;
	}
}

/* The kernel joins marks that were set at the same time. */
static void take_marks(const struct cut_entry *e)
{
	for (uint64_t i = 0; i < e->sectors; i++)
		take_mark((const void *)(e->data + i * CUT_SECTOR));
}

/* ---- the disks --------------------------------------------------------------- */

static void apply(char *content, size_t size, const struct cut_entry *e, uint64_t i, uint64_t n)
{
	if ((e->sector + e->sectors) * CUT_SECTOR > size)
		errx(1, "a write beyond the end of a disk");
	memcpy(content + (e->sector + i) * CUT_SECTOR, e->data + i * CUT_SECTOR, n * CUT_SECTOR);
}

static void take(const struct cut_log *log, size_t i)
{
	const struct cut_entry *e = &log->entries[i];
	struct disk *d;

	if (e->disk == CUT_MARKS) {
		take_marks(e);
		return;
	}
	d = &disks[e->disk];
	if (!e->flush) {
		d->waiting[d->waiting_count++] = i;
		return;
	}
	for (size_t w = 0; w < d->waiting_count; w++) {
		e = &log->entries[d->waiting[w]];
		apply(d->content, d->size, e, 0, e->sectors);
	}
	d->waiting_count = 0;
}

static void keep_some(char *content, size_t size, const struct cut_entry *e)
{
	unsigned luck = (unsigned)rand_r(&seed) % 10;

	if (luck < 4)
		return;
	if (luck < 8)
		apply(content, size, e, 0, e->sectors);
	for (uint64_t i = 0; luck >= 8 && i < e->sectors; i++)
		if (rand_r(&seed) & 0x100)
			apply(content, size, e, i, 1);
}

static void write_file(const char *name, const void *content, size_t size)
{
	char path[4096];
	FILE *file;

	path_of(path, sizeof(path), name, "");
	file = fopen(path, "we");
	if (!file || fwrite(content, 1, size, file) != size || fclose(file) != 0)
		err(1, "%s", path);
}

static void cut_disk(const struct cut_log *log, const struct disk *d, const char *name)
{
	char *content = malloc(d->size);

	if (!content)
		errx(1, "out of memory");
	memcpy(content, d->content, d->size);
	for (size_t i = 0; i < d->waiting_count; i++)
		keep_some(content, d->size, &log->entries[d->waiting[i]]);
	write_file(name, content, d->size);
	free(content);
}

/* ---- points ------------------------------------------------------------------ */

static void cut(const struct cut_log *log, size_t point, char **command)
{
	unsigned used = seed;
	size_t waiting = 0;
	int status;
	pid_t pid;

	for (size_t i = 0; i < CUT_MARKS; i++) {
		waiting += disks[i].waiting_count;
		cut_disk(log, &disks[i], names[i]);
	}
	write_file("expected", expected, sizeof(expected));
	write_file("files", &files, sizeof(files));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execvp(command[0], command);
		err(1, "%s", command[0]);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		err(1, "%s", command[0]);
	if (status != 0)
		errx(1, "not as promised after a power cut at entry %zu (seed %u, %zu writes not "
		     "flushed, %llu files acknowledged)", point, used, waiting,
		     (unsigned long long)files);
}

/* Points of the running phase: those after a flush, and one before the next. */
static size_t choose(const struct cut_log *log, bool *chosen)
{
	size_t count = 0, last = 0;

	for (size_t i = 0; i < log->count; i++) {
		const struct cut_entry *e = &log->entries[i];

		if (e->disk == CUT_MARKS)
			take_marks(e);
		if (phase != RUNNING || !e->flush || e->disk == CUT_MARKS)
			continue;
		if (last && i > last + 1)
			chosen[last + 1 + (size_t)rand_r(&seed) % (i - last - 1)] = true;
		chosen[i] = true;
		last = i;
	}
	for (size_t i = 0; i < log->count; i++)
		count += chosen[i];
	phase = BEFORE;
	files = 0;
	memset(expected, 0, sizeof(expected));
	return count;
}

int main(int argc, char **argv)
{
	size_t all, most, taken = 0, seen = 0;
	struct cut_log log;
	bool *chosen;

	if (argc < 6)
		errx(2, "cut-replay LOG FOLDER SEED MOST COMMAND...");
	folder = argv[2];
	seed = (unsigned)strtoul(argv[3], NULL, 10);
	most = strtoul(argv[4], NULL, 10);
	log = cut_log_read(argv[1]);
	chosen = calloc(log.count, sizeof(*chosen));
	if (!chosen)
		errx(1, "out of memory");
	for (size_t i = 0; i < CUT_MARKS; i++)
		load_disk(&disks[i], names[i], log.count);
	all = choose(&log, chosen);
	if (all == 0)
		errx(1, "no flush between the marks of beginning and end");
	for (size_t i = 0; i < log.count; i++) {
		take(&log, i);
		if (!chosen[i])
			continue;
		/* Evenly spread when there are more than wanted. */
		if (seen++ * most / all == taken && taken < most) {
			cut(&log, i, argv + 5);
			if (++taken % 50 == 0)
				printf("%zu power cuts, nothing lost\n", taken);
		}
	}
	printf("%zu power cuts of %zu points, %zu entries\n", taken, all, log.count);
	return 0;
}
