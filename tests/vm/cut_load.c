/*
 * cut-load write IMAGE MARKS FIRST BLOCKS ROUNDS: writers share the blocks of
 * disk.img from sector FIRST on; each writes its own, in random order, ROUNDS
 * times on average, and fsyncs now and then. What was acknowledged is marked
 * before the next write. Ends with 1 at the first error.
 *
 * cut-load check IMAGE MARKS FIRST BLOCKS: every block is there as it was last
 * acknowledged, or newer: what is promised when processes die and the kernel
 * lives. MARKS has to be large enough to hold all marks.
 *
 * cut-load mark MARKS KIND SEQUENCE: only sets a mark.
 */
#include "cut.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITERS 4
#define SYNC_EVERY 12

struct writer {
	pthread_t thread;
	unsigned number;
	unsigned state; /* of its random numbers */
};

static int image, marks;
static uint64_t first, blocks, rounds, marks_max;
static _Atomic(uint64_t) marks_set;

static void die(const char *what)
{
	fprintf(stderr, "cut-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *aligned(size_t size)
{
	void *buf;

	if (posix_memalign(&buf, 4096, size) != 0)
		die("memory");
	memset(buf, 0, size);
	return buf;
}

static void mark(enum cut_mark_kind kind, uint64_t block, uint64_t sequence)
{
	struct cut_mark *m = aligned(CUT_SECTOR);
	uint64_t place = atomic_fetch_add(&marks_set, 1) % marks_max;

	*m = (struct cut_mark){CUT_MARK_MAGIC, kind, (uint32_t)block, sequence};
	if (pwrite(marks, m, CUT_SECTOR, (off_t)place * CUT_SECTOR) != CUT_SECTOR)
		die("marks");
	free(m);
}

static void write_block(uint64_t block, uint64_t sequence)
{
	struct cut_tag *tags = aligned(CUT_BLOCK * CUT_SECTOR);
	uint64_t sector = first + block * CUT_BLOCK;

	for (unsigned i = 0; i < CUT_BLOCK; i++)
		cut_tag_make(&tags[i], sector + i, sequence);
	if (pwrite(image, tags, CUT_BLOCK * CUT_SECTOR, (off_t)(sector * CUT_SECTOR)) !=
	    CUT_BLOCK * CUT_SECTOR)
		die("write");
	free(tags);
}

/* What this writer wrote in its last SYNC_EVERY writes is durable. */
static void sync_blocks(uint64_t written[][2], size_t count)
{
	if (fsync(image) < 0)
		die("fsync");
	for (size_t i = 0; i < count; i++)
		mark(CUT_SYNC, written[i][0], written[i][1]);
}

static void *run(void *context)
{
	struct writer *w = context;
	uint64_t own = blocks / WRITERS, written[SYNC_EVERY][2];
	uint64_t *sequence = calloc(own, sizeof(*sequence));
	size_t count = 0;

	if (!sequence)
		die("memory");
	for (uint64_t i = 0; i < own * rounds; i++) {
		uint64_t n = (uint64_t)rand_r(&w->state) % own, block = n * WRITERS + w->number;

		write_block(block, ++sequence[n]);
		mark(CUT_ACK, block, sequence[n]);
		written[count][0] = block;
		written[count][1] = sequence[n];
		if (++count == SYNC_EVERY) {
			sync_blocks(written, count);
			count = 0;
		}
	}
	free(sequence);
	return NULL;
}

static int open_direct(const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static void open_marks(const char *path)
{
	marks = open_direct(path);
	marks_max = (uint64_t)lseek(marks, 0, SEEK_END) / CUT_SECTOR;
	if (marks_max == 0)
		die("marks");
}

static int write_blocks(void)
{
	struct writer writers[WRITERS] = {0};

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].number = i;
		writers[i].state = i + 1;
		if (pthread_create(&writers[i].thread, NULL, run, &writers[i]) != 0)
			die("thread");
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	return 0;
}

/* ---- checking ------------------------------------------------------------------- */

static uint64_t *read_marks(void)
{
	uint64_t *last = calloc(blocks, sizeof(*last));
	char *sector = aligned(CUT_SECTOR);
	const struct cut_mark *m = (const void *)sector;

	if (!last)
		die("memory");
	while (read(marks, sector, CUT_SECTOR) == CUT_SECTOR)
		if (m->magic == CUT_MARK_MAGIC && m->kind == CUT_ACK && m->block < blocks &&
		    m->sequence > last[m->block])
			last[m->block] = m->sequence;
	free(sector);
	return last;
}

static bool block_is_there(uint64_t block, uint64_t last)
{
	struct cut_tag *tags = aligned(CUT_BLOCK * CUT_SECTOR);
	uint64_t sector = first + block * CUT_BLOCK;
	bool there = pread(image, tags, CUT_BLOCK * CUT_SECTOR, (off_t)(sector * CUT_SECTOR)) ==
		     CUT_BLOCK * CUT_SECTOR;

	for (unsigned i = 0; there && i < CUT_BLOCK; i++)
		there = cut_tag_is_valid(&tags[i], sector + i) && tags[i].sequence >= last;
	free(tags);
	return there;
}

static int check_blocks(void)
{
	uint64_t *last, checked = 0, wrong = 0;

	lseek(marks, 0, SEEK_SET);
	last = read_marks();
	for (uint64_t i = 0; i < blocks; i++) {
		if (!last[i])
			continue;
		checked++;
		if (!block_is_there(i, last[i])) {
			wrong++;
			fprintf(stderr, "cut-load: block %llu is not as it was acknowledged\n",
				(unsigned long long)i);
		}
	}
	free(last);
	printf("%llu blocks were acknowledged, %llu are lost\n", (unsigned long long)checked,
	       (unsigned long long)wrong);
	return wrong || !checked;
}

int main(int argc, char **argv)
{
	bool write = argc == 7 && strcmp(argv[1], "write") == 0;
	bool check = argc == 6 && strcmp(argv[1], "check") == 0;

	if (argc == 5 && strcmp(argv[1], "mark") == 0) {
		open_marks(argv[2]);
		mark((enum cut_mark_kind)atoi(argv[3]), 0, strtoull(argv[4], NULL, 10));
		return 0;
	}
	if (!write && !check)
		return 2;
	image = open_direct(argv[2]);
	open_marks(argv[3]);
	first = strtoull(argv[4], NULL, 10);
	blocks = strtoull(argv[5], NULL, 10);
	if (check)
		return check_blocks();
	rounds = strtoull(argv[6], NULL, 10);
	return write_blocks();
}
