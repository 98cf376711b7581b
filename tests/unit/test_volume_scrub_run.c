/*
 * include/remapfs/volume.h, scrub: that it keeps its pace and its place, whatever
 * stops it.
 */
#include "scrub_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <linux/ioprio.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "disrupt.h"

#define PIECE_BYTES (256 * KiB) /* of 512 sectors */

/* ---- orders --------------------------------------------------------------------------------------- */

static void it_pauses_and_goes_on(void **state)
{
	uint64_t at_pause;

	(void)state;
	assert_int_equal(volume_scrub_pause(volume, &scrub_error), -EINVAL);
	assert_int_equal(volume_scrub_resume(volume, 0, &scrub_error), -EINVAL);
	assert_int_equal(volume_scrub_start(volume, SCRUB_RATE_MIN - 1, &scrub_error), -EINVAL);
	assert_int_equal(look().scrub.state, SCRUB_NONE);
	bad_sectors(100, 1, FAULT_ON_READ);
	start(1 * MiB);
	assert_int_equal(volume_scrub_start(volume, 0, &scrub_error), -EBUSY);
	resume(SCRUB_RATE_SAME);
	while (look().done < MiB)
		pause_ms(10);
	assert_int_equal(volume_scrub_pause(volume, &scrub_error), 0);
	assert_int_equal(volume_scrub_pause(volume, &scrub_error), 0);
	pause_ms(300);
	at_pause = look().done;
	pause_ms(600);
	assert_int_equal(look().done, at_pause);
	assert_true(at_pause < 8 * MiB);
	reopen_volume();
	volume_scrub_continue(volume);
	pause_ms(300);
	assert_int_equal(look().scrub.state, SCRUB_PAUSED);
	assert_int_equal(look().done, at_pause);
	resume(0);
	wait_for(SCRUB_DONE);
	/* What was found before counts. */
	assert_int_equal(look().scrub.found.lost, 1);
	assert_int_equal(events("scrub_paused"), 1);
	assert_int_equal(events("scrub_resumed"), 1);
	assert_int_equal(events("scrub_done"), 1);
	assert_int_equal(scrub().lost, 0);
}

static void it_keeps_its_rate(void **state)
{
	struct timespec before, after;
	double seconds, most;

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &before);
	start(2 * MiB);
	pause_ms(1500);
	most = (double)look().done;
	clock_gettime(CLOCK_MONOTONIC, &after);
	seconds = (double)(after.tv_sec - before.tv_sec) +
		  (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	assert_true(most > 0);
	assert_true(most <= seconds * 2 * MiB + 2 * PIECE_BYTES);
	resume(0);
	wait_for(SCRUB_DONE);
}

static void *one_read(void *context)
{
	(void)context;
	assert_int_equal(volume_read(volume, buffer, 512, 20000 * 512), 0);
	return NULL;
}

static void it_gives_way_to_requests(void **state)
{
	uint64_t before, after;
	pthread_t reader;

	(void)state;
	/* A request that takes two seconds, of a part that is read before long. */
	add_fault((struct fault){.start = 20000, .count = 1, .on = FAULT_ON_READ, .life = FAULT_TIMES,
				 .times = 1, .delay_ms = 2000});
	assert_int_equal(pthread_create(&reader, NULL, one_read, NULL), 0);
	pause_ms(100);
	start(0);
	before = look().done;
	pause_ms(1500);
	after = look().done;
	assert_int_equal(status_now().reads, 0);
	pthread_join(reader, NULL);
	/* A piece in 200 ms, and one that had begun. */
	assert_true(after > before);
	assert_true(after - before <= 9 * PIECE_BYTES);
	wait_for(SCRUB_DONE);
}

/* Whether a thread of ours that is called so reads at idle priority. */
static bool any_is_idle(const char *name)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *task;
	bool idle = false;

	assert_non_null(tasks);
	while ((task = readdir(tasks))) {
		char path[300], comm[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task->d_name);
		f = fopen(path, "r");
		if (f && fgets(comm, sizeof(comm), f) && strncmp(comm, name, strlen(name)) == 0)
			idle |= IOPRIO_PRIO_CLASS(syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS,
							  atoi(task->d_name))) == IOPRIO_CLASS_IDLE;
		if (f)
			fclose(f);
	}
	closedir(tasks);
	return idle;
}

static void it_reads_at_idle_priority(void **state)
{
	bool idle = false;

	(void)state;
	slow(ON_MAIN, 100, 1, 800);
	start(0);
	for (int ms = 0; !idle && look().scrub.state == SCRUB_RUNNING && ms < WAIT_MS; ms++) {
		idle = any_is_idle("scrub");
		pause_ms(1);
	}
	assert_true(idle);
	wait_for(SCRUB_DONE);
}

/* ---- crashes ---------------------------------------------------------------------------------------- */

/* Dies while it reads the piece behind the one that is noted. */
static int scrub_and_die(void *context)
{
	if (volume_open(context, &(struct volume_options){.opener = "who dies"}, &volume, &scrub_error) < 0 ||
	    volume_scrub_start(volume, 0, &scrub_error) < 0)
		return 99;
	for (int ms = 0; ask_number("SELECT sector FROM scrub") != 5120; ms += 10) {
		if (ms > WAIT_MS)
			return 98;
		pause_ms(10);
	}
	pause_ms(100);
	return look().done == 5120 * 512 ? 0 : 97;
}

static void a_crash_loses_no_piece(void **state)
{
	char path[4096];

	(void)state;
	/* Its being found is noted at once, and with it how far it is. */
	bad_sectors(5000, 1, FAULT_ON_READ);
	bad_sectors(5200, 1, FAULT_ON_READ);
	add_fault((struct fault){.start = 5200, .count = 1, .on = FAULT_ON_READ,
				 .life = FAULT_TIMES, .times = 1, .delay_ms = 3000});
	close_volume();
	snprintf(path, sizeof(path), "%s", at("volume"));
	assert_int_equal(in_child(scrub_and_die, path), 0);
	open_volume();
	assert_int_equal(look().scrub.state, SCRUB_RUNNING);
	assert_int_equal(look().done, 5120 * 512);
	pause_ms(100);
	assert_int_equal(look().done, 5120 * 512);
	volume_scrub_continue(volume);
	wait_for(SCRUB_DONE);
	assert_int_equal(look().scrub.found.lost, 2);
	assert_counts(0, 2);
	assert_int_equal(events("scrub_started"), 1);
	assert_int_equal(events("scrub_done"), 1);
}

static void an_orderly_end_notes_how_far_it_is(void **state)
{
	uint64_t done;

	(void)state;
	start(2 * MiB);
	while (look().done < MiB)
		pause_ms(10);
	done = look().done;
	reopen_volume();
	assert_int_equal(look().scrub.state, SCRUB_RUNNING);
	assert_true(look().done >= done);
	assert_true(look().done < MAIN_BYTES);
	resume(0);
	wait_for(SCRUB_DONE);
}

static void how_far_it_is_is_noted_as_it_goes(void **state)
{
	(void)state;
	start(1 * MiB);
	for (int ms = 0; ask_number("SELECT sector FROM scrub") == 0; ms += 50) {
		assert_true(ms < WAIT_MS);
		assert_int_equal(look().scrub.state, SCRUB_RUNNING);
		pause_ms(50);
	}
	/* Rarely: seconds have passed. */
	assert_true(ask_number("SELECT sector FROM scrub") >= 2 * MiB / 512);
	resume(0);
	wait_for(SCRUB_DONE);
}

static void without_the_database_it_does_not_begin(void **state)
{
	(void)state;
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE, .error = ENOSPC});
	assert_int_equal(volume_scrub_start(volume, 0, &scrub_error), -ENOSPC);
	disrupt_end();
	assert_int_equal(look().scrub.state, SCRUB_NONE);
	assert_int_equal(events("scrub_started"), 0);
	scrub();
}

static void its_end_waits_for_the_database(void **state)
{
	(void)state;
	start(4 * MiB);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_WRITE, .error = ENOSPC});
	resume(0);
	for (int ms = 0; look().done < MAIN_BYTES; ms += 10) {
		assert_true(ms < WAIT_MS);
		pause_ms(10);
	}
	pause_ms(200);
	assert_int_equal(look().scrub.state, SCRUB_RUNNING);
	disrupt_end();
	wait_for(SCRUB_DONE);
	assert_int_equal(events("scrub_done"), 1);
}

/* ---- under load ----------------------------------------------------------------------------------------- */

#define WRITERS 3
#define AREA 2048 /* sectors of each writer: four pieces */

static atomic_bool enough;

struct writer {
	pthread_t thread;
	sector_t start;
	uint8_t tag; /* of what it wrote last */
	int rc;
};

static void *keep_writing(void *context)
{
	struct writer *w = context;
	uint8_t *data = aligned_buffer(64 * 512);

	for (uint8_t tag = 1; !atomic_load(&enough) && w->rc == 0; tag = tag % 200 + 1) {
		memset(data, tag, 64 * 512);
		for (sector_t s = 0; s < AREA && w->rc == 0; s += 64)
			w->rc = volume_write(volume, data, 64 * 512, (w->start + s) * 512);
		w->tag = tag;
	}
	free(data);
	return NULL;
}

static void assert_all_written(const struct writer *w)
{
	assert_int_equal(w->rc, 0);
	for (sector_t s = 0; s < AREA; s++) {
		assert_int_equal(volume_read(volume, buffer, 512, (w->start + s) * 512), 0);
		for (int i = 0; i < 512; i++)
			assert_int_equal(buffer[i], w->tag);
	}
}

/* What the writers write, and no further. How many sectors were moved. */
static uint64_t scrub_areas(void)
{
	start(0);
	for (int ms = 0; look().done < WRITERS * AREA * 512; ms += 10) {
		assert_true(ms < WAIT_MS);
		pause_ms(10);
	}
	assert_int_equal(volume_scrub_pause(volume, &scrub_error), 0);
	return look().scrub.found.moved;
}

/* Sectors move while they are written: who comes later wins. */
static void nothing_is_lost_under_load(void **state)
{
	struct writer writers[WRITERS] = {0};
	uint64_t moved = 0;

	(void)state;
	atomic_store(&enough, false);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].start = i * AREA;
		assert_int_equal(pthread_create(&writers[i].thread, NULL, keep_writing, &writers[i]), 0);
	}
	for (unsigned round = 0; round < 3; round++) {
		for (sector_t s = 0; s < WRITERS * AREA; s += 512)
			add_fault(failing_times(ON_MAIN, s + 100 + round * 16, 2 + round % 2));
		moved += scrub_areas();
	}
	atomic_store(&enough, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	assert_int_equal(events("write_failed"), 0);
	assert_true(moved > 0);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_all_written(&writers[i]);
	reopen_volume();
	for (unsigned i = 0; i < WRITERS; i++)
		assert_all_written(&writers[i]);
}

static void a_volume_closes_in_the_middle(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 10; i++) {
		if (i % 2)
			volume_scrub_continue(volume);
		else
			start(0);
		pause_ms(i);
		reopen_volume();
	}
	scrub();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_pauses_and_goes_on),
		TEST(it_keeps_its_rate),
		TEST(it_gives_way_to_requests),
		TEST(it_reads_at_idle_priority),
		TEST(a_crash_loses_no_piece),
		TEST(an_orderly_end_notes_how_far_it_is),
		TEST(how_far_it_is_is_noted_as_it_goes),
		TEST(without_the_database_it_does_not_begin),
		TEST(its_end_waits_for_the_database),
		TEST(nothing_is_lost_under_load),
		TEST(a_volume_closes_in_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
