/*
 * src/volume/age.c: a spare, or a database, that is an older copy of itself is not
 * served, and opening, looking, checking and another path agree on that.
 */
#include "volume_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "remapfs/check.h"
#include "remapfs/rebuild.h"
#include "remapfs/spare.h"
#include "spare/format.h"

static struct error err;
static unsigned counts[16];
static spare_id_t spare_in_question;

static void copy_file(const char *from, const char *to)
{
	char command[9000];

	snprintf(command, sizeof(command), "cp '%s' '%s'", at(from), at(to));
	assert_int_equal(system(command), 0);
}

/* The database as it is, though it is in use. */
static void back_up(const char *to)
{
	sqlite3 *from, *copy;
	sqlite3_backup *backup;

	assert_int_equal(sqlite3_open(at("volume"), &from), SQLITE_OK);
	assert_int_equal(sqlite3_open(at(to), &copy), SQLITE_OK);
	backup = sqlite3_backup_init(copy, "main", from, "main");
	assert_non_null(backup);
	assert_int_equal(sqlite3_backup_step(backup, -1), SQLITE_DONE);
	sqlite3_backup_finish(backup);
	sqlite3_close(copy);
	sqlite3_close(from);
}

/* ---- the judges -------------------------------------------------------------------- */

static int opening(void)
{
	const struct volume_options o = {.opener = "a test"};
	struct volume *v;
	int rc = volume_open(at("volume"), &o, &v, &err);

	if (rc == 0)
		volume_close(v);
	return rc;
}

static int look(void)
{
	struct troubles found = {.count = 0};
	char since[32] = "";
	struct store *s;

	assert_int_equal(store_open(at("volume"), STORE_READ, &s, &err), 0);
	volume_look(s, &found, since);
	store_close(s);
	snprintf(err.text, sizeof(err.text), "%.500s", trouble_text(&found, 0).text);
	return troubles_state(&found) == VOLUME_FAILED ? -EUCLEAN : 0;
}

static int set_path(void)
{
	const struct path_change change = {
		.spare = spare_in_question,
		.path = at(spare_in_question == 2 ? "spare2" : "spare1"),
	};
	struct error warning = {""};

	return volume_set_paths(at("volume"), &change, 1, false, &warning, &err);
}

static void count_finding(void *context, const struct finding *f)
{
	(void)context;
	counts[f->kind]++;
	assert_int_not_equal(f->fate, FINDING_REPAIRED);
}

static int check(bool repair)
{
	const struct check_options o = {.path = at("volume"), .repair = repair,
					.found = count_finding};
	struct check_result result;

	memset(counts, 0, sizeof(counts));
	assert_int_equal(volume_check(&o, &result, &err), 0);
	return result.left ? -EUCLEAN : 0;
}

/* All of them, and nothing is changed by any. */
static void assert_older(enum finding_kind kind)
{
	uint64_t before = ask_number("SELECT count(*) FROM history");

	assert_int_equal(check(false), -EUCLEAN);
	assert_true(counts[kind] > 0);
	assert_int_equal(check(true), -EUCLEAN);
	assert_int_equal(look(), -EUCLEAN);
	assert_non_null(strstr(err.text, "older copy"));
	assert_int_equal(set_path(), -EUCLEAN);
	assert_non_null(strstr(err.text, "older copy"));
	assert_int_equal(opening(), -EUCLEAN);
	assert_non_null(strstr(err.text, "older copy"));
	assert_int_equal(ask_number("SELECT count(*) FROM history"), before);
}

static void assert_right(void)
{
	spare_in_question = 1;
	assert_int_equal(look(), 0);
	assert_int_equal(set_path(), 0);
	assert_int_equal(opening(), 0);
}

/* The copy is refused, and what was there is still served. */
static void put_back_and_try(const char *copy, const char *file)
{
	spare_in_question = strcmp(file, "spare2") == 0 ? 2 : 1;
	copy_file(file, "last");
	copy_file(copy, file);
	assert_older(strcmp(file, "volume") ? FINDING_OLDER : FINDING_NEWER);
	copy_file("last", file);
}

/* ---- lives -------------------------------------------------------------------------- */

static void begin(void)
{
	bad_sectors(100, 800, FAULT_ON_WRITE);
}

/* As a crash of everything leaves it: a killed process writes nothing any more. */
static int live_and_die(void *fn)
{
	const struct volume_options o = {.opener = "who dies"};

	if (volume_open(at("volume"), &o, &volume, &err) < 0)
		return 1;
	((void (*)(void))(uintptr_t)fn)();
	return 0;
}

static void crash_after(void (*fn)(void))
{
	assert_int_equal(in_child(live_and_die, (void *)(uintptr_t)fn), 0);
}

/* ---- copies of a mount that ended in order -------------------------------------------- */

static void a_copy_from_before_an_orderly_end(void **state)
{
	(void)state;
	begin();
	assert_written(100, 1, 1);
	copy_file("spare1", "copy");
	assert_written(300, 1, 2);
	assert_written(100, 1, 3);
	close_volume();
	put_back_and_try("copy", "spare1");
	open_volume();
	assert_read(300, 1, 2);
	assert_read(100, 1, 3);
}

/* Not a byte of the table differs: what was overwritten in place is older. */
static void a_copy_from_before_an_overwrite(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	reopen_volume();
	copy_file("spare1", "copy");
	assert_written(101, 1, 2);
	close_volume();
	put_back_and_try("copy", "spare1");
}

/* Nothing was moved or written: it is refused all the same, since nobody can know that. */
static void a_copy_from_before_an_opening(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	close_volume();
	copy_file("spare1", "copy");
	open_volume();
	close_volume();
	put_back_and_try("copy", "spare1");
}

static void a_copy_of_what_was_made(void **state)
{
	(void)state;
	copy_file("spare1", "copy");
	begin();
	assert_written(100, 4, 1);
	close_volume();
	put_back_and_try("copy", "spare1");
}

/* ---- copies of a mount that crashed ------------------------------------------------------ */

static void move_before_and_after_a_copy(void)
{
	assert_written(100, 1, 1);
	copy_file("spare1", "copy");
	assert_written(300, 1, 2);
	assert_written(100, 1, 3);
}

static void a_copy_that_lacks_what_was_moved(void **state)
{
	(void)state;
	begin();
	close_volume();
	crash_after(move_before_and_after_a_copy);
	put_back_and_try("copy", "spare1");
	open_volume();
	assert_read(300, 1, 2);
	assert_read(100, 1, 3);
}

static void move_a_lot_after_a_copy(void)
{
	assert_written(100, 20, 1);
	copy_file("spare1", "copy");
	for (unsigned i = 0; i < 50; i++)
		assert_written(200 + i, 1, 2);
	/* Where the copy has a free slot and where it has used ones. */
	assert_written(100, 20, 3);
}

static void a_copy_that_lacks_many(void **state)
{
	(void)state;
	begin();
	close_volume();
	crash_after(move_a_lot_after_a_copy);
	put_back_and_try("copy", "spare1");
}

static void move_one(void)
{
	assert_written(400, 1, 1);
}

static void copy_and_move(void)
{
	copy_file("spare1", "copy");
	move_one();
}

/* Of the life before, which crashed as well. */
static void a_copy_from_before_a_crash(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	close_volume();
	crash_after(copy_and_move);
	crash_after(move_one);
	put_back_and_try("copy", "spare1");
}

static void copy_and_overwrite(void)
{
	copy_file("spare1", "copy");
	assert_written(100, 1, 7);
}

static void nothing(void)
{
}

/* That nothing was moved does not matter once it was opened again. */
static void a_copy_from_before_a_successor(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	close_volume();
	crash_after(copy_and_overwrite);
	crash_after(nothing);
	put_back_and_try("copy", "spare1");
}

/* A round of commits of which no row is left: the sector goes back to main. */
static void copy_overwrite_and_unmap(void)
{
	const struct sector_range one = {2000, 1};
	struct volume_progress done;

	copy_file("spare1", "copy");
	assert_written(100, 1, 7);
	assert_written(2000, 1, 8);
	assert_int_equal(volume_unmap(volume, &one, 1, 0, &done, &err), 0);
	assert_counts(4, 0);
}

/* Its table lacks nothing: only how far it had confirmed tells. */
static void a_copy_of_which_no_row_tells(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	close_volume();
	add_fault((struct fault){.spare = ON_MAIN, .start = 2000, .count = 1, .on = FAULT_ON_WRITE,
				 .error = EIO, .life = FAULT_TIMES, .times = 1});
	crash_after(copy_overwrite_and_unmap);
	put_back_and_try("copy", "spare1");
}

/* docs/guarantees.md names this one: it is taken, and must not hold anything else. */
static void a_copy_of_the_last_round(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	close_volume();
	crash_after(copy_and_overwrite);
	copy_file("copy", "spare1");
	open_volume();
	assert_read(100, 4, 1);
}

/* Superblocks of two times: read while they were written. */
static void a_mixed_copy(void **state)
{
	struct spare_layout l = spare_layout(1 * MiB, 512);
	uint8_t block[4096];

	(void)state;
	begin();
	assert_written(100, 4, 1);
	close_volume();
	copy_file("spare1", "copy");
	open_volume();
	assert_written(101, 1, 2);
	close_volume();
	for (unsigned i = 0; i < 2; i++) {
		uint64_t where = i ? 0 : l.backup_offset;

		copy_file("copy", "mixed");
		get_bytes(at("spare1"), where, block, sizeof(block));
		put_bytes(at("mixed"), where, block, sizeof(block));
		put_back_and_try("mixed", "spare1");
	}
}

/* ---- what is lost and not older ------------------------------------------------------------ */

static void wipe_table(uint8_t pattern, size_t length)
{
	uint8_t junk[4096];

	memset(junk, pattern, sizeof(junk));
	put_bytes(at("spare1"), SPARE_BLOCK, junk, length);
}

static void move_some(void)
{
	for (unsigned i = 0; i < 12; i++)
		assert_written(100 + i, 1, 5);
}

static void a_table_lost_after_an_orderly_end(void **state)
{
	(void)state;
	begin();
	move_some();
	close_volume();
	/* Then nothing looks at it but check, which mends it. */
	wipe_table(0, 4096);
	assert_right();
	open_volume();
	assert_read(100, 12, 5);
}

static void a_table_lost_after_a_crash(void **state)
{
	(void)state;
	begin();
	close_volume();
	/* Damaged: none that was never written is. */
	crash_after(move_some);
	wipe_table(0x5a, 4096);
	open_volume();
	assert_read(100, 12, 5);
	close_volume();
	/* Gone without a trace: what an earlier life confirmed was there. */
	crash_after(nothing);
	wipe_table(0, 4096);
	open_volume();
	assert_read(100, 12, 5);
	close_volume();
	assert_int_equal(events("repaired"), 2);
	/* … but what the last rounds wrote may as well never have been: nobody knows. */
	crash_after(move_one);
	copy_file("spare1", "last");
	wipe_table(0, 4096);
	spare_in_question = 1;
	assert_older(FINDING_OLDER);
	copy_file("last", "spare1");
	assert_right();
}

/* ---- several spares ------------------------------------------------------------------------- */

static void fill_the_first(void)
{
	copy_file("spare1", "copy1");
	copy_file("spare2", "copy2");
	assert_written(100, 100, 3);
}

static void each_of_two(void **state)
{
	(void)state;
	begin();
	close_volume();
	crash_after(fill_the_first);
	put_back_and_try("copy1", "spare1");
	put_back_and_try("copy2", "spare2");
	open_volume();
	assert_read(100, 100, 3);
	close_volume();
	put_back_and_try("copy1", "spare1");
	put_back_and_try("copy2", "spare2");
	assert_right();
}

static int rebuild(bool partial)
{
	const struct part_spec spares[] = {{.path = at("spare1")}, {.path = at("spare2")}};
	const struct rebuild_options o = {.path = at("volume"), .main = {.path = at("main")},
					  .spares = spares, .spare_count = 2,
					  .partial = partial};
	struct rebuild_result result;
	int rc;

	unlink(at("volume"));
	rc = volume_rebuild(&o, &result, &err);
	return rc;
}

/* Without the database the spares have only each other. */
static void a_rebuild_compares_them(void **state)
{
	(void)state;
	begin();
	assert_written(100, 100, 1);
	copy_file("spare2", "during");
	close_volume();
	copy_file("spare2", "before");
	open_volume();
	assert_written(100, 100, 2);
	close_volume();
	copy_file("volume", "kept");
	copy_file("spare2", "last");
	copy_file("during", "spare2");
	assert_int_equal(rebuild(false), -EBADMSG);
	assert_non_null(strstr(err.text, "older copy"));
	copy_file("before", "spare2");
	assert_int_equal(rebuild(false), -EBADMSG);
	assert_int_equal(rebuild(true), 0);
	copy_file("last", "spare2");
	assert_int_equal(rebuild(false), 0);
	assert_right();
}

/* ---- the database ---------------------------------------------------------------------------- */

static void a_database_from_before_an_orderly_end(void **state)
{
	(void)state;
	begin();
	assert_written(100, 4, 1);
	/* Nothing on the spare tells of what follows but its stamp. */
	reopen_volume();
	back_up("copy");
	bad_sectors(20, 1, FAULT_ON_READ);
	close_volume();
	put_back_and_try("copy", "volume");
	copy_file("volume", "copy");
	open_volume();
	close_volume();
	put_back_and_try("copy", "volume");
	assert_right();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, volume_setup, volume_teardown)
#define TWO(f) cmocka_unit_test_setup_teardown(f, volume_setup_small_spare, volume_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_copy_from_before_an_orderly_end),
		TEST(a_copy_from_before_an_overwrite),
		TEST(a_copy_from_before_an_opening),
		TEST(a_copy_of_what_was_made),
		TEST(a_copy_that_lacks_what_was_moved),
		TEST(a_copy_that_lacks_many),
		TEST(a_copy_from_before_a_crash),
		TEST(a_copy_from_before_a_successor),
		TEST(a_copy_of_which_no_row_tells),
		TEST(a_copy_of_the_last_round),
		TEST(a_mixed_copy),
		TEST(a_table_lost_after_an_orderly_end),
		TEST(a_table_lost_after_a_crash),
		TWO(each_of_two),
		TWO(a_rebuild_compares_them),
		TEST(a_database_from_before_an_orderly_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
