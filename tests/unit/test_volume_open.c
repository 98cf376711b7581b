/* include/remapfs/volume.h: making, opening and refusing. */
#include "volume_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remapfs/spare.h"
#include "store/statement.h"

/* ---- opening -------------------------------------------------------------------- */

static void assert_not_opened(int code)
{
	const struct volume_options o = {.opener = "a test"};
	struct volume *untouched = (struct volume *)buffer, *v = untouched;
	struct error err = {""};
	int rc = volume_open(at("volume"), &o, &v, &err);

	assert_int_equal(rc, -code);
	assert_ptr_equal(v, untouched);
	assert_true(err.text[0] != 0);
	assert_null(strchr(err.text, '\n'));
}

/* As who forges a file: the rules of the schema do not hold him up. */
static void sql(const char *text)
{
	char *message = NULL;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
		fail_msg("%s: %s", text, message);
	sqlite3_close(db);
}

static int open_in_child(void *path)
{
	const struct volume_options o = {.opener = "another"};
	struct error err;
	struct volume *v;
	int rc = volume_open(path, &o, &v, &err);

	return rc == 0 ? volume_close(v) : -rc;
}

static void a_volume_opens_once(void **state)
{
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s", at("volume"));
	assert_not_opened(EBUSY);
	assert_int_equal(in_child(open_in_child, path), EBUSY);
	assert_written(0, 10, 1);
	close_volume();
	assert_int_equal(in_child(open_in_child, path), 0);
	open_volume();
	assert_read(0, 10, 1);
}

static int lock_database(void *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? 1 : flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

/* Also against a daemon whose database was made to name other files. */
static void its_database_is_locked(void **state)
{
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s", at("volume"));
	assert_int_equal(in_child(lock_database, path), EWOULDBLOCK);
	close_volume();
	assert_int_equal(in_child(lock_database, path), 0);
	open_volume();
}

/* Nobody else gets main or a spare either, by whatever volume. */
static void its_parts_are_locked(void **state)
{
	static const char *const parts[] = {"main", "spare1"};
	const struct file_device_options o = {.role = "part"};
	struct device *d;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		assert_int_equal(file_device_open(at(parts[i]), &o, &d, NULL), -EBUSY);
	close_volume();
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		assert_int_equal(file_device_open(at(parts[i]), &o, &d, NULL), 0);
		assert_not_opened(EBUSY);
		device_close(d);
	}
	open_volume();
}

static void parts_that_are_missing(void **state)
{
	static const char *const parts[] = {"main", "spare1", "volume"};

	(void)state;
	close_volume();
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		assert_int_equal(rename(at(parts[i]), at("away")), 0);
		assert_not_opened(ENOENT);
		assert_int_equal(rename(at("away"), at(parts[i])), 0);
	}
	open_volume();
}

static void parts_that_are_not_its_own(void **state)
{
	uint8_t zeros[4096] = {0}, kept[4096];
	uint64_t backup = spare_layout(1 * MiB, 512).backup_offset;

	(void)state;
	close_volume();
	assert_int_equal(truncate(at("main"), MAIN_BYTES - 512), 0);
	assert_not_opened(EBADMSG);
	assert_int_equal(truncate(at("main"), MAIN_BYTES + 512), 0);
	assert_not_opened(EBADMSG);
	assert_int_equal(truncate(at("main"), MAIN_BYTES), 0);
	put_bytes(at("spare1"), 0, zeros, sizeof(zeros));
	open_volume(); /* one of two superblocks is enough, and makes the other one whole */
	close_volume();
	get_bytes(at("spare1"), 0, kept, sizeof(kept));
	put_bytes(at("spare1"), 0, zeros, sizeof(zeros));
	put_bytes(at("spare1"), backup, zeros, sizeof(zeros));
	assert_not_opened(EBADMSG);
	put_bytes(at("spare1"), 0, kept, sizeof(kept));
	open_volume();
	close_volume();
	assert_int_equal(truncate(at("spare1"), 512 * KiB), 0);
	assert_true(in_child(open_in_child, (char *)(uintptr_t)at("volume")) != 0);
}

/* The spare of another volume, though of the same size and number. */
static void a_spare_of_another_volume(void **state)
{
	(void)state;
	close_volume();
	assert_int_equal(rename(at("spare1"), at("own")), 0);
	assert_int_equal(rename(at("volume"), at("volume.own")), 0);
	assert_int_equal(rename(at("main"), at("main.own")), 0);
	{
		const struct part_spec spare = {.path = at("spare1"), .size = 1 * MiB};
		const struct create_options o = {.path = at("volume"),
						 .main = {.path = at("main"), .size = MAIN_BYTES},
						 .spares = &spare,
						 .spare_count = 1,
						 .sector_size = 512};
		struct error warning, err;

		assert_int_equal(volume_create(&o, &warning, &err), 0);
	}
	assert_int_equal(rename(at("volume.own"), at("volume")), 0);
	assert_not_opened(EBADMSG);
	assert_int_equal(rename(at("own"), at("spare1")), 0);
	assert_int_equal(rename(at("main.own"), at("main")), 0);
	open_volume();
}

/* As the engine itself would write it, sum and all, if the schema had no rules. */
static void put_extent(struct extent e)
{
	struct error err = {""};
	struct store *s;

	assert_int_equal(store_open(at("volume"), STORE_WRITE, &s, &err), 0);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(store_set_extent(s, &e, 0, 1), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
}

static void rows_that_contradict(void **state)
{
	static const struct extent wrong[] = {
		{50, 4, SECTOR_REMAPPED, 1, 100},
		{32766, 5, SECTOR_REMAPPED, 1, 300},
		{50, 4, SECTOR_REMAPPED, 1, 1000000},
		{0},
	};

	(void)state;
	close_volume();
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		sql("DELETE FROM remap; DELETE FROM bad_slot; UPDATE volume SET map_sum = 0");
		put_extent((struct extent){10, 4, SECTOR_REMAPPED, 1, 101});
		if (wrong[i].count)
			put_extent(wrong[i]);
		else
			sql("INSERT INTO bad_slot VALUES (1, 101, 1, NULL, 'x')");
		assert_not_opened(EUCLEAN);
	}
}

/* The last life whose sequence numbers are numbers of SQLite, and one more. */
static void more_lives_than_there_are(void **state)
{
	(void)state;
	close_volume();
	/* The spares confirmed none of these: as after a crash. */
	sql("UPDATE volume SET opens = 8388606; DELETE FROM history WHERE event = 'closed'");
	open_volume();
	bad_sectors(10, 1, FAULT_ON_WRITE);
	assert_written(10, 1, 3);
	close_volume();
	assert_true(ask_number("SELECT sequence >> 40 FROM remap") == 8388607);
	assert_not_opened(EUCLEAN);
	sql("UPDATE volume SET opens = 9223372036854775807");
	assert_not_opened(EUCLEAN);
}

/* What an end without warning leaves: open again, and say so. */
static int die_with_it_open(void *path)
{
	const struct volume_options o = {.opener = "who dies"};
	struct error err;

	if (volume_open(path, &o, &volume, &err) < 0)
		return 1;
	return write_sectors_of(10, 20, 7) == 0 ? 0 : 2;
}

static void a_killed_process_loses_nothing(void **state)
{
	char path[4096];

	(void)state;
	bad_sectors(15, 3, FAULT_ON_WRITE);
	close_volume();
	snprintf(path, sizeof(path), "%s", at("volume"));
	assert_int_equal(in_child(die_with_it_open, path), 0);
	open_volume();
	assert_read(10, 20, 7);
	assert_counts(3, 0);
	assert_int_equal(ask_number("SELECT count(*) FROM history WHERE detail LIKE "
				    "'%without warning%'"), 1);
}

static void the_lock_is_waited_for(void **state)
{
	const struct volume_options o = {.lock_wait_ms = 20000};
	struct error err = {""};
	struct volume *v;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		/* The locks were inherited; they end with the last holder. */
		usleep(400000);
		_exit(0);
	}
	close_volume();
	assert_int_equal(volume_open(at("volume"), &o, &v, &err), 0);
	volume = v;
}

/* ---- making --------------------------------------------------------------------- */

static struct part_spec new_spares[2];

static struct create_options new_volume(void)
{
	new_spares[0] = (struct part_spec){.path = at("new.spare"), .size = 1 * MiB};
	new_spares[1] = (struct part_spec){.path = at("new.spare2"), .size = 1 * MiB};
	return (struct create_options){
		.path = at("new"),
		.main = {.path = at("new.main"), .size = 4 * MiB},
		.spares = new_spares,
		.spare_count = 1,
		.sector_size = 512,
	};
}

static void assert_not_made(const struct create_options *o)
{
	struct error warning = {""}, err = {""};

	assert_true(volume_create(o, &warning, &err) < 0);
	assert_true(err.text[0] != 0);
	assert_null(strchr(err.text, '\n'));
	assert_false(path_exists(at("new")));
	assert_false(path_exists(at("new.main")));
	assert_false(path_exists(at("new.spare")));
	assert_false(path_exists(at("new.spare2")));
}

static void wrong_parts(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 14; i++) {
		struct create_options o = new_volume();

		make_file(at("file"), 2 * MiB);
		mkdir(at("dir"), 0700);
		switch (i) {
		case 0: o.sector_size = 1024; break;
		case 1: o.spare_count = 0; break;
		case 2: o.main.path = at("dir"); break;
		case 3: o.main.path = at("missing"), o.main.size = 0; break;
		case 4: o.main.path = at("missing/main"); break;
		case 5: o.main.size = 4 * MiB + 100; break;
		case 6: new_spares[0].size = spare_bytes_min(512) - 512; break;
		case 7: new_spares[0].path = at("dir"); break;
		case 8: new_spares[0].path = at("new.main"); break;
		case 9: new_spares[0] = (struct part_spec){.path = at("missing")}; break;
		case 10:
			new_spares[0] = (struct part_spec){.path = at("file"), .offset = 4 * MiB};
			break;
		case 11:
			new_spares[0] = (struct part_spec){.path = at("file"), .length = MiB + 100};
			break;
		case 12:
			new_spares[1].path = new_spares[0].path;
			o.spare_count = 2;
			break;
		case 13: o.path = at("volume"); break;
		}
		assert_not_made(&o);
	}
	/* Parts of a volume that is open are in use. */
	for (unsigned i = 0; i < 2; i++) {
		struct create_options o = new_volume();

		if (i == 0)
			o.main = (struct part_spec){.path = at("main")};
		else
			new_spares[0] = (struct part_spec){.path = at("spare1")};
		assert_not_made(&o);
	}
	assert_written(0, 10, 1);
}

/* The second spare is wrong: nothing at all is changed, not even the first. */
static void a_refusal_changes_nothing(void **state)
{
	uint8_t before[4096], after[4096];
	struct create_options o = new_volume();
	struct error warning, err;

	(void)state;
	memset(before, 0x5a, sizeof(before));
	make_file(at("first"), 1 * MiB);
	put_bytes(at("first"), 0, before, sizeof(before));
	new_spares[0] = (struct part_spec){.path = at("first")};
	new_spares[1] = (struct part_spec){.path = at("dir/missing")};
	o.spare_count = 2;
	assert_true(volume_create(&o, &warning, &err) < 0);
	get_bytes(at("first"), 0, after, sizeof(after));
	assert_memory_equal(before, after, sizeof(before));
	assert_false(path_exists(at("new.main")));
}

/* A spare that carries a file system is refused unless forced. */
static void a_signature_on_a_spare(void **state)
{
	struct create_options o = new_volume();
	struct error warning = {""}, err = {""};
	uint8_t ext4[2] = {0x53, 0xef};

	(void)state;
	make_file(at("used"), 1 * MiB);
	put_bytes(at("used"), 0, "\xeb\x58\x90mkfs.fat", 11);
	put_bytes(at("used"), 0x438, ext4, sizeof(ext4));
	new_spares[0] = (struct part_spec){.path = at("used")};
	if (volume_create(&o, &warning, &err) == 0)
		fail_msg("a spare with the magic of ext4 was accepted");
	assert_false(path_exists(at("new.main")));
	o.force = true;
	assert_int_equal(volume_create(&o, &warning, &err), 0);
}

/* Counts down; false at 0. */
static bool count_progress(void *context, const char *what, uint64_t done, uint64_t total)
{
	assert_non_null(what);
	assert_true(done <= total);
	return --*(unsigned *)context > 0;
}

static void what_is_made_is_whole(void **state)
{
	struct create_options o = new_volume();
	struct error warning = {""}, err = {""};
	struct stat st;
	unsigned calls = 1000000;

	(void)state;
	o.spare_count = 2;
	o.progress = count_progress;
	o.context = &calls;
	assert_int_equal(volume_create(&o, &warning, &err), 0);
	assert_true(calls < 1000000);
	assert_int_equal(stat(at("new.main"), &st), 0);
	assert_int_equal(st.st_size, 4 * MiB);
	/* Spares are allocated: a full disk must not be found out later. */
	assert_int_equal(stat(at("new.spare2"), &st), 0);
	assert_int_equal(st.st_size, 1 * MiB);
	assert_true((uint64_t)st.st_blocks * 512 >= 1 * MiB);
	close_volume();
	volume = NULL;
	assert_int_equal(volume_open(at("new"), &(struct volume_options){.opener = "a test"},
				     &volume, &err), 0);
	assert_int_equal(volume_size(volume), 4 * MiB);
	assert_read(0, 100, 0);
	assert_written(0, 100, 1);
}

static void making_can_be_given_up(void **state)
{
	struct create_options o = new_volume();
	struct error warning = {""}, err = {""};
	unsigned calls = 1;

	(void)state;
	o.spare_count = 2;
	o.progress = count_progress;
	o.context = &calls;
	assert_int_equal(volume_create(&o, &warning, &err), -EINTR);
	calls = 2;
	assert_not_made(&o);
}

/* Main's content is what the image begins with. */
static void main_may_hold_data(void **state)
{
	struct create_options o = new_volume();
	struct error warning = {""}, err = {""};

	(void)state;
	close_volume();
	make_file(at("data"), 4 * MiB);
	fill_sectors(0, 100, 9);
	put_bytes(at("data"), 0, buffer, 100 * 512);
	o.main = (struct part_spec){.path = at("data")};
	assert_int_equal(volume_create(&o, &warning, &err), 0);
	assert_int_equal(volume_open(at("new"), &(struct volume_options){.opener = "a test"},
				     &volume, &err), 0);
	assert_read(0, 100, 9);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_volume_opens_once),
		TEST(its_database_is_locked),
		TEST(its_parts_are_locked),
		TEST(parts_that_are_missing),
		TEST(parts_that_are_not_its_own),
		TEST(a_spare_of_another_volume),
		TEST(rows_that_contradict),
		TEST(more_lives_than_there_are),
		TEST(a_killed_process_loses_nothing),
		TEST(the_lock_is_waited_for),
		TEST(wrong_parts),
		TEST(a_refusal_changes_nothing),
		TEST(a_signature_on_a_spare),
		TEST(what_is_made_is_whole),
		TEST(making_can_be_given_up),
		TEST(main_may_hold_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
