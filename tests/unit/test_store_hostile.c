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
		s = NULL;
		if ((store_open(at("vol"), STORE_WRITE, &s, &err) == 0 &&
		     store_quick_check(s, at("vol"), &err) != -EUCLEAN) || !strchr(err.text, ';'))
			fail_msg("accepted: %s", rows[i]);
		store_close(s);
		scratch_teardown(NULL);
		scratch_setup(NULL);
	}
}

/* ---- any value in any column ---------------------------------------------------------- */

/* Types, NOT NULL and CHECKs bind statements. Who writes the file writes what he likes. */
static const char relax[] =
	"PRAGMA synchronous = OFF; PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF;"
	"CREATE TEMP TABLE kept AS SELECT name, sql FROM sqlite_schema;" FORGE
	"UPDATE sqlite_schema SET sql = replace(replace(replace(sql, ') STRICT', ')'), 'IS NOT NULL',"
	" 'NOTNULL'), ' NOT NULL', '') WHERE type = 'table'; PRAGMA writable_schema = RESET";
static const char restore[] = FORGE
	"UPDATE sqlite_master SET sql = (SELECT k.sql FROM kept k WHERE k.name = sqlite_master.name)";

static const char one_row_each[] =
	"INSERT INTO bad_slot VALUES (1, 60, 2, NULL, 'x');"
	"INSERT INTO fault VALUES (1, NULL, 9, 2, 'read', 'EIO', 'permanent', NULL, 0, 'x'),"
	" (2, 1, 9, 2, 'both', 'EIO', 'times', 4, 10, 'x');"
	"INSERT INTO scrub VALUES (1, 'done', 0, 400, 0, 0, 0, 0, 0, 0, 'x');"
	"INSERT INTO main_identity VALUES (1, 'a', NULL, 7, 1, NULL);"
	"INSERT INTO main_place VALUES (0, 77)";

static const char *const values[] = {
	"NULL", "-1", "0", "1", "3", "2147483648", "4294967296", "9007199254740992",
	"4611686018427387904", "9223372036854775807", "-9223372036854775808", "1.5", "1e300", "9e999",
	"''", "'x'", "'a' || char(0) || 'b'", "'a' || char(10, 27) || 'b'", "zeroblob(3)",
	"hex(zeroblob(100000))",
};

static sqlite3 *open_relaxed(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("vol"), &db), SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	if (sqlite3_exec(db, relax, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	return db;
}

static void close_restored(sqlite3 *db)
{
	if (sqlite3_exec(db, restore, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	sqlite3_close(db);
}

static int see_extent(void *context, const struct extent *e)
{
	assert_true(e->count > 0 && e->start < SECTORS && e->count <= SECTORS - e->start);
	assert_true(e->spare <= 2 && (e->spare == ON_MAIN || e->slot + e->count <= SLOTS));
	return *(int *)context;
}

static int see_bad(void *context, spare_id_t spare, slot_t first, uint64_t count)
{
	assert_true(spare >= 1 && spare <= 2 && count > 0 && first < SLOTS && count <= SLOTS - first);
	return *(int *)context;
}

static int see_placed(void *context, const struct placed *p)
{
	assert_true(p->count > 0 && p->sector + p->count <= SECTOR_MAX && p->slot + p->count <= SLOT_MAX);
	return *(int *)context;
}

static int see_fault(void *context, const struct fault *f)
{
	assert_true(f->id > 0 && f->count > 0 && f->start + f->count <= SLOT_MAX &&
		    f->delay_ms <= FAULT_DELAY_MS_MAX && f->spare <= SPARE_ID_MAX);
	assert_true((f->life == FAULT_TIMES) == (f->times > 0));
	return *(int *)context;
}

static int see_row(void *context, const char *const *row)
{
	/* The first is a number, and what is in all tables but the history has one more. */
	assert_non_null(row[0]);
	assert_non_null(row[1] ? row[1] : row[2]);
	return *(int *)context;
}

static void assert_told(int rc, const struct error *err)
{
	assert_true(rc == 0 || rc == -EUCLEAN);
	if (rc < 0 && (!strchr(err->text, ';') || strchr(err->text, '\n')))
		fail_msg("no cause and remedy in one line: %s", err->text);
}

static void assert_volume(struct store *s)
{
	const struct store_volume *v = store_volume(s);
	size_t count;
	const struct store_spare *spares = store_spares(s, &count);

	assert_true(v->main_sectors >= 1 && v->main_sectors <= SECTOR_MAX);
	assert_true((v->sector_size == 512 || v->sector_size == 4096) && v->main_path[0] == '/');
	for (size_t i = 0; i < count; i++) {
		assert_true(spares[i].id > (i ? spares[i - 1].id : 0) && spares[i].path[0] == '/');
		assert_true(spares[i].slots >= 1 && spares[i].length <= INT64_MAX - spares[i].offset);
		assert_true(spares[i].slots <= spares[i].length / v->sector_size);
	}
}

/* What is read is what its header allows, or nothing is. Returns whether something was refused. */
static bool look_at_all(void)
{
	struct store_filter all = {0}, last = {.limit = 1};
	struct error err = {""};
	struct store_totals totals;
	struct store_scrub scrub;
	uint64_t used, bad;
	int go_on = 0, rc;
	struct store *s;
	char when[32];

	rc = store_open(at("vol"), STORE_READ, &s, &err);
	assert_told(rc, &err);
	if (rc < 0)
		return true;
	assert_volume(s);
	for (int t = STORE_REMAPS; t <= STORE_FAULTS; t++) {
		int told = store_query(s, (enum store_table)t, t % 2 ? &all : &last, see_row, &go_on, &err);

		assert_told(told, &err);
		rc |= told;
	}
	/* The sum of the map is not what is tried here. */
	store_each_extent(s, see_extent, &go_on);
	rc |= store_each_bad_slots(s, see_bad, &go_on);
	rc |= store_each_placed(s, 1, see_placed, &go_on);
	rc |= store_each_fault(s, see_fault, &go_on);
	rc |= store_read_scrub(s, &scrub);
	rc |= store_last_close(s, when);
	rc |= store_totals(s, &totals);
	rc |= store_spare_usage(s, 1, &used, &bad);
	assert_true(rc == 0 || rc == -EUCLEAN);
	store_close(s);
	return rc < 0;
}

static const char *const of_rows[] = {"volume", "spare", "remap", "pending", "bad_slot", "fault",
				      "history", "scrub", "main_identity", "main_place"};

/* The name of a column; "": there are no more. */
static void column_name(sqlite3 *db, const char *table, int column, char *to, size_t size)
{
	sqlite3_stmt *row;

	assert_int_equal(sqlite3_prepare_v2(db, "SELECT name FROM pragma_table_info(?) WHERE cid = ?",
					    -1, &row, NULL), SQLITE_OK);
	sqlite3_bind_text(row, 1, table, -1, SQLITE_STATIC);
	sqlite3_bind_int(row, 2, column);
	to[0] = 0;
	if (sqlite3_step(row) == SQLITE_ROW)
		snprintf(to, size, "%s", (const char *)sqlite3_column_text(row, 0));
	sqlite3_finalize(row);
}

/* False: there is no such column. */
static bool try_value(const uint8_t *valid, size_t size, const char *table, int column,
		      const char *value, unsigned *refused)
{
	char name[64], text[256];
	sqlite3 *db;

	make_file(at("vol"), size);
	put_bytes(at("vol"), 0, valid, size);
	db = open_relaxed();
	column_name(db, table, column, name, sizeof(name));
	snprintf(text, sizeof(text), "UPDATE OR REPLACE %s SET \"%s\" = %s", table, name, value);
	if (name[0])
		sqlite3_exec(db, text, NULL, NULL, NULL);
	close_restored(db);
	*refused += look_at_all();
	return name[0];
}

static void any_value_in_any_column(void **state)
{
	static uint8_t valid[ROOM];
	unsigned refused = 0, tried = 0;
	struct store *s;
	sqlite3 *db;
	size_t size;

	(void)state;
	new_volume();
	s = open_mode(STORE_WRITE);
	assert_int_equal(set_extent(s, (struct extent){5, 4, SECTOR_REMAPPED, 1, 3}), 0);
	assert_int_equal(set_extent(s, (struct extent){50, 2, SECTOR_REMAPPED, 2, 3}), 0);
	assert_int_equal(set_extent(s, (struct extent){20, 2, SECTOR_PENDING, ON_MAIN, 0}), 0);
	assert_int_equal(set_extent(s, (struct extent){30, 2, SECTOR_PENDING, 1, 40}), 0);
	store_close(s);
	db = open_relaxed();
	if (sqlite3_exec(db, one_row_each, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s", sqlite3_errmsg(db));
	close_restored(db);
	assert_false(look_at_all());
	size = read_volume(valid);
	/* A fourth of them here: tests/hostile has the rest. */
	for (size_t t = 0; t < ARRAY_SIZE(of_rows); t++)
		for (size_t v = t % 4; v < ARRAY_SIZE(values); v += 4)
			for (int c = 0; try_value(valid, size, of_rows[t], c, values[v], &refused); c++)
				tried++;
	print_message("%u values, %u refused\n", tried, refused);
	assert_true(tried > 300 && refused > tried / 3);
}

#define PAGE 4096

static uint32_t get_32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static void put_32(uint8_t *at, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* The number of a child of an interior page of a table. */
static uint8_t *child_of(uint8_t *page, int i)
{
	int cells = page[3] << 8 | page[4];
	const uint8_t *pointer = page + 12 + i * 2;

	return i >= cells ? page + 8 : page + (pointer[0] << 8 | pointer[1]);
}

/* Levels of pages, all of whose children are the page of the next level; the last is a leaf. */
static void lead_in_circles(uint8_t *file, uint32_t root)
{
	enum { LEVELS = 18 };
	uint8_t *top = file + (size_t)(root - 1) * PAGE;
	int cells = top[3] << 8 | top[4];
	uint32_t pages[LEVELS];

	assert_true(top[0] == 5 && cells > LEVELS);
	for (int i = 0; i < LEVELS; i++)
		pages[i] = get_32(child_of(top, i));
	for (int i = -1; i < LEVELS - 1; i++) {
		uint8_t *page = i < 0 ? top : file + (size_t)(pages[i] - 1) * PAGE;

		if (i >= 0)
			memcpy(page, top, PAGE);
		for (int k = 0; k <= cells; k++)
			put_32(child_of(page, k), pages[i + 1]);
	}
}

static void count_line(void *context, const char *line)
{
	*(int *)context += line[0] != 0;
}

/* A hundred kilobytes that hold more rows than anybody can read: see store/budget.c. */
static void pages_in_circles(void **state)
{
	const struct store_filter all = {0}, none = {.since = "9000-01-01"};
	static uint8_t file[ROOM];
	struct error err = {""};
	int go_on = 0, lines = 0, rc;
	struct store *s;
	size_t size;

	(void)state;
	new_volume();
	assert_int_equal(sql("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
			     " INSERT INTO history (at, event, detail) SELECT '2999-01-01T00:00:00.000Z',"
			     " 'x', hex(zeroblob(200)) FROM n"), SQLITE_OK);
	size = read_volume(file);
	lead_in_circles(file, (uint32_t)atoi(sql_text("SELECT rootpage FROM sqlite_schema WHERE name ="
						      " 'history'")));
	put_bytes(at("vol"), 0, file, size);
	s = open_mode(STORE_READ);
	assert_int_equal(store_query(s, STORE_HISTORY, &all, see_row, &go_on, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "order"));
	assert_int_equal(store_query(s, STORE_HISTORY, &none, see_row, &go_on, &err), -EUCLEAN);
	assert_non_null(strstr(err.text, "circles"));
	rc = store_check(s, count_line, &lines);
	assert_true(rc == -EUCLEAN || (rc == 0 && lines > 0));
	store_close(s);
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

/* ---- what is exchanged while it is opened ---------------------------------------------- */

static int (*real_lstat)(const char *, struct stat *);
static void (*exchange)(void); /* done once, after SQLite has looked at dir/vol */

static int lstat_and_exchange(const char *path, struct stat *st)
{
	int rc = real_lstat(path, st);

	if (exchange && strcmp(path, at("dir/vol")) == 0) {
		exchange();
		exchange = NULL;
	}
	return rc;
}

static void exchange_for_a_link(void)
{
	assert_int_equal(rename(at("dir/vol"), at("dir/mine")), 0);
	assert_int_equal(symlink(at("theirs/vol"), at("dir/vol")), 0);
}

static void exchange_for_a_fifo(void)
{
	assert_int_equal(rename(at("dir/vol"), at("dir/mine")), 0);
	assert_int_equal(mkfifo(at("dir/vol"), 0600), 0);
}

static void exchange_the_folder(void)
{
	assert_int_equal(rename(at("dir"), at("mine")), 0);
	assert_int_equal(symlink(at("theirs"), at("dir")), 0);
}

static int open_and_exchange(void (*how)(void))
{
	sqlite3_vfs *vfs;
	struct sqlite3 *db;
	int rc;

	assert_non_null(store_vfs());
	vfs = sqlite3_vfs_find("unix");
	real_lstat = (int (*)(const char *, struct stat *))vfs->xGetSystemCall(vfs, "lstat");
	vfs->xSetSystemCall(vfs, "lstat", (sqlite3_syscall_ptr)lstat_and_exchange);
	exchange = how;
	alarm(20); /* a FIFO that is waited for */
	rc = sqlite3_open_v2(at("dir/vol"), &db, SQLITE_OPEN_READWRITE, store_vfs());
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(db, "SELECT * FROM volume", NULL, NULL, NULL);
	sqlite3_close(db);
	alarm(0);
	vfs->xSetSystemCall(vfs, "lstat", NULL);
	assert_null(exchange);
	return rc;
}

static void new_volume_in(const char *folder)
{
	char name[32];

	snprintf(name, sizeof(name), "%s/vol", folder);
	assert_int_equal(mkdir(at(folder), 0700), 0);
	new_volume();
	assert_int_equal(rename(at("vol"), at(name)), 0);
}

/* By whoever may write the folder: for what only the caller may open. */
static void a_database_that_is_exchanged(void **state)
{
	(void)state;
	new_volume_in("theirs");
	new_volume_in("dir");
	assert_int_not_equal(open_and_exchange(exchange_for_a_link), SQLITE_OK);
	assert_int_equal(rename(at("dir/mine"), at("dir/vol")), 0);
	assert_int_not_equal(open_and_exchange(exchange_for_a_fifo), SQLITE_OK);
	assert_int_equal(rename(at("dir/mine"), at("dir/vol")), 0);
	assert_int_not_equal(open_and_exchange(exchange_the_folder), SQLITE_OK);
}

/* The path may lead to the log of another volume by then. */
static void a_log_that_was_not_opened_is_not_deleted(void **state)
{
	struct store *s;
	struct error err;

	(void)state;
	new_volume();
	assert_int_equal(store_open(at("vol"), STORE_WRITE, &s, &err), 0);
	assert_int_equal(rename(at("vol-wal"), at("mine")), 0);
	make_file(at("vol-wal"), 0);
	store_close(s);
	assert_int_equal(access(at("vol-wal"), F_OK), 0);
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
		TEST(any_value_in_any_column),
		TEST(pages_in_circles),
		TEST(longer_than_any_row),
		TEST(a_journal_deletes_nothing),
		TEST(logs_that_are_none),
		TEST(a_database_that_is_exchanged),
		TEST(a_log_that_was_not_opened_is_not_deleted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
