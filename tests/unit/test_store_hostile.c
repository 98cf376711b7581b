/* A database that came by mail: what is in it must not run when it is opened. */
#include "store_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/schema.h"
#include "store/vfs.h"

#define ROOM (1 << 20)

static size_t read_volume(uint8_t *to)
{
	struct stat st;

	assert_int_equal(stat(at("vol"), &st), 0);
	assert_true(st.st_size > 0 && st.st_size <= ROOM);
	get_bytes(at("vol"), 0, to, (size_t)st.st_size);
	return (size_t)st.st_size;
}

/* The same each time: making one takes longer than all that is done with it. */
static void new_volume(void)
{
	static uint8_t made[ROOM];
	static size_t size;

	if (!size) {
		store_close(open_new());
		size = read_volume(made);
		return;
	}
	make_file(at("vol"), size);
	put_bytes(at("vol"), 0, made, size);
}

static int open_as(enum store_mode mode, struct error *err)
{
	struct store *s;
	int rc = store_open(at("vol"), mode, &s, err);

	if (rc == 0)
		store_close(s);
	return rc;
}

static void assert_refused(const char *name)
{
	static uint8_t before[ROOM], after[ROOM];
	size_t size = read_volume(before);

	for (int mode = STORE_READ; mode <= STORE_WRITE; mode++) {
		struct error err = {""};

		if (open_as((enum store_mode)mode, &err) != -EUCLEAN)
			fail_msg("%s was opened: %s", name, err.text);
		if (!strstr(err.text, name) || !strchr(err.text, ';'))
			fail_msg("no word of %s, or no remedy: %s", name, err.text);
	}
	assert_int_equal(read_volume(after), size);
	assert_memory_equal(before, after, size);
}

static void assert_accepted(void)
{
	for (int mode = STORE_READ; mode <= STORE_WRITE; mode++) {
		struct error err = {""};

		if (open_as((enum store_mode)mode, &err) != 0)
			fail_msg("%s", err.text);
	}
}

struct change {
	const char *name; /* that the refusal names */
	const char *sql;
};

#define FORGE "PRAGMA writable_schema = ON;"

static const struct change foreign[] = {
	{"evil", "CREATE TRIGGER evil AFTER INSERT ON history BEGIN DELETE FROM fault; END"},
	{"evil", "CREATE TRIGGER evil BEFORE UPDATE ON volume BEGIN UPDATE spare SET path = '/'; END"},
	{"evil", "CREATE TABLE evil (x CHECK (length(randomblob(1000000)) > 0))"},
	{"evil", "CREATE TABLE evil (x REFERENCES remap (main_sector) ON DELETE CASCADE)"},
	{"evil", "CREATE TABLE evil (x, y GENERATED ALWAYS AS (zeroblob(1000000000)) STORED)"},
	{"evil", "CREATE INDEX evil ON history (hex(zeroblob(1000)))"},
	{"evil", "CREATE UNIQUE INDEX evil ON history (event)"},
	{"evil", "CREATE VIRTUAL TABLE evil USING fts5 (x)"},
	{"pragma_quick_check", "CREATE VIEW pragma_quick_check AS SELECT 1 AS quick_check"},
	{"PRAGMA_x", "CREATE VIEW PRAGMA_x AS SELECT 1"},
	/* Says that it is a view, and makes a trigger. */
	{"evil", FORGE "INSERT INTO sqlite_schema VALUES ('view', 'evil', 'evil', 0, 'CREATE TRIGGER"
		 " evil AFTER INSERT ON history BEGIN DELETE FROM fault; END')"},
};

static const struct change changed[] = {
	{"remap_valid", "DROP TRIGGER remap_valid"},
	{"history_life", "DROP INDEX history_life"},
	{"bad_sectors", "DROP VIEW bad_sectors"},
	{"spare_usage", "DROP VIEW spare_usage; CREATE VIEW spare_usage AS SELECT 1 AS id, 0 AS used,"
			" 0 AS bad"},
	{"spare_usage", "DROP VIEW spare_usage; CREATE TABLE spare_usage (id, used, bad)"},
	{"history_no_delete", "DROP TRIGGER history_no_delete; CREATE TRIGGER history_no_delete BEFORE"
			      " DELETE ON history BEGIN SELECT 1; END"},
	{"volume", "ALTER TABLE volume ADD COLUMN evil INTEGER"},
	{"pending", FORGE "UPDATE sqlite_schema SET sql = replace(sql, 'sectors > 0', 'sectors < 9')"
		    " WHERE name = 'pending'"},
	{"remap_no_update", FORGE "UPDATE sqlite_schema SET tbl_name = 'pending' WHERE name ="
			    " 'remap_no_update'"},
};

static void refuse_each(const struct change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		new_volume();
		if (sql(changes[i].sql) != SQLITE_OK)
			fail_msg("cannot be made: %s", changes[i].sql);
		assert_refused(changes[i].name);
		scratch_teardown(NULL);
		scratch_setup(NULL);
	}
}

static void what_is_not_ours(void **state)
{
	(void)state;
	refuse_each(foreign, ARRAY_SIZE(foreign));
}

static void what_was_ours(void **state)
{
	(void)state;
	refuse_each(changed, ARRAY_SIZE(changed));
}

/* Nothing of ours ever looks at these. */
static void views_and_statistics_are_let_be(void **state)
{
	(void)state;
	new_volume();
	assert_int_equal(sql("CREATE VIEW mine AS SELECT hex(zeroblob(1000000000)) FROM history"),
			 SQLITE_OK);
	assert_int_equal(sql("CREATE VIEW zz AS SELECT * FROM nothing_there"), SQLITE_OK);
	assert_int_equal(sql("ANALYZE"), SQLITE_OK);
	assert_accepted();
}

/* It is looked at before it is brought up to date. */
static void an_older_version(void **state)
{
	struct error err = {""};

	(void)state;
	assert_int_equal(sql(store_schema[0]), SQLITE_OK);
	assert_int_equal(sql("PRAGMA user_version = 1; INSERT INTO volume VALUES (1, "
			     "'6c1e3a1e-0d6f-4a53-9d2c-2f6f0a8b7c11', 'x', '/main', 8, 512, 0, 0);"
			     "CREATE TABLE evil (x);"
			     "CREATE TRIGGER spare_state_forward AFTER UPDATE ON volume BEGIN"
			     " DELETE FROM fault; END"), SQLITE_OK);
	assert_int_equal(open_as(STORE_WRITE, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "evil"));
	assert_string_equal(sql_text("PRAGMA user_version"), "1");
	assert_int_equal(sql("DROP TABLE evil; DROP TRIGGER spare_state_forward"), SQLITE_OK);
	assert_int_equal(open_as(STORE_WRITE, &err), 0);
	assert_string_not_equal(sql_text("PRAGMA user_version"), "1");
	assert_accepted();
}

/* Values that no statement can put there, in a schema that is ours. */
static void rows_that_the_schema_forbids(void **state)
{
	static const char *const rows[] = {
		"INSERT INTO remap VALUES (-5, 4, 1, 0, 1, NULL, 'x')",
		"INSERT INTO remap VALUES (5, 4, 1, -9, 1, NULL, 'x')",
		"INSERT INTO remap VALUES (5, -4, 1, 0, 1, NULL, 'x')",
		"INSERT INTO bad_slot VALUES (1, -1, 1, NULL, 'x')",
		"INSERT INTO bad_slot VALUES (1, 1, 9223372036854775807, NULL, 'x'),"
		" (1, 2, -9223372036854775807, NULL, 'x')",
		"UPDATE volume SET sector_size = 3",
		"UPDATE volume SET main_sectors = -1",
		"UPDATE spare SET id = 70000 WHERE id = 2",
		"UPDATE spare SET state = 'gone'",
		"INSERT INTO fault VALUES (1, NULL, -1, 1, 'read', 'EIO', 'permanent', NULL, 0, 'x')",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = {""};
		struct store *s;
		sqlite3 *db;

		new_volume();
		assert_int_equal(sqlite3_open(at("vol"), &db), SQLITE_OK);
		sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
		sqlite3_exec(db, "PRAGMA ignore_check_constraints = ON", NULL, NULL, NULL);
		if (sqlite3_exec(db, rows[i], NULL, NULL, NULL) != SQLITE_OK)
			fail_msg("%s: %s", rows[i], sqlite3_errmsg(db));
		sqlite3_close(db);
		s = open_mode(STORE_WRITE);
		if (store_quick_check(s, at("vol"), &err) != -EUCLEAN || !err.text[0])
			fail_msg("accepted: %s", rows[i]);
		store_close(s);
		scratch_teardown(NULL);
		scratch_setup(NULL);
	}
}

static void longer_than_any_row(void **state)
{
	struct error err = {""};

	(void)state;
	new_volume();
	assert_int_equal(sql("UPDATE volume SET main_path = '/' || hex(zeroblob(4000000))"),
			 SQLITE_OK);
	assert_int_equal(open_as(STORE_WRITE, &err), -EUCLEAN);
	assert_true(err.text[0] != 0);
}

/* ---- what lies beside it ------------------------------------------------------------- */

/* A rollback journal without pages that names victim as its super-journal. */
static void plant_journal(const char *victim)
{
	static const uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
	const uint8_t head[] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 10, 0, 0, 2, 0, 0, 0, 0x10, 0};
	size_t length = strlen(victim), at_end = 512 + 4 + length;
	uint8_t journal[1024] = {0};
	uint32_t sum = 0;

	memcpy(journal, magic, 8);
	memcpy(journal + 8, head, sizeof(head));
	for (size_t i = 0; i < length; i++)
		sum += (uint8_t)victim[i];
	/* The page of the locks, in pages of 4096 bytes. */
	memcpy(journal + 512, "\0\4\0\1", 4);
	memcpy(journal + 516, victim, length);
	for (int i = 0; i < 4; i++) {
		journal[at_end + (size_t)i] = (uint8_t)(length >> (24 - 8 * i));
		journal[at_end + 4 + (size_t)i] = (uint8_t)(sum >> (24 - 8 * i));
	}
	memcpy(journal + at_end + 8, magic, 8);
	make_file(at("vol-journal"), at_end + 16);
	put_bytes(at("vol-journal"), 0, journal, at_end + 16);
}

/* SQLite deletes the file that the journal names, while it reads the first page. */
static void a_journal_deletes_nothing(void **state)
{
	struct sqlite3 *db;
	struct error err;

	(void)state;
	new_volume();
	make_file(at("victim"), 5);
	plant_journal(at("victim"));
	assert_refused("vol-journal");
	assert_int_equal(access(at("victim"), F_OK), 0);
	assert_int_equal(store_each_path(at("vol"), NULL, NULL, &err), -EUCLEAN);
	/* It comes when everything was looked at. */
	assert_int_equal(sqlite3_open_v2(at("vol"), &db, SQLITE_OPEN_READWRITE, store_vfs()),
			 SQLITE_OK);
	assert_int_not_equal(sqlite3_exec(db, "SELECT * FROM volume", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(db);
	assert_int_equal(access(at("victim"), F_OK), 0);
	/* The attack works where nothing stops it. */
	assert_int_equal(sqlite3_open(at("vol"), &db), SQLITE_OK);
	sqlite3_exec(db, "SELECT * FROM volume", NULL, NULL, NULL);
	sqlite3_close(db);
	assert_int_equal(access(at("victim"), F_OK), -1);
}

static void put_fifo(const char *name)
{
	assert_int_equal(mkfifo(at(name), 0600), 0);
}

static void put_link(const char *name)
{
	make_file(at("elsewhere"), 0);
	assert_int_equal(symlink(at("elsewhere"), at(name)), 0);
}

static void put_hard_link(const char *name)
{
	make_file(at("elsewhere"), 0);
	assert_int_equal(link(at("elsewhere"), at(name)), 0);
}

static void put_folder(const char *name)
{
	assert_int_equal(mkdir(at(name), 0700), 0);
}

/* Of somebody who is neither root nor the volume's owner. */
static void put_foreign(const char *name)
{
	make_file(at(name), 0);
	assert_int_equal(chown(at(name), 12345, 12345), 0);
}

static void refused_by_sqlite_too(const char *name)
{
	struct sqlite3 *db;
	int rc;

	assert_int_equal(sqlite3_open_v2(at("vol"), &db, SQLITE_OPEN_READWRITE, store_vfs()),
			 SQLITE_OK);
	rc = sqlite3_exec(db, "SELECT * FROM volume", NULL, NULL, NULL);
	sqlite3_close(db);
	if (rc == SQLITE_OK)
		fail_msg("%s was used", name);
}

/* Whatever it is, it is not waited for, not followed, and not removed. */
static void logs_that_are_none(void **state)
{
	static void (*const put[])(const char *) = {put_fifo, put_link, put_hard_link, put_folder,
						    put_foreign};
	static const char *const names[] = {"vol-wal", "vol-shm", "vol-journal"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(put); i++)
		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			struct stat st;

			if (put[i] == put_foreign && geteuid() != 0)
				continue;
			new_volume();
			put[i](names[k]);
			assert_refused(names[k]);
			/* It passes by a journal that is empty. */
			if (k < 2)
				refused_by_sqlite_too(names[k]);
			assert_int_equal(lstat(at(names[k]), &st), 0);
			assert_int_equal(remove(at(names[k])), 0);
			unlink(at("elsewhere"));
			unlink(at("vol-wal"));
			unlink(at("vol-shm"));
			assert_accepted();
		}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_not_ours),
		TEST(what_was_ours),
		TEST(views_and_statistics_are_let_be),
		TEST(an_older_version),
		TEST(rows_that_the_schema_forbids),
		TEST(longer_than_any_row),
		TEST(a_journal_deletes_nothing),
		TEST(logs_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
