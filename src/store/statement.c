#include "store/statement.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NOW "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"

/* Rows of one table never overlap: only the nearest one before the range can
 * reach into it, so a search may begin there. */
#define OVERLAP(table, key)                                                                \
	" FROM " table " WHERE " key " >= coalesce((SELECT max(" key ") FROM " table       \
	" WHERE " key " <= ?1), 0) AND " key " < ?2 AND " key " + sectors > ?1"            \
	" ORDER BY " key " LIMIT 1"

static const char *const sql[SQL_COUNT] = {
	[SQL_BEGIN] = "BEGIN IMMEDIATE",
	[SQL_FREEZE] = "BEGIN",
	[SQL_COMMIT] = "COMMIT",
	[SQL_ROLLBACK] = "ROLLBACK",
	[SQL_VOLUME_INSERT] = "INSERT INTO volume (id, uuid, created_at, main_path, main_sectors,"
			      " sector_size, opens) VALUES (1, ?, " NOW ", ?, ?, ?, ?)",
	[SQL_VOLUME_READ] = "SELECT uuid, main_path, main_sectors, sector_size, opens FROM volume",
	[SQL_VOLUME_COUNT_OPEN] = "UPDATE volume SET opens = opens + 1 RETURNING opens",
	[SQL_VOLUME_PATH] = "UPDATE volume SET main_path = ?",
	[SQL_IDENTITY_READ] = "SELECT hardware, file, written_at, opens, changed_since FROM main_identity",
	[SQL_IDENTITY_WRITE] = "INSERT OR REPLACE INTO main_identity (id, hardware, file, written_at,"
			       " opens, changed_since) VALUES (1, nullif(?, ''), nullif(?, ''), ?, ?,"
			       " nullif(?, ''))",
	[SQL_PLACES_READ] = "SELECT \"offset\", digest FROM main_place ORDER BY 1 LIMIT ?",
	[SQL_PLACES_DELETE] = "DELETE FROM main_place",
	[SQL_PLACE_INSERT] = "INSERT INTO main_place (\"offset\", digest) VALUES (?, ?)",
	[SQL_MAP_SUM_READ] = "SELECT map_sum FROM volume",
	/* SQLite has no exclusive or. Neither half overflows. */
	[SQL_MAP_SUM_CHANGE] = "UPDATE volume SET map_sum = (map_sum | ?1) - (map_sum & ?1)",
	[SQL_PLACED] = "SELECT main_sector, sectors, slot, sequence FROM remap WHERE spare_id = ?1"
		       " AND slot >= coalesce((SELECT max(slot) FROM remap WHERE spare_id = ?1"
		       " AND slot <= ?2), 0) ORDER BY slot",
	/* The plus keeps SQLite from the index: rows are taken as they lie on disk. */
	[SQL_PLACED_ALL] = "SELECT main_sector, sectors, slot, sequence FROM remap"
			   " WHERE +spare_id = ?",
	[SQL_SPARE_INSERT] = "INSERT INTO spare (id, uuid, added_at, path, \"offset\", length,"
			     " slots, stamp, stamped, confirmed)"
			     " VALUES (?, ?, " NOW ", ?, ?, ?, ?, ?, ?, ?)",
	[SQL_SPARE_READ] = "SELECT id, uuid, path, \"offset\", length, slots, state, stamp,"
			   " next_stamp, stamped, confirmed FROM spare WHERE id > ?1 ORDER BY id",
	[SQL_SPARE_STATE] = "UPDATE spare SET state = ?2 WHERE id = ?1",
	[SQL_SPARE_PATH] = "UPDATE spare SET path = ?2 WHERE id = ?1",
	[SQL_SPARE_STAMP] = "UPDATE spare SET stamp = ?2, next_stamp = ?3, stamped = ?4 WHERE id = ?1",
	[SQL_SPARE_CONFIRMED] = "UPDATE spare SET confirmed = ?2 WHERE id = ?1",
	[SQL_SPARE_USED] = "SELECT main_sector, sectors, slot, sequence FROM remap WHERE spare_id = ?"
			   " ORDER BY slot",
	[SQL_SPARE_BAD] = "SELECT spare_id, slot, slots FROM bad_slot WHERE spare_id = ? ORDER BY slot",
	[SQL_REMAP_INSERT] = "INSERT INTO remap (main_sector, sectors, spare_id, slot, sequence,"
			     " error, at) VALUES (?, ?, ?, ?, ?, ?, coalesce(?, " NOW "))",
	[SQL_REMAP_DELETE] = "DELETE FROM remap WHERE main_sector = ?",
	[SQL_REMAP_OVERLAP] = "SELECT main_sector, sectors, spare_id, slot, sequence, error, at"
		OVERLAP("remap", "main_sector"),
	[SQL_PENDING_INSERT] = "INSERT INTO pending (sector, sectors, spare_id, slot, error, at)"
			       " VALUES (?, ?, ?, ?, ?, coalesce(?, " NOW "))",
	[SQL_PENDING_DELETE] = "DELETE FROM pending WHERE sector = ?",
	[SQL_PENDING_OVERLAP] = "SELECT sector, sectors, spare_id, slot, 0, error, at"
		OVERLAP("pending", "sector"),
	/* Both halves are in the order of their keys: SQLite merges, it does not sort. */
	[SQL_EXTENTS] = "SELECT main_sector, sectors, spare_id, slot, sequence, 1 FROM remap"
			" UNION ALL SELECT sector, sectors, spare_id, slot, 0, 2 FROM pending"
			" ORDER BY 1",
	[SQL_BAD_SLOT_INSERT] = "INSERT INTO bad_slot (spare_id, slot, slots, error, at)"
				" VALUES (?, ?, ?, ?, " NOW ")",
	[SQL_BAD_SLOT_NEXT] = "SELECT spare_id, slot, slots FROM bad_slot WHERE spare_id = ?1 AND"
			      " slot >= coalesce((SELECT max(slot) FROM bad_slot WHERE"
			      " spare_id = ?1 AND slot <= ?2), 0) AND slot + slots > ?2"
			      " ORDER BY slot LIMIT 1",
	[SQL_BAD_SLOTS] = "SELECT spare_id, slot, slots FROM bad_slot ORDER BY spare_id, slot",
	/* Nothing, unless the clock is a minute or more behind the newest row: schema/4.sql. */
	[SQL_HISTORY_CLOCK_BACK] = "INSERT INTO history (at, event, detail) SELECT " NOW ", ?1, 'the"
				   " row before this one has the time ' || at || ', and the clock"
				   " says ' || " NOW " || ': times before this row may be wrong'"
				   " FROM (SELECT at FROM history ORDER BY id DESC LIMIT 1)"
				   " WHERE at >= strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '+60 seconds')",
	/* A clock that was adjusted by less leaves history in order. */
	[SQL_HISTORY_INSERT] = "INSERT INTO history (at, event, main_sector, sectors, spare_id,"
			       " slot, error, detail) VALUES (max(" NOW ", coalesce((SELECT at FROM"
			       " history ORDER BY id DESC LIMIT 1), '')), ?, ?, ?, ?, ?, ?, ?)",
	[SQL_HISTORY_LIFE] = "SELECT event FROM history WHERE event IN ('opened', 'closed')"
			     " ORDER BY id DESC LIMIT 1",
	/* The row that a volume begins with tells when it was made. */
	[SQL_HISTORY_CLOSE] = "SELECT at FROM history WHERE id = coalesce((SELECT max(id) FROM history"
			      " WHERE event IN ('opened', 'closed') AND event = 'closed'),"
			      " (SELECT min(id) FROM history))",
	[SQL_FAULT_INSERT] = "INSERT INTO fault (spare_id, sector, sectors, \"on\", error, life,"
			     " times, delay_ms, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, " NOW ")",
	[SQL_FAULT_READ] = "SELECT id, spare_id, sector, sectors, \"on\", error, life, times,"
			   " delay_ms FROM fault ORDER BY id",
	[SQL_FAULT_DELETE] = "DELETE FROM fault WHERE id = ?",
	[SQL_FAULT_DELETE_ALL] = "DELETE FROM fault",
	[SQL_FAULT_DELETE_IN] = "DELETE FROM fault WHERE spare_id IS ?1 AND sector < ?3 AND"
				" sector + sectors > ?2",
	[SQL_SCRUB_READ] = "SELECT state, rate, sector, lost, weak, moved, cured, unsteady, skipped, at"
			   " FROM scrub",
	[SQL_SCRUB_WRITE] = "INSERT OR REPLACE INTO scrub (id, state, rate, sector, lost, weak,"
			    " moved, cured, unsteady, skipped, at)"
			    " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, " NOW ")",
	[SQL_EVENTS] = "SELECT coalesce(max(id), 0) FROM history",
	[SQL_TIME] = "SELECT strftime('%Y-%m-%dT%H:%M:%fZ', ?)",
	/* ?1: at or after this time or NULL; ?2: limit, -1: none. */
	[SQL_LIST_REMAPS] = "SELECT main_sector, sectors, spare_id, slot, error, at, sequence"
			    " FROM remap WHERE ?1 IS NULL OR at >= ?1 ORDER BY main_sector LIMIT ?2",
	[SQL_LIST_PENDING] = "SELECT sector, sectors, spare_id, slot, error, at FROM pending"
			     " WHERE ?1 IS NULL OR at >= ?1 ORDER BY sector LIMIT ?2",
	/* In the order that they lie in, so that nothing is gathered to be sorted. */
	[SQL_LIST_HISTORY] = "SELECT id, at, event, main_sector, sectors, spare_id, slot, error, detail"
			     " FROM history WHERE (?1 IS NULL OR at >= ?1) AND id > CASE WHEN ?2 < 0"
			     " THEN 0 ELSE coalesce((SELECT id FROM history WHERE ?1 IS NULL OR at >="
			     " ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2), 0) END ORDER BY id",
	[SQL_LIST_FAULTS] = "SELECT id, spare_id, sector, sectors, \"on\", error, life, times,"
			    " delay_ms, at FROM fault WHERE ?1 IS NULL OR at >= ?1"
			    " ORDER BY spare_id, sector, id LIMIT ?2",
};

int store_errno(struct store *s)
{
	switch (sqlite3_errcode(s->db) & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return -EROFS;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_CORRUPT: /* also a page that could not be read */
	case SQLITE_NOTADB:
	case SQLITE_SCHEMA:
	case SQLITE_TOOBIG: /* a row that none of ours is as long as */
	case SQLITE_INTERRUPT: /* budget.c: it would not end */
	case SQLITE_ERROR:
		return -EUCLEAN;
	default:
		return -EIO;
	}
}

sqlite3_stmt *store_statement(struct store *s, enum statement name)
{
	sqlite3_stmt **slot = &s->statements[name];

	store_begin_budget(s);
	if (*slot) {
		sqlite3_reset(*slot);
		sqlite3_clear_bindings(*slot);
		return *slot;
	}
	if (sqlite3_prepare_v3(s->db, sql[name], -1, SQLITE_PREPARE_PERSISTENT, slot, NULL) !=
	    SQLITE_OK)
		return NULL;
	return *slot;
}

sqlite3_stmt *store_bind(struct store *s, enum statement name, const char *types, ...)
{
	sqlite3_stmt *statement = store_statement(s, name);
	va_list args;

	va_start(args, types);
	for (int i = 1; statement && types[i - 1]; i++) {
		if (types[i - 1] == 'i') {
			sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
		} else if (types[i - 1] == 't') {
			const char *text = va_arg(args, const char *);

			if (text)
				sqlite3_bind_text(statement, i, text, -1, SQLITE_STATIC);
		}
	}
	va_end(args);
	return statement;
}

int store_step(struct store *s, sqlite3_stmt *statement)
{
	int rc;

	if (!statement)
		return store_errno(s);
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		return 1;
	rc = rc == SQLITE_DONE ? 0 : store_errno(s);
	sqlite3_reset(statement);
	return rc;
}

void store_done(sqlite3_stmt *statement)
{
	if (statement)
		sqlite3_reset(statement);
}

int store_run(struct store *s, sqlite3_stmt *statement)
{
	int rc = store_step(s, statement);

	store_done(statement);
	return rc > 0 ? 0 : rc;
}

void store_text(sqlite3_stmt *statement, int column, char *to, size_t size)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	snprintf(to, size, "%s", text ? (const char *)text : "");
}
