/*
 * include/remapfs/volume.h: a write that moves a sector, in which nothing works
 * from the Nth system call on, and then the process is killed, for every N.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>

#include "disrupt.h"

/* A volume with nothing in it; the old one is removed. */
static void start_anew(void)
{
	volume_teardown(NULL);
	assert_int_equal(volume_setup(NULL), 0);
}

struct death {
	char path[4096];
	struct disruption disruption;
	unsigned *failed; /* shared with the child */
};

#define WROTE_2 1
#define WROTE_3 2

/* Two writes of sector 10, the first of which has to move it. */
static int write_and_die(void *context)
{
	const struct death *d = context;
	const struct volume_options o = {.opener = "who dies"};
	struct error err;
	int outcome = 0;

	if (volume_open(d->path, &o, &volume, &err) < 0)
		return 99;
	disrupt(&d->disruption);
	outcome |= write_sectors_of(10, 1, 2) == 0 ? WROTE_2 : 0;
	outcome |= write_sectors_of(10, 1, 3) == 0 ? WROTE_3 : 0;
	*d->failed = disrupt_end();
	return outcome;
}

static void check_after_death(int outcome)
{
	uint8_t holds;

	if (volume_read(volume, buffer, sector_size, 10ull * sector_size) < 0) {
		assert_int_equal(outcome, 0);
		return;
	}
	holds = buffer[sector_size - 1];
	assert_read(10, 1, holds);
	if (outcome & WROTE_3)
		assert_int_equal(holds, 3);
	else if (outcome & WROTE_2)
		assert_true(holds == 2 || holds == 3);
	else
		assert_true(holds >= 1 && holds <= 3);
}

/*
 * A COMMIT whose last sync failed may be found durable by the next opening. What
 * was acknowledged afterwards must not be lost to it.
 */
static void sweep_deaths(const char *file, unsigned calls)
{
	struct death d = {.disruption = {.file = file, .calls = calls, .error = EIO}};
	unsigned n = 0;

	d.failed = mmap(NULL, sizeof(*d.failed), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(d.failed, MAP_FAILED);
	for (*d.failed = 1; *d.failed && n < 200; n++) {
		int outcome;

		/* Back on main, with a fault that strikes once. */
		assert_written(10, 1, 1);
		add_fault((struct fault){.start = 10, .count = 1, .on = FAULT_ON_WRITE,
					 .error = EIO, .life = FAULT_TIMES, .times = 1});
		close_volume();
		d.disruption.after = n;
		snprintf(d.path, sizeof(d.path), "%s", at("volume"));
		outcome = in_child(write_and_die, &d);
		assert_int_not_equal(outcome, 99);
		open_volume();
		check_after_death(outcome);
		start_anew();
	}
	print_message("%u deaths on %s\n", n, file);
	assert_int_equal(*d.failed, 0);
	munmap(d.failed, sizeof(*d.failed));
}

static void the_log_may_die(void **state)
{
	(void)state;
	sweep_deaths("/volume-wal", DISRUPT_WRITE | DISRUPT_SYNC);
}

static void a_spare_may_die(void **state)
{
	(void)state;
	sweep_deaths("/spare1", DISRUPT_ALL);
}

static void everything_may_die(void **state)
{
	(void)state;
	sweep_deaths("", DISRUPT_WRITE | DISRUPT_SYNC);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_log_may_die),
		TEST(a_spare_may_die),
		TEST(everything_may_die),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
