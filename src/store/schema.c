/*
 * Whether a database is laid out as remapfs lays it out.
 *
 * Triggers, and what tables and indexes compute, are run by whoever writes to
 * the tables: in a file that came from elsewhere, they are somebody else's
 * program. So every object must be the one that the files of schema/ make, to
 * the letter, before anything of the database is used. That is why a file in
 * schema/ is never changed once there are volumes of its version.
 *
 * Two things of others are let be, since nothing of ours looks at them: views,
 * which run only when somebody selects from them, and the statistics of ANALYZE.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "store/schema.h"
#include "store/statement.h"

static const char query[] = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2";

enum column { TYPE, NAME, TABLE, SQL, COLUMNS };

/* The objects of one database, one after the other. */
struct objects {
	struct store *store;
	sqlite3_stmt *row;
	int rc; /* 1: row is one, 0: there are no more, or a negative errno */
};

static void next(struct objects *o)
{
	o->rc = store_step(o->store, o->row);
}

static void begin(struct objects *o, struct store *s)
{
	*o = (struct objects){.store = s};
	store_begin_budget(s);
	sqlite3_prepare_v2(s->db, query, -1, &o->row, NULL);
	next(o);
}

/* As SQLite orders what is text in both. */
static int compare(const struct objects *a, const struct objects *b, int column)
{
	const void *x = sqlite3_column_blob(a->row, column);
	const void *y = sqlite3_column_blob(b->row, column);
	int x_length = sqlite3_column_bytes(a->row, column);
	int y_length = sqlite3_column_bytes(b->row, column);
	int least = x_length < y_length ? x_length : y_length;
	int order = least ? memcmp(x, y, (size_t)least) : 0;

	return order ? order : x_length - y_length;
}

static bool text_is(const struct objects *o, int column, const char *text)
{
	const char *here = (const char *)sqlite3_column_text(o->row, column);

	return here && strcmp(here, text) == 0;
}

static bool begins_with(const struct objects *o, int column, const char *text)
{
	const char *here = (const char *)sqlite3_column_text(o->row, column);

	return here && sqlite3_strnicmp(here, text, (int)strlen(text)) == 0;
}

/*
 * SQLite goes by the text, not by the type: a row that calls itself a view may
 * make a trigger. And a view called pragma_… stands before the function of that
 * name, which SQLite itself asks when a table is altered.
 */
static bool is_harmless(const struct objects *o)
{
	if (text_is(o, TYPE, "view"))
		return begins_with(o, SQL, "CREATE VIEW ") && !begins_with(o, NAME, "pragma_");
	return text_is(o, TYPE, "table") &&
	       (text_is(o, SQL, "CREATE TABLE sqlite_stat1(tbl,idx,stat)") ||
		text_is(o, SQL, "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)"));
}

static int refuse(const struct objects *o, const char *what, const char *remedy, const char *path,
		  struct error *err)
{
	char type[16], name[64];

	store_text(o->row, TYPE, type, sizeof(type));
	store_text(o->row, NAME, name, sizeof(name));
	return error_set(err, EUCLEAN, "volume '%s' %s: the %s '%s'; %s", path, what, type, name,
			 remedy);
}

/* Both are in order: what is in one alone comes earlier there. */
static int compare_all(struct objects *here, struct objects *ours, const char *path,
		       struct error *err)
{
	static const char from_spares[] = "make it anew of its spares with 'remapctl rebuild "
					  "--force'";

	while (here->rc > 0 || ours->rc > 0) {
		int order = ours->rc <= 0 ? -1 : here->rc <= 0 ? 1 : compare(here, ours, TYPE);

		if (here->rc < 0 || ours->rc < 0)
			break;
		if (order == 0)
			order = compare(here, ours, NAME);
		if (order < 0 && !is_harmless(here))
			return refuse(here, "holds what remapfs did not put there",
				      "drop it with sqlite3 if it is yours, otherwise do not trust "
				      "this file", path, err);
		if (order > 0)
			return refuse(ours, "lacks a part", from_spares, path, err);
		if (order == 0 && (compare(here, ours, TABLE) || compare(here, ours, SQL)))
			return refuse(here, "was changed", from_spares, path, err);
		next(here);
		if (order == 0)
			next(ours);
	}
	return here->rc < 0 ? here->rc : ours->rc;
}

/* What the files of schema/ make, up to a version, in memory. */
static int make_ours(int version, struct store **ret, struct error *err)
{
	int rc = store_connect(NULL, ":memory:", SQLITE_OPEN_READWRITE, ret, err);

	for (int v = 0; rc == 0 && v < version; v++)
		if (sqlite3_exec((*ret)->db, store_schema[v], NULL, NULL, NULL) != SQLITE_OK)
			rc = error_set(err, ENOMEM, "out of memory; end other programs");
	return rc;
}

/*
 * The last one that was made. Making it takes longer than all else that opening does, and
 * who opens one volume opens it again. Used under the lock alone.
 */
static struct {
	pthread_mutex_t lock;
	struct store *store;
	int version;
} model = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int find_model(int version, struct error *err)
{
	struct store *made = NULL;
	int rc;

	if (model.store && model.version == version)
		return 0;
	rc = make_ours(version, &made, err);
	if (rc < 0) {
		store_close(made);
		return rc;
	}
	store_close(model.store);
	model.store = made;
	model.version = version;
	return 0;
}

int store_check_schema(struct store *s, int version, const char *path, struct error *err)
{
	HOLD_LOCK(&model.lock);
	struct objects here = {0}, ours = {0};
	int rc = find_model(version, err);

	if (rc == 0) {
		begin(&ours, model.store);
		begin(&here, s);
		rc = compare_all(&here, &ours, path, err);
		if (rc < 0 && here.rc < 0)
			store_explain(s, rc, path, err);
		else if (rc < 0 && ours.rc < 0)
			error_set(err, -rc, "out of memory; end other programs");
	}
	sqlite3_finalize(here.row);
	sqlite3_finalize(ours.row);
	return rc;
}
