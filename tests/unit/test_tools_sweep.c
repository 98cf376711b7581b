/*
 * What is done to a volume that no daemon serves, or when one begins: making it,
 * opening it after a crash, checking and repairing it, making its database anew,
 * making and adding a spare. In each the Nth system call fails, or the Nth
 * allocation, for every N until none fails: the operation succeeds or says in one
 * line why not, loses nothing, leaves nothing behind, and works the next time.
 */
#include "volume_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disrupt.h"
#include "remapfs/check.h"
#include "remapfs/rebuild.h"
#include "remapfs/spare.h"
#include "spare/format.h"
#include "starve.h"

struct operation {
	const char *name;
	/* With nothing that fails: what it begins with, and what holds after it returned rc. */
	void (*prepare)(void);
	int (*run)(struct error *);
	void (*check)(int rc);
};

static struct error warning;

/* ---- files ----------------------------------------------------------------------- */

/* Main is not changed by any of this. */
static const char *const parts[] = {"volume", "spare1"};
static struct kept {
	void *data;
	size_t size;
} kept[ARRAY_SIZE(parts)];

static void keep_files(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		struct stat st;

		assert_int_equal(stat(at(parts[i]), &st), 0);
		kept[i] = (struct kept){malloc((size_t)st.st_size), (size_t)st.st_size};
		get_bytes(at(parts[i]), 0, kept[i].data, kept[i].size);
	}
}

static void forget_files(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		free(kept[i].data);
}

static void lose_database(void)
{
	unlink(at("volume"));
	unlink(at("volume-wal"));
	unlink(at("volume-shm"));
}

static void restore_files(void)
{
	lose_database();
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		make_file(at(parts[i]), kept[i].size);
		put_bytes(at(parts[i]), 0, kept[i].data, kept[i].size);
	}
	unlink(at("added"));
}

/* Without what SQLite keeps beside a database. */
static unsigned count_files(void)
{
	char folder[4096];
	DIR *d;
	unsigned n = 0;

	snprintf(folder, sizeof(folder), "%s", at("."));
	d = opendir(folder);
	assert_non_null(d);
	for (struct dirent *e = readdir(d); e; e = readdir(d))
		n += e->d_name[0] != '.' && !strstr(e->d_name, "-shm") && !strstr(e->d_name, "-wal");
	closedir(d);
	return n;
}

/* As after a crash: no "closed" is the last that history says. */
static void forget_the_end(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	assert_int_equal(sqlite3_exec(db, "DELETE FROM history WHERE event = 'closed'", NULL, NULL,
				      NULL), SQLITE_OK);
	sqlite3_close(db);
}

/* Ten sectors live on the spare, whose table and first superblock are damaged. */
static void make_damaged_volume(void)
{
	static const uint8_t nothing[2 * DESCRIPTOR_BYTES], garbage[DESCRIPTOR_BYTES] = {1, 2, 3};

	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 5);
	close_volume();
	forget_the_end();
	put_bytes(at("spare1"), SPARE_BLOCK + 3 * DESCRIPTOR_BYTES, nothing, sizeof(nothing));
	put_bytes(at("spare1"), SPARE_BLOCK + 50 * DESCRIPTOR_BYTES, garbage, sizeof(garbage));
	put_bytes(at("spare1"), 0, garbage, sizeof(garbage));
	keep_files();
}

/* The volume opens, nothing was lost, and it takes what is written. */
static void assert_whole(void)
{
	open_volume();
	assert_read(100, 10, 5);
	assert_written(105, 10, 6);
	assert_read(100, 5, 5);
	assert_read(105, 10, 6);
	close_volume();
}

/* ---- the sweep ---------------------------------------------------------------------- */

static void assert_one_line(const struct error *err)
{
	if (!err->text[0] || strchr(err->text, '\n') || !strchr(err->text, ';'))
		fail_msg("the reason is '%s'", err->text);
}

/* Whether something failed. */
static bool once(const struct operation *o, unsigned n, bool memory)
{
	const struct disruption d = {.file = "", .calls = DISRUPT_ALL, .error = EIO, .after = n,
				     .times = 1};
	struct error err = {""};
	bool failed;
	int rc;

	o->prepare();
	if (memory)
		starve(n);
	else
		disrupt(&d);
	rc = o->run(&err);
	failed = memory ? starve_end() : disrupt_end() > 0;
	if (rc < 0)
		assert_one_line(&err);
	if (!failed)
		assert_int_equal(rc, 0);
	o->check(rc);
	return failed;
}

static void sweep(const struct operation *o)
{
	for (int memory = 0; memory < 2; memory++) {
		unsigned n = 0;

		while (once(o, n, memory))
			assert_true(++n < 2000);
		print_message("%s: %u %s failed, one at a time\n", o->name, n,
			      memory ? "allocations" : "calls");
		assert_true(n > 0);
	}
}

/* ---- making a volume ------------------------------------------------------------------- */

static unsigned files_before;

static void prepare_create(void)
{
	unlink(at("new"));
	unlink(at("new.main"));
	unlink(at("new.spare"));
	files_before = count_files();
}

static int run_create(struct error *err)
{
	const struct part_spec spare = {.path = at("new.spare"), .size = spare_bytes_min(512)};
	const struct create_options o = {
		.path = at("new"),
		.main = {.path = at("new.main"), .size = 1 * MiB},
		.spares = &spare,
		.spare_count = 1,
		.sector_size = 512,
	};

	return volume_create(&o, &warning, err);
}

static void check_create(int rc)
{
	struct error err = {""};
	struct volume *v;

	if (rc < 0) {
		assert_int_equal(count_files(), files_before);
		assert_int_equal(run_create(&err), 0);
	}
	assert_int_equal(count_files(), files_before + 3);
	assert_int_equal(volume_open(at("new"), &(struct volume_options){.opener = "a test"}, &v,
				     &err), 0);
	assert_int_equal(volume_close(v), 0);
}

static void a_volume_is_made(void **state)
{
	static const struct operation create = {"create", prepare_create, run_create, check_create};

	(void)state;
	sweep(&create);
}

/* From some call on each one fails, as where a disk has a hole: what is told names the place. */
static void a_spare_with_bad_sectors_is_refused(void **state)
{
	unsigned named[2] = {0};

	(void)state;
	for (unsigned after = 0; after < 8; after++) {
		for (int writing = 0; writing < 2; writing++) {
			const struct disruption d = {.file = "/new.spare", .error = EIO, .after = after,
						     .calls = writing ? DISRUPT_WRITE : DISRUPT_READ};
			struct error err = {""};
			int rc;

			prepare_create();
			disrupt(&d);
			rc = run_create(&err);
			if (disrupt_end() == 0)
				continue;
			assert_true(rc < 0);
			assert_one_line(&err);
			assert_int_equal(count_files(), files_before);
			named[writing] += strstr(err.text, "bad sector at byte 0 ") != NULL;
		}
	}
	assert_true(named[0] > 0 && named[1] > 0);
}

/* ---- opening one ------------------------------------------------------------------------- */

static int run_open(struct error *err)
{
	return volume_open(at("volume"), &(struct volume_options){.opener = "a test"}, &volume, err);
}

static void check_open(int rc)
{
	struct volume *v = volume;

	if (rc == 0) {
		assert_read(100, 10, 5);
		volume = NULL;
		/* A flush that failed while it was opened is not forgotten. */
		volume_close(v);
	}
	volume = NULL;
	assert_whole();
}

static void a_volume_is_opened_after_a_crash(void **state)
{
	static const struct operation o = {"open", restore_files, run_open, check_open};

	(void)state;
	make_damaged_volume();
	sweep(&o);
	forget_files();
}

/* ---- checking one ------------------------------------------------------------------------- */

static void found(void *context, const struct finding *f)
{
	(void)context;
	assert_non_null(finding_name(f->kind));
}

static struct check_result result;

static int run_check(struct error *err)
{
	const struct check_options o = {.path = at("volume"), .repair = true, .found = found};

	return volume_check(&o, &result, err);
}

static void check_check(int rc)
{
	struct error err = {""};

	(void)rc;
	assert_int_equal(run_check(&err), 0);
	assert_int_equal(result.left, 0);
	assert_int_equal(run_check(&err), 0);
	assert_int_equal(result.left + result.repaired, 0);
	assert_whole();
}

static void a_volume_is_repaired(void **state)
{
	static const struct operation o = {"check --repair", restore_files, run_check, check_check};

	(void)state;
	make_damaged_volume();
	sweep(&o);
	forget_files();
}

/* ---- making its database anew --------------------------------------------------------------- */

static void prepare_rebuild(void)
{
	restore_files();
	lose_database();
	files_before = count_files();
}

static int run_rebuild(struct error *err)
{
	const struct part_spec spare = {.path = at("spare1")};
	const struct rebuild_options o = {.path = at("volume"), .main = {.path = at("main")},
					  .spares = &spare, .spare_count = 1};
	struct rebuild_result r;

	return volume_rebuild(&o, &r, err);
}

static void check_rebuild(int rc)
{
	struct error err = {""};

	if (rc < 0) {
		assert_int_equal(count_files(), files_before);
		assert_int_equal(run_rebuild(&err), 0);
	}
	assert_whole();
}

static void a_database_is_made_anew(void **state)
{
	static const struct operation o = {"rebuild", prepare_rebuild, run_rebuild, check_rebuild};

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 5);
	close_volume();
	keep_files();
	sweep(&o);
	forget_files();
}

/* ---- one more spare -------------------------------------------------------------------------- */

static struct store_spare added;

static int run_prepare_spare(struct error *err)
{
	const struct prepare_options o = {
		.path = at("volume"),
		.spare = {.path = at("added"), .size = spare_bytes_min(512)},
	};

	return volume_prepare_spare(&o, &added, &warning, err);
}

static int run_add_spare(struct error *err)
{
	return volume_add_spare(volume, &added, err);
}

static uint64_t spares(void)
{
	return ask_number("SELECT count(*) FROM spare");
}

static void check_prepare_spare(int rc)
{
	struct error err = {""};

	if (rc < 0)
		assert_int_equal(run_prepare_spare(&err), 0);
	open_volume();
	assert_int_equal(run_add_spare(&err), 0);
	free(added.path);
	close_volume();
	assert_int_equal(spares(), 2);
	assert_whole();
}

static void prepare_add_spare(void)
{
	struct error err = {""};

	restore_files();
	assert_int_equal(run_prepare_spare(&err), 0);
	open_volume();
}

static void check_add_spare(int rc)
{
	struct volume *v = volume;

	free(added.path);
	assert_read(100, 10, 5);
	volume = NULL;
	volume_close(v);
	if (rc == 0)
		assert_int_equal(spares(), 2);
	assert_whole();
}

static void a_spare_is_made_and_added(void **state)
{
	static const struct operation make = {"prepare spare", restore_files, run_prepare_spare,
					      check_prepare_spare};
	static const struct operation add = {"add spare", prepare_add_spare, run_add_spare,
					     check_add_spare};

	(void)state;
	bad_sectors(100, 10, FAULT_ON_WRITE);
	assert_written(100, 10, 5);
	close_volume();
	keep_files();
	sweep(&make);
	sweep(&add);
	forget_files();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_volume_is_made),
		TEST(a_spare_with_bad_sectors_is_refused),
		TEST(a_volume_is_opened_after_a_crash),
		TEST(a_volume_is_repaired),
		TEST(a_database_is_made_anew),
		TEST(a_spare_is_made_and_added),
	};

	/* What is synced thousands of times is in memory, where there is such a place. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
