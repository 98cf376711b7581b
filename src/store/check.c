/*
 * Whether the database is whole. What the triggers of the schema forbid is asked
 * for here once more: a damaged file, or somebody who dropped them, may hold it.
 */
#include <errno.h>
#include <stdio.h>

#include "store/statement.h"

/* Each counts what must not be there. */
static const struct {
	const char *what, *query;
} rules[] = {
	{"rows that refer to no spare", "SELECT count(*) FROM pragma_foreign_key_check"},
	{"volume rows too many or too few", "SELECT count(*) <> 1 FROM volume"},
	{"remaps outside main", "SELECT count(*) FROM remap WHERE main_sector + sectors >"
				" (SELECT main_sectors FROM volume)"},
	{"remaps outside their spare", "SELECT count(*) FROM remap r JOIN spare s ON s.id ="
				       " r.spare_id WHERE r.slot + r.sectors > s.slots"},
	{"pending sectors outside main", "SELECT count(*) FROM pending WHERE sector + sectors >"
					 " (SELECT main_sectors FROM volume)"},
	{"remaps that overlap", "SELECT count(*) FROM (SELECT main_sector AS here, lag(main_sector"
				" + sectors) OVER (ORDER BY main_sector) AS before FROM remap)"
				" WHERE here < before"},
	{"pending rows that overlap", "SELECT count(*) FROM (SELECT sector AS here, lag(sector +"
				      " sectors) OVER (ORDER BY sector) AS before FROM pending)"
				      " WHERE here < before"},
	{"sectors both remapped and pending", "SELECT count(*) FROM (SELECT here, what, lag(end) OVER w"
					      " AS before, lag(what) OVER w AS other FROM (SELECT"
					      " main_sector AS here, main_sector + sectors AS end, 1 AS"
					      " what FROM remap UNION ALL SELECT sector, sector +"
					      " sectors, 2 FROM pending) WINDOW w AS (ORDER BY here))"
					      " WHERE here < before AND what <> other"},
	{"sectors on a spare that has left", "SELECT count(*) FROM remap r JOIN spare s ON s.id ="
					     " r.spare_id WHERE s.state IN ('retired', 'lost')"},
	{"slots used twice", "SELECT count(*) FROM (SELECT slot AS here, lag(slot + sectors) OVER"
			     " (PARTITION BY spare_id ORDER BY slot) AS before FROM remap)"
			     " WHERE here < before"},
	{"slots both used and bad", "SELECT count(*) FROM (SELECT here, what, lag(end) OVER w AS"
				    " before, lag(what) OVER w AS other FROM (SELECT spare_id, slot AS"
				    " here, slot + sectors AS end, 1 AS what FROM remap UNION ALL SELECT"
				    " spare_id, slot, slot + slots, 2 FROM bad_slot) WINDOW w AS"
				    " (PARTITION BY spare_id ORDER BY here)) WHERE here < before AND"
				    " what <> other"},
};

#define LINE_BYTES 160

struct checking {
	struct store *store;
	void (*found)(void *, const char *);
	void *context;
};

/* Runs one query that is used once; row gets each of its rows. */
static int each_row(struct checking *c, const char *query,
		    void (*row)(struct checking *, sqlite3_stmt *, const char *what),
		    const char *what)
{
	sqlite3_stmt *statement;
	int rc;

	store_begin_budget(c->store);
	if (sqlite3_prepare_v2(c->store->db, query, -1, &statement, NULL) != SQLITE_OK)
		return store_errno(c->store);
	while ((rc = store_step(c->store, statement)) > 0)
		row(c, statement, what);
	sqlite3_finalize(statement);
	return rc;
}

static void integrity_row(struct checking *c, sqlite3_stmt *row, const char *what)
{
	char line[LINE_BYTES];

	(void)what;
	store_text(row, 0, line, sizeof(line));
	if (sqlite3_stricmp(line, "ok") != 0)
		c->found(c->context, line);
}

static void rule_row(struct checking *c, sqlite3_stmt *row, const char *what)
{
	char line[LINE_BYTES];

	if (sqlite3_column_int64(row, 0) == 0)
		return;
	snprintf(line, sizeof(line), "%s: %lld", what, (long long)sqlite3_column_int64(row, 0));
	c->found(c->context, line);
}

static int ignore(void *context, const struct extent *e)
{
	(void)context, (void)e;
	return 0;
}

/* The tables that say what is served. History may be long, and says nothing of that. */
static const char *const quick[] = {
	"PRAGMA quick_check(volume)", "PRAGMA quick_check(spare)", "PRAGMA quick_check(remap)",
	"PRAGMA quick_check(pending)", "PRAGMA quick_check(bad_slot)", "PRAGMA quick_check(fault)",
};

static void first_line(void *context, const char *line)
{
	char *first = context;

	if (!first[0])
		snprintf(first, LINE_BYTES, "%s", line);
}

int store_quick_check(struct store *s, const char *path, struct error *err)
{
	char first[LINE_BYTES] = "";
	struct checking c = {s, first_line, first};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(quick) / sizeof(*quick); i++)
		rc = each_row(&c, quick[i], integrity_row, NULL);
	if (rc < 0)
		return store_explain(s, rc, path, err);
	if (first[0])
		return error_set(err, EUCLEAN, "volume '%s' is damaged (%s); make a new one of its "
				 "spares with 'remapctl rebuild --force'", path, first);
	return 0;
}

int store_check(struct store *s, void (*found)(void *context, const char *line), void *context)
{
	struct checking c = {s, found, context};
	int rc = each_row(&c, "PRAGMA integrity_check(20)", integrity_row, NULL);

	for (size_t i = 0; rc == 0 && i < sizeof(rules) / sizeof(*rules); i++)
		rc = each_row(&c, rules[i].query, rule_row, rules[i].what);
	rc = rc < 0 ? rc : store_each_extent(s, ignore, NULL);
	if (rc == -EUCLEAN) {
		found(context, "rows of the map are not those that remapfs wrote");
		rc = 0;
	}
	return rc;
}
