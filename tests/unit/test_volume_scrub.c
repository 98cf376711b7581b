/*
 * include/remapfs/volume.h, scrub: what it finds, what it does with it, what it
 * leaves alone, and that it goes on after everything that may stop it.
 */
#include "volume_fixture.h"

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
#include "remapfs/spare.h"

#define WAIT_MS 60000
#define PIECE_BYTES (256 * KiB) /* of 512 sectors */

static struct error err;

/* ---- helpers ---------------------------------------------------------------------- */

static struct volume_scrub look(void)
{
	struct volume_scrub s;

	volume_scrub_look(volume, &s);
	return s;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void wait_for(enum scrub_state state)
{
	for (int ms = 0; look().scrub.state != state; ms += 10) {
		if (ms > WAIT_MS)
			fail_msg("the scrub is %s, not %s", scrub_state_name(look().scrub.state),
				 scrub_state_name(state));
		pause_ms(10);
	}
}

static void start(uint64_t rate)
{
	if (volume_scrub_start(volume, rate, &err) < 0)
		fail_msg("%s", err.text);
}

static void resume(uint64_t rate)
{
	if (volume_scrub_resume(volume, rate, &err) < 0)
		fail_msg("%s", err.text);
}

/* All of it; what was found. */
static struct scrub_counts scrub(void)
{
	start(0);
	wait_for(SCRUB_DONE);
	assert_int_equal(look().done, MAIN_BYTES);
	return look().scrub.found;
}

/* Reads of a sector fail so often, one at a time, and then no more. */
static struct fault failing_times(spare_id_t spare, sector_t sector, uint64_t times)
{
	return (struct fault){.spare = spare, .start = sector, .count = 1, .on = FAULT_ON_READ,
			      .error = EIO, .life = FAULT_TIMES, .times = times};
}

static sector_t first_slot(void)
{
	return spare_layout(1 * MiB, 512).slots_offset / 512;
}

static void slow(spare_id_t spare, sector_t start_at, uint64_t count, uint32_t ms)
{
	add_fault((struct fault){.spare = spare, .start = start_at, .count = count,
				 .on = FAULT_ON_READ, .delay_ms = ms});
}

/* ---- finding ------------------------------------------------------------------------ */

static void what_cannot_be_read_is_pending(void **state)
{
	struct scrub_counts found;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 5, 1);
	bad_slots(1, 0, 1, FAULT_ON_READ);
	bad_sectors(100, 1, FAULT_ON_READ);
	bad_sectors(5000, 20, FAULT_ON_READ);
	bad_sectors(MAIN_BYTES / 512 - 1, 1, FAULT_ON_READ);
	found = scrub();
	assert_int_equal(found.lost, 23);
	assert_int_equal(found.weak, 0);
	assert_int_equal(found.unsteady + found.skipped, 0);
	assert_counts(0, 23);
	assert_read(8, 2, 1);
	assert_read(11, 2, 1);
	assert_read(4990, 10, 0);
	assert_read(5020, 10, 0);
	assert_int_equal(events("scrub_started"), 1);
	assert_int_equal(events("scrub_done"), 1);
	assert_int_equal(ask_number("SELECT detail LIKE '%23 lost, 0 weak%' FROM history WHERE "
				    "event = 'scrub_done'"), 1);
	/* Once is enough: they are known now. */
	assert_int_equal(scrub().lost, 0);
}

static void sectors_of_4096_bytes_too(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(70, 1, 5);
	bad_sectors(10, 2, FAULT_ON_READ);
	/* The piece, and alone, which is its group; once more it can be read. */
	add_fault(failing_times(ON_MAIN, 70, 3));
	bad_sectors(MAIN_BYTES / 4096 - 1, 1, FAULT_ON_READ);
	found = scrub();
	assert_int_equal(found.lost, 3);
	assert_int_equal(found.moved, 1);
	assert_string_equal(remaps(), "70+1");
	assert_read(70, 1, 5);
}

/* ---- weak sectors ---------------------------------------------------------------------- */

static void what_is_readable_on_a_retry_only_is_moved(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(0, 4000, 1);
	/* With its piece, with its group, alone; then it could be read. */
	add_fault(failing_times(ON_MAIN, 300, 3));
	/* Not even then. */
	add_fault(failing_times(ON_MAIN, 1000, 4));
	/* With its group, but not alone. */
	add_fault(failing_times(ON_MAIN, 2001, 2));
	/* Never again. */
	add_fault(failing_times(ON_MAIN, 3000, 1));
	found = scrub();
	assert_string_equal(remaps(), "300+1 2000+8");
	assert_int_equal(found.weak, 9);
	assert_int_equal(found.moved, 9);
	assert_int_equal(found.lost, 1);
	assert_int_equal(found.unsteady, 1);
	assert_counts(9, 1);
	/* Main is not asked for them any more. */
	bad_sectors(300, 1, FAULT_ON_BOTH);
	bad_sectors(2000, 8, FAULT_ON_BOTH);
	assert_read(0, 1000, 1);
	assert_read(1001, 2999, 1);
	reopen_volume();
	assert_read(1001, 2999, 1);
	assert_read(300, 1, 1);
}

static void a_weak_slot_moves_to_another(void **state)
{
	struct scrub_counts found;

	(void)state;
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 5, 1);
	add_fault(failing_times(1, first_slot(), 3));
	found = scrub();
	assert_int_equal(found.moved, 1);
	assert_int_equal(ask_number("SELECT slot FROM remap WHERE main_sector = 10"), 1);
	assert_int_equal(ask_number("SELECT count(*) FROM bad_slot WHERE slot = 0"), 1);
	assert_int_equal(events("moved"), 1);
	assert_int_equal(events("slot_bad"), 1);
	bad_slots(1, 0, 1, FAULT_ON_BOTH);
	assert_read(8, 5, 1);
	reopen_volume();
	assert_read(8, 5, 1);
}

static void open_impatient(unsigned slow_ms)
{
	close_volume();
	open_volume_with(&(struct volume_options){.slow_ms = slow_ms});
}

static void what_is_slow_is_moved(void **state)
{
	struct scrub_counts found;
	uint64_t lent;

	(void)state;
	open_impatient(300);
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(8, 5, 1);
	assert_written(700, 1, 2);
	slow(1, first_slot(), 1, 400);
	slow(ON_MAIN, 700, 1, 400);
	lent = status_now().free_slots;
	found = scrub();
	assert_int_equal(found.weak, 2);
	assert_int_equal(found.moved, 2);
	assert_string_equal(remaps(), "10+1 700+1");
	assert_int_equal(ask_number("SELECT slot <> 0 FROM remap WHERE main_sector = 10"), 1);
	/* The spare is slow, not gone. */
	assert_int_equal(events("device_failed"), 0);
	assert_int_equal(status_now().free_slots, lent - 2);
	assert_read(8, 5, 1);
	assert_read(700, 1, 2);
}

static void where_much_is_slow_it_is_not_the_sectors(void **state)
{
	struct scrub_counts found;

	(void)state;
	open_impatient(300);
	slow(ON_MAIN, 1024, 17 * 8, 350);
	found = scrub();
	assert_int_equal(found.weak, 0);
	assert_int_equal(found.unsteady, 1);
	assert_counts(0, 0);
}

static void without_a_free_slot_a_weak_sector_stays(void **state)
{
	uint64_t slots = status_now().free_slots;
	struct scrub_counts found;

	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots, 1);
	assert_written(5000, 1, 3);
	add_fault(failing_times(ON_MAIN, 5000, 3));
	found = scrub();
	assert_int_equal(found.weak, 1);
	assert_int_equal(found.moved, 0);
	assert_counts(slots, 0);
	assert_read(5000, 1, 3);
	assert_read(0, slots, 1);
}

/* ---- lost sectors that can be read again: contract 2 ---------------------------------------- */

static void a_sector_that_can_be_read_again_is_cleared(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(48, 8, 7);
	bad_sectors(50, 3, FAULT_ON_READ);
	assert_lost(50, 3);
	assert_int_equal(scrub().cured, 0);
	assert_counts(0, 3);
	clear_faults();
	assert_lost(50, 3);
	found = scrub();
	assert_int_equal(found.cured, 3);
	assert_counts(0, 0);
	assert_int_equal(events("cured"), 1);
	assert_read(48, 8, 7);
	reopen_volume();
	assert_read(48, 8, 7);
}

/* Main may be another one by now: a copy of it, with zeros where it was lost. */
static void not_if_it_was_lost_before_the_volume_was_opened(void **state)
{
	static const uint8_t zeros[512];

	(void)state;
	assert_written(48, 8, 7);
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	close_volume();
	put_bytes(at("main"), 50 * 512, zeros, sizeof(zeros));
	clear_faults();
	open_volume();
	assert_int_equal(scrub().cured, 0);
	assert_lost(50, 1);
	assert_counts(0, 1);
	assert_written(50, 1, 8);
	assert_read(50, 1, 8);
}

/* What was not acknowledged may be on main. */
static void not_if_a_write_failed_half_way(void **state)
{
	uint64_t slots = status_now().free_slots;

	(void)state;
	bad_sectors(0, 300, FAULT_ON_WRITE);
	assert_written(0, slots, 1);
	assert_written(5000, 2, 3);
	bad_sectors(5000, 2, FAULT_ON_READ);
	assert_lost(5000, 2);
	/* Main takes it, but it cannot be read back, and no slot is free. */
	assert_int_equal(write_sectors_of(5000, 1, 4), -EIO);
	clear_faults();
	assert_int_equal(scrub().cured, 1);
	assert_lost(5000, 1);
	assert_read(5001, 1, 3);
	close_volume();
	assert_main_holds(5000, 1, 4);
	open_volume();
}

/* Its row may turn out to be durable, and would overtake what is written to main. */
static void not_if_the_commit_of_its_move_is_in_doubt(void **state)
{
	(void)state;
	assert_written(50, 1, 1);
	bad_sectors(50, 1, FAULT_ON_WRITE);
	disrupt(&(struct disruption){.file = "/volume-wal", .calls = DISRUPT_SYNC, .error = EIO});
	assert_int_equal(write_sectors_of(50, 1, 2), -EIO);
	assert_true(disrupt_end() > 0);
	clear_faults();
	assert_lost(50, 1);
	assert_int_equal(scrub().cured, 0);
	assert_lost(50, 1);
	assert_written(50, 1, 3);
	assert_read(50, 1, 3);
}

/* ---- what it may not do ------------------------------------------------------------------------ */

static void a_read_only_volume_is_scrubbed_without_moving(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(0, 2000, 1);
	close_volume();
	open_volume_with(&(struct volume_options){.read_only = true});
	add_fault(failing_times(ON_MAIN, 300, 3));
	bad_sectors(1000, 1, FAULT_ON_READ);
	bad_sectors(50, 1, FAULT_ON_READ);
	assert_lost(50, 1);
	found = scrub();
	assert_int_equal(found.weak, 1);
	assert_int_equal(found.moved, 0);
	assert_int_equal(found.lost, 1);
	assert_counts(0, 2);
	clear_faults();
	assert_int_equal(scrub().cured, 0);
	assert_counts(0, 2);
	assert_read(300, 1, 1);
}

static void without_remapping_nothing_is_marked_either(void **state)
{
	struct scrub_counts found;

	(void)state;
	assert_written(0, 2000, 1);
	close_volume();
	open_volume_with(&(struct volume_options){.no_remap = true});
	add_fault(failing_times(ON_MAIN, 300, 3));
	bad_sectors(1000, 2, FAULT_ON_READ);
	found = scrub();
	assert_int_equal(found.weak, 1);
	assert_int_equal(found.moved, 0);
	assert_int_equal(found.lost, 2);
	assert_counts(0, 0);
	clear_faults();
	assert_read(0, 2000, 1);
}

/* ---- contract 7 ----------------------------------------------------------------------------------- */

static void assert_paused_for(const char *word)
{
	wait_for(SCRUB_PAUSED);
	if (!strstr(look().reason, word))
		fail_msg("it paused because: '%s'", look().reason);
	assert_int_equal(look().scrub.found.lost, 0);
}

static void it_pauses_when_main_is_gone(void **state)
{
	(void)state;
	disrupt(&(struct disruption){.file = "/main", .calls = DISRUPT_READ, .error = EIO,
				     .after = 20});
	start(0);
	assert_paused_for("main does not answer");
	disrupt_end();
	assert_counts(0, 0);
	assert_int_equal(events("device_failed"), 1);
	/* Noted after it is so. */
	for (int ms = 0; !events("scrub_paused") && ms < WAIT_MS; ms += 10)
		pause_ms(10);
	assert_int_equal(events("scrub_paused"), 1);
	resume(SCRUB_RATE_SAME);
	wait_for(SCRUB_DONE);
	assert_int_equal(look().scrub.found.skipped, 0);
	assert_counts(0, 0);
	assert_int_equal(events("scrub_resumed"), 1);
}

static void it_pauses_when_main_is_gone_without_remapping(void **state)
{
	(void)state;
	close_volume();
	open_volume_with(&(struct volume_options){.no_remap = true});
	disrupt(&(struct disruption){.file = "/main", .calls = DISRUPT_READ, .error = EIO,
				     .after = 20});
	start(0);
	assert_paused_for("main does not answer");
	disrupt_end();
	resume(SCRUB_RATE_SAME);
	wait_for(SCRUB_DONE);
}

static void it_pauses_when_a_spare_is_gone(void **state)
{
	(void)state;
	bad_sectors(10, 3, FAULT_ON_WRITE);
	assert_written(8, 8, 1);
	disrupt(&(struct disruption){.file = "/spare1", .calls = DISRUPT_ALL, .error = EIO});
	start(0);
	assert_paused_for("spare 1 does not answer");
	assert_counts(3, 0);
	/* It is known to be gone: the rest is read without it. */
	resume(SCRUB_RATE_SAME);
	wait_for(SCRUB_DONE);
	disrupt_end();
	assert_int_equal(look().scrub.found.skipped, 3);
	assert_int_equal(look().scrub.found.lost, 0);
	assert_counts(3, 0);
	reopen_volume();
	assert_read(8, 8, 1);
	assert_int_equal(scrub().skipped, 0);
}

/* ---- orders --------------------------------------------------------------------------------------- */

static void it_pauses_and_goes_on(void **state)
{
	uint64_t at_pause;

	(void)state;
	assert_int_equal(volume_scrub_pause(volume, &err), -EINVAL);
	assert_int_equal(volume_scrub_resume(volume, 0, &err), -EINVAL);
	assert_int_equal(volume_scrub_start(volume, SCRUB_RATE_MIN - 1, &err), -EINVAL);
	assert_int_equal(look().scrub.state, SCRUB_NONE);
	bad_sectors(100, 1, FAULT_ON_READ);
	start(1 * MiB);
	assert_int_equal(volume_scrub_start(volume, 0, &err), -EBUSY);
	resume(SCRUB_RATE_SAME);
	while (look().done < MiB)
		pause_ms(10);
	assert_int_equal(volume_scrub_pause(volume, &err), 0);
	assert_int_equal(volume_scrub_pause(volume, &err), 0);
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
	if (volume_open(context, &(struct volume_options){.opener = "who dies"}, &volume, &err) < 0 ||
	    volume_scrub_start(volume, 0, &err) < 0)
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
	assert_int_equal(volume_scrub_start(volume, 0, &err), -ENOSPC);
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
	assert_int_equal(volume_scrub_pause(volume, &err), 0);
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
#define TEST_SMALL(f) cmocka_unit_test_setup_teardown(f, volume_setup_small_spare, volume_teardown)
#define TEST_4096(f) cmocka_unit_test_setup_teardown(f, volume_setup_4096, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_cannot_be_read_is_pending),
		TEST_4096(sectors_of_4096_bytes_too),
		TEST(what_is_readable_on_a_retry_only_is_moved),
		TEST(a_weak_slot_moves_to_another),
		TEST(what_is_slow_is_moved),
		TEST(where_much_is_slow_it_is_not_the_sectors),
		TEST_SMALL(without_a_free_slot_a_weak_sector_stays),
		TEST(a_sector_that_can_be_read_again_is_cleared),
		TEST(not_if_it_was_lost_before_the_volume_was_opened),
		TEST_SMALL(not_if_a_write_failed_half_way),
		TEST(not_if_the_commit_of_its_move_is_in_doubt),
		TEST(a_read_only_volume_is_scrubbed_without_moving),
		TEST(without_remapping_nothing_is_marked_either),
		TEST(it_pauses_when_main_is_gone),
		TEST(it_pauses_when_main_is_gone_without_remapping),
		TEST(it_pauses_when_a_spare_is_gone),
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
