/* See spoil.h. */
#include "spoil.h"

#include <sqlite3.h>
#include <xxhash.h>

#include "box.h"

/* What is put into, or changed in, each table: ?1 … are hostile numbers. */
static const char *const changes[] = {
	"INSERT OR REPLACE INTO remap VALUES (?1, ?2, ?3, ?4, ?5, 'EIO', 'x')",
	"INSERT OR REPLACE INTO pending VALUES (?1, ?2, ?3, ?4, NULL, 'x')",
	"INSERT OR REPLACE INTO pending VALUES (?1, ?2, NULL, NULL, 'EIO', 'x')",
	"INSERT OR REPLACE INTO bad_slot VALUES (?3, ?1, ?2, 'x', 'x')",
	"INSERT OR REPLACE INTO fault VALUES (?1, ?3, ?2, ?4, 'both', 'x', 'times', ?5, 0, 'x')",
	"INSERT OR REPLACE INTO fault VALUES (?1, NULL, ?2, ?4, 'x', NULL, 'x', ?5, 0, 'x')",
	"UPDATE OR REPLACE remap SET slot = ?4 WHERE rowid % 4 = ?1 % 4",
	"UPDATE OR REPLACE remap SET sectors = ?2, sequence = ?5 WHERE rowid % 4 = ?1 % 4",
	"UPDATE volume SET opens = ?1",
	"UPDATE volume SET main_sectors = ?1, sector_size = ?2",
	"UPDATE volume SET main_sectors = 32, sector_size = 4096",
	"UPDATE volume SET uuid = hex(?1), main_path = '/spare1'",
	"UPDATE OR REPLACE spare SET id = ?1 WHERE id = ?3",
	"UPDATE spare SET \"offset\" = ?1, length = ?2, slots = ?4 WHERE id = ?3",
	"UPDATE spare SET path = '/spare2' WHERE id = ?3",
	"UPDATE spare SET state = 'retiring' WHERE id = ?3",
	"UPDATE spare SET state = 'lost' WHERE id = ?3",
	"DELETE FROM spare WHERE id = ?3",
	"DELETE FROM remap WHERE rowid % 4 = ?1 % 4",
	"DELETE FROM history WHERE event = 'closed'",
	"INSERT INTO history (at, event, detail) VALUES ('x', 'opened', hex(zeroblob(?3)))",
};

static void change(struct input *in, sqlite3 *db)
{
	sqlite3_stmt *statement;
	uint64_t numbers[5];

	PROMISE(sqlite3_prepare_v2(db, changes[take_8(in) % SIZE(changes)], -1, &statement,
				   NULL) == SQLITE_OK);
	for (int i = 0; i < 5; i++) {
		numbers[i] = i == 2 ? take_8(in) % 8 : take_hostile(in);
		sqlite3_bind_int64(statement, i + 1, (int64_t)numbers[i]);
	}
	sqlite3_step(statement);
	sqlite3_finalize(statement);
}

/* As store/extents.c sums them: it keeps out accidents, not people. */
static void put_sum(sqlite3 *db)
{
	sqlite3_stmt *row;
	uint64_t sum = 0;

	if (sqlite3_prepare_v2(db, "SELECT 1, main_sector, sectors, spare_id, slot, sequence FROM "
			       "remap UNION ALL SELECT 2, sector, sectors, spare_id, slot, 0 FROM "
			       "pending", -1, &row, NULL) != SQLITE_OK)
		return;
	while (sqlite3_step(row) == SQLITE_ROW) {
		uint64_t words[6];

		for (int i = 0; i < 6; i++)
			words[i] = (uint64_t)sqlite3_column_int64(row, i);
		words[3] = (uint32_t)words[3];
		sum ^= XXH3_64bits(words, sizeof(words));
	}
	sqlite3_finalize(row);
	if (sqlite3_prepare_v2(db, "UPDATE volume SET map_sum = ?", -1, &row, NULL) != SQLITE_OK)
		return;
	sqlite3_bind_int64(row, 1, (int64_t)sum);
	sqlite3_step(row);
	sqlite3_finalize(row);
}

/* ---- plain text ---------------------------------------------------------------------- */

/* What is slow is SQLite's own matter here. */
static int enough(void *context)
{
	unsigned *left = context;

	return *left == 0 || --*left == 0;
}

/* Nothing outside the file. */
static int allow(void *context, int what, const char *a, const char *b, const char *c,
		 const char *d)
{
	(void)context, (void)b, (void)c, (void)d;
	if (what == SQLITE_ATTACH || what == SQLITE_DETACH)
		return SQLITE_DENY;
	if (what == SQLITE_PRAGMA && strcmp(a, "writable_schema") != 0)
		return SQLITE_DENY;
	return SQLITE_OK;
}

static void run_text(struct input *in, sqlite3 *db)
{
	char text[1024];
	unsigned left = 20;

	take(in, text, sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 100000);
	sqlite3_set_authorizer(db, allow, NULL);
	sqlite3_progress_handler(db, 1000, enough, &left);
	sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_progress_handler(db, 0, NULL, NULL);
	sqlite3_set_authorizer(db, NULL, NULL);
}

void spoil(struct input *in)
{
	uint8_t how = take_8(in);
	sqlite3 *db;

	PROMISE(sqlite3_open(box_path(), &db) == SQLITE_OK);
	sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	if (how & 1)
		sqlite3_exec(db, "PRAGMA ignore_check_constraints = ON", NULL, NULL, NULL);
	if (how & 2)
		run_text(in, db);
	else
		for (int i = 0; i < 16 && in->left; i++)
			change(in, db);
	if (!(how & 4))
		put_sum(db);
	sqlite3_close(db);
}
