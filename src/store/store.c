/*
 * Opening and closing the database, its schema version, and transactions.
 */
#include "remapfs/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "remapfs/cleanup.h"
#include "remapfs/file_system.h"
#include "store/row.h"
#include "store/schema.h"
#include "store/vfs.h"


/* Durable at COMMIT: in WAL mode only FULL syncs the log each time. */
static const char setup[] = "PRAGMA journal_mode = WAL;"
			    "PRAGMA synchronous = FULL;"
			    "PRAGMA foreign_keys = ON;"
			    "PRAGMA journal_size_limit = 67108864;";

/*
 * The file may be anybody's. Nothing in it may call a function with side effects;
 * cells are checked against their page; a page that cannot be read is an error of
 * read(2), not a SIGBUS.
 */
static const char caution[] = "PRAGMA trusted_schema = OFF;"
			      "PRAGMA cell_size_check = ON;"
			      "PRAGMA temp_store = MEMORY;"
			      "PRAGMA mmap_size = 0;";

/* More than the schema and the statements of remapfs need, and no more. */
static const struct {
	int what, most;
} limits[] = {
	{SQLITE_LIMIT_LENGTH, 1 << 20}, /* of a row, and of a text */
	{SQLITE_LIMIT_SQL_LENGTH, 1 << 16},
	{SQLITE_LIMIT_COLUMN, 40},
	{SQLITE_LIMIT_EXPR_DEPTH, 50},
	{SQLITE_LIMIT_COMPOUND_SELECT, 4},
	{SQLITE_LIMIT_VDBE_OP, 10000},
	{SQLITE_LIMIT_FUNCTION_ARG, 8},
	{SQLITE_LIMIT_ATTACHED, 0},
	{SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 64},
	{SQLITE_LIMIT_VARIABLE_NUMBER, 16},
	{SQLITE_LIMIT_TRIGGER_DEPTH, 4},
	{SQLITE_LIMIT_WORKER_THREADS, 0},
};

static int newest_version(void)
{
	int n = 0;

	while (store_schema[n])
		n++;
	return n;
}

/* ---- life ---------------------------------------------------------------------- */

void store_close(struct store *s)
{
	if (!s)
		return;
	for (int i = 0; i < SQL_COUNT; i++)
		sqlite3_finalize(s->statements[i]);
	sqlite3_close(s->db);
	for (size_t i = 0; i < s->spare_count; i++)
		free(s->spares[i].path);
	free(s->spares);
	free(s->volume.main_path);
	free(s->volume.main.places);
	free(s);
}

static int be_careful(struct store *s)
{
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
		sqlite3_limit(s->db, limits[i].what, limits[i].most);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0, NULL);
	return sqlite3_exec(s->db, caution, NULL, NULL, NULL);
}

int store_connect(const char *vfs, const char *path, int flags, struct store **ret,
		  struct error *err)
{
	struct store *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			    vfs) != SQLITE_OK || be_careful(s) != SQLITE_OK) {
		rc = s->db ? store_errno(s) : -ENOMEM;
		rc = error_set(err, -rc, "cannot open '%s': %s; check its permissions and those of "
			       "its folder", path, s->db ? sqlite3_errmsg(s->db) : "out of memory");
		store_close(s);
		return rc;
	}
	sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
	store_watch_budget(s);
	*ret = s;
	return 0;
}

/* The value of a PRAGMA that is a number; -1 where it cannot be had. */
static int pragma(struct store *s, const char *name)
{
	sqlite3_stmt *statement;
	char text[64];
	int value = -1;

	snprintf(text, sizeof(text), "PRAGMA %s", name);
	if (sqlite3_prepare_v2(s->db, text, -1, &statement, NULL) != SQLITE_OK)
		return -1;
	if (sqlite3_step(statement) == SQLITE_ROW)
		value = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return value;
}

/* PRAGMA journal_mode does not fail: it answers with the mode that it left. */
static bool has_log(struct store *s)
{
	sqlite3_stmt *statement;
	char mode[16] = "";

	if (sqlite3_prepare_v2(s->db, "PRAGMA journal_mode", -1, &statement, NULL) != SQLITE_OK)
		return false;
	if (sqlite3_step(statement) == SQLITE_ROW)
		store_text(statement, 0, mode, sizeof(mode));
	sqlite3_finalize(statement);
	return strcmp(mode, "wal") == 0;
}

/* The index of the log is a shared map, which not every file system has. */
static bool is_map_error(struct store *s)
{
	int code = sqlite3_extended_errcode(s->db);

	return code == SQLITE_IOERR_SHMMAP || code == SQLITE_IOERR_SHMOPEN;
}

int store_explain(struct store *s, int rc, const char *path, struct error *err)
{
	char name[FILE_SYSTEM_NAME];

	if (rc == -EBUSY)
		return error_set(err, EBUSY, "volume '%s' is locked by another program; end that "
				 "one's transaction", path);
	if (sqlite3_extended_errcode(s->db) == SQLITE_IOERR_SHMSIZE)
		return error_set(err, ENOSPC, "the disk of volume '%s' has no room for the index of its "
				 "log; make room", path);
	if (is_map_error(s))
		return error_set(err, EOPNOTSUPP, "volume '%s' cannot be used on %s, which has no "
				 "shared memory maps of files; move it to another file system, such "
				 "as ext4, xfs or btrfs", path, file_system_name(path, name));
	if (rc == -EUCLEAN)
		return error_set(err, EUCLEAN, "volume '%s' is damaged (%s); make a new one of its "
				 "spares with 'remapctl rebuild --force'", path, s->damage[0] ? s->damage
				 : sqlite3_errcode(s->db) == SQLITE_OK ? "its rows are missing"
				 : sqlite3_errmsg(s->db));
	return error_set(err, -rc, "cannot use volume '%s': %s; check the file, its folder and "
			 "the disk they are on", path, sqlite3_errmsg(s->db));
}

/* Whose database this is, and of which version: that is returned, if it is ours. */
static int find_version(struct store *s, const char *path, struct error *err)
{
	int application = pragma(s, "application_id"), version, rc;

	if (application == -1 && store_errno(s) != -EUCLEAN)
		return store_explain(s, store_errno(s), path, err);
	if (application != STORE_APPLICATION_ID)
		return error_set(err, EUCLEAN, "'%s' is not a remapfs volume; give the file that "
				 "'remapctl create' made, or if this was it, see 'remapctl rebuild "
				 "--help'", path);
	version = pragma(s, "user_version");
	if (version > newest_version())
		return error_set(err, EUCLEAN, "volume '%s' has version %d, newer than %d; use a "
				 "newer remapfs", path, version, newest_version());
	if (version < 1)
		return error_set(err, EUCLEAN, "volume '%s' is damaged (version %d); make a new one "
				 "of its spares with 'remapctl rebuild --force'", path, version);
	rc = store_check_schema(s, version, path, err);
	return rc < 0 ? rc : version;
}

static int check_version(struct store *s, const char *path, enum store_mode mode,
			 struct error *err)
{
	int version = find_version(s, path, err);

	if (version < 0)
		return version;
	/* Somebody took its log away: it gets it back without a journal on disk (vfs.h). */
	if (mode == STORE_WRITE && !has_log(s))
		sqlite3_exec(s->db, "PRAGMA journal_mode = MEMORY; PRAGMA journal_mode = WAL", NULL,
			     NULL, NULL);
	if (version == newest_version())
		return 0;
	if (mode == STORE_READ)
		return error_set(err, EUCLEAN, "volume '%s' has the older version %d; mount it "
				 "once to bring it up to date", path, version);
	return store_migrate(s, version, err);
}

static int check_file(const char *path, struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set(err, errno, "cannot open volume '%s': %s; %s", path,
				 strerror(errno), errno == ENOENT
				 ? "make one with 'remapctl create', or of its spares if it was "
				   "lost with 'remapctl rebuild'" : "check the path");
	if (!S_ISREG(st.st_mode))
		return error_set(err, EUCLEAN, "'%s' is not a remapfs volume; give the file that "
				 "'remapctl create' made", path);
	return store_check_beside(path, err);
}

int store_open(const char *path, enum store_mode mode, struct store **ret, struct error *err)
{
	int rc = check_file(path, err);

	return rc < 0 ? rc : store_open_on(store_vfs(), path, mode, ret, err);
}

/* ---- a file system that cannot be written ------------------------------------------ */

bool store_on_read_only(const char *path)
{
	struct statvfs fs;

	return statvfs(path, &fs) == 0 && fs.f_flag & ST_RDONLY;
}

/* Whether NAME-ending is there, and holds something. */
static bool has_beside(const char *path, const char *ending)
{
	CLEANUP_FREE char *name = NULL;
	struct stat st;

	if (asprintf(&name, "%s%s", path, ending) < 0)
		name = NULL;
	return name && stat(name, &st) == 0 && st.st_size > 0;
}

/* The path as a URI: nobody can change the file, so SQLite needs no index of a log. */
static char *immutable_uri(const char *path)
{
	char *uri = malloc(strlen(path) * 3 + sizeof("file:?immutable=1")), *to = uri;

	if (!uri)
		return NULL;
	to = stpcpy(to, "file:");
	for (; *path; path++)
		if (strchr("%?#", *path))
			to += sprintf(to, "%%%02X", (unsigned char)*path);
		else
			*to++ = *path;
	strcpy(to, "?immutable=1");
	return uri;
}

/*
 * For reading, also where nothing can be made beside the database. The index of the log,
 * if it is there, is one that SQLite reads the log with.
 */
static int connect_to_read(const char *vfs, const char *path, struct store **ret,
			   struct error *err)
{
	CLEANUP_FREE char *uri = NULL;

	if (!store_on_read_only(path) || has_beside(path, "-shm"))
		return store_connect(vfs, path, SQLITE_OPEN_READWRITE, ret, err);
	if (has_beside(path, "-wal"))
		return error_set(err, EROFS, "volume '%s' is on a read-only file system, and what is "
				 "in its log '%s-wal' cannot be read there; copy both to a folder that "
				 "can be written, and name the copy", path, path);
	uri = immutable_uri(path);
	if (!uri)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	return store_connect(vfs, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, ret, err);
}

static int copy_all(struct store *from, struct store *to, const char *path, struct error *err)
{
	sqlite3_backup *copy = sqlite3_backup_init(to->db, "main", from->db, "main");
	int rc = copy ? sqlite3_backup_step(copy, -1) : SQLITE_NOMEM;

	sqlite3_backup_finish(copy);
	if (rc == SQLITE_DONE && sqlite3_exec(to->db, "PRAGMA foreign_keys = ON", NULL, NULL,
					      NULL) == SQLITE_OK)
		return 0;
	/* What could not be read is told by the one that reads. */
	rc = store_errno(rc == SQLITE_NOMEM ? to : from);
	return store_explain(from, rc < 0 ? rc : -EIO, path, err);
}

/* A copy in memory. Its pages are looked at like those of the file. */
static int connect_to_copy(const char *vfs, const char *path, struct store **ret,
			   struct error *err)
{
	struct store *from = NULL, *to = NULL;
	int rc = connect_to_read(vfs, path, &from, err);

	rc = rc < 0 ? rc : store_connect(vfs, ":memory:", SQLITE_OPEN_READWRITE, &to, err);
	rc = rc < 0 ? rc : copy_all(from, to, path, err);
	if (rc == 0)
		to->copied = store_bytes(from);
	store_close(from);
	if (rc < 0)
		store_close(to);
	else
		*ret = to;
	return rc;
}

/*
 * A reader connects for writing too, where it may: SQLite's log is then removed by
 * whoever is the last to close.
 */
static int connect_for(enum store_mode mode, const char *vfs, const char *path, struct store **ret,
		       struct error *err)
{
	if (mode == STORE_MEMORY)
		return connect_to_copy(vfs, path, ret, err);
	if (mode == STORE_READ && vfs == store_vfs())
		return connect_to_read(vfs, path, ret, err);
	return store_connect(vfs, path, SQLITE_OPEN_READWRITE, ret, err);
}

/* Whether a log is there that holds something. */
static bool log_exists(const char *vfs, const char *path)
{
	sqlite3_vfs *v = sqlite3_vfs_find(vfs);
	CLEANUP_FREE char *log = NULL;
	int exists = 1;

	if (asprintf(&log, "%s-wal", path) < 0)
		log = NULL;
	if (v && log)
		v->xAccess(v, log, SQLITE_ACCESS_EXISTS, &exists);
	return exists;
}

int store_open_on(const char *vfs, const char *path, enum store_mode mode, struct store **ret,
		  struct error *err)
{
	bool log = log_exists(vfs, path);
	struct store *s;
	int rc = connect_for(mode, vfs, path, &s, err);

	if (rc < 0)
		return rc;
	/* Who only reads does not look into it. */
	if (!log || mode != STORE_WRITE)
		s->log = log ? LOG_HERE : LOG_LOST;
	if (mode == STORE_READ)
		sqlite3_exec(s->db, "PRAGMA query_only = ON", NULL, NULL, NULL);
	rc = check_version(s, path, mode, err);
	if (rc == 0 && mode == STORE_WRITE && sqlite3_db_readonly(s->db, "main") == 1)
		rc = error_set(err, EROFS, "volume '%s' is read-only; make it and its folder "
			       "writable, or copy it and its spares to a disk that can be written",
			       path);
	if (rc == 0 && mode == STORE_WRITE &&
	    sqlite3_exec(s->db, setup, NULL, NULL, NULL) != SQLITE_OK)
		rc = store_explain(s, store_errno(s), path, err);
	if (rc == 0 && mode == STORE_WRITE && !has_log(s))
		rc = error_set(err, EIO, "volume '%s' cannot have a write-ahead log here; put it on "
			       "a local file system", path);
	if (rc == 0 && (rc = store_read_volume(s)) < 0)
		store_explain(s, rc, path, err);
	if (rc < 0) {
		store_close(s);
		return rc;
	}
	if (mode == STORE_WRITE && vfs == store_vfs())
		store_note_place(s);
	*ret = s;
	return 0;
}

int store_migrate(struct store *s, int version, struct error *err)
{
	char text[64];
	int rc = store_begin(s);

	for (int v = version; rc == 0 && store_schema[v]; v++) {
		if (sqlite3_exec(s->db, store_schema[v], NULL, NULL, NULL) != SQLITE_OK)
			rc = store_errno(s);
	}
	snprintf(text, sizeof(text), "PRAGMA user_version = %d", newest_version());
	if (rc == 0 && sqlite3_exec(s->db, text, NULL, NULL, NULL) != SQLITE_OK)
		rc = store_errno(s);
	rc = rc < 0 ? rc : store_commit(s);
	if (rc == 0)
		return 0;
	error_set(err, -rc, "cannot bring the database to version %d: %s; check the disk it is on",
		  newest_version(), sqlite3_errmsg(s->db));
	store_rollback(s);
	return rc;
}

/* ---- what a volume is -------------------------------------------------------------- */

static const char *const states[] = {
	[SPARE_ACTIVE] = "active",
	[SPARE_RETIRING] = "retiring",
	[SPARE_RETIRED] = "retired",
	[SPARE_LOST] = "lost",
};

const char *spare_state_name(enum spare_state state)
{
	return states[state];
}

int store_add_spare(struct store *s, const struct store_spare *spare)
{
	return store_run(s, store_bind(s, SQL_SPARE_INSERT, "ittiiiiii", (int64_t)spare->id,
				       spare->uuid, spare->path, (int64_t)spare->offset,
				       (int64_t)spare->length, (int64_t)spare->slots,
				       (int64_t)spare->stamp, (int64_t)spare->stamped,
				       (int64_t)spare->confirmed));
}

int store_set_spare_state(struct store *s, spare_id_t id, enum spare_state state)
{
	int rc = store_run(s, store_bind(s, SQL_SPARE_STATE, "it", (int64_t)id, states[state]));

	return rc == 0 && sqlite3_changes(s->db) == 0 ? -EEXIST : rc;
}

int store_set_path(struct store *s, spare_id_t spare, const char *path)
{
	if (spare == ON_MAIN)
		return store_run(s, store_bind(s, SQL_VOLUME_PATH, "t", path));
	return store_run(s, store_bind(s, SQL_SPARE_PATH, "it", (int64_t)spare, path));
}

int store_set_stamp(struct store *s, spare_id_t id, uint64_t stamp, uint64_t next_stamp,
		    unsigned stamped)
{
	return store_run(s, store_bind(s, SQL_SPARE_STAMP, "iiii", (int64_t)id, (int64_t)stamp,
				       (int64_t)next_stamp, (int64_t)stamped));
}

int store_set_confirmed(struct store *s, spare_id_t id, uint64_t confirmed)
{
	return store_run(s, store_bind(s, SQL_SPARE_CONFIRMED, "ii", (int64_t)id,
				       (int64_t)confirmed));
}

/* The spares come in the order of their ids. */
static int read_spare(struct store *s, sqlite3_stmt *at, spare_id_t after,
		      struct store_spare *spare)
{
	struct row_reader r = row_begin(s, at, "spare");

	*spare = (struct store_spare){
		.id = (spare_id_t)row_integer(&r, 0, after + 1, SPARE_ID_MAX),
		.path = row_path(&r, 2),
		.offset = (uint64_t)row_integer(&r, 3, 0, INT64_MAX),
		.length = (uint64_t)row_integer(&r, 4, 1, INT64_MAX),
		.slots = (slot_t)row_integer(&r, 5, 1, SLOT_MAX),
		.state = (enum spare_state)row_name(&r, 6, states, SPARE_ACTIVE, SPARE_LOST),
		.stamp = row_bits(&r, 7),
		.next_stamp = row_bits(&r, 8),
		.stamped = (unsigned)row_integer(&r, 9, 0, 2),
		.confirmed = (uint64_t)row_integer(&r, 10, 0, INT64_MAX),
	};
	row_uuid(&r, 1, spare->uuid);
	if (spare->length > INT64_MAX - spare->offset ||
	    spare->slots > spare->length / s->volume.sector_size)
		row_refuse(&r, "has more than fits into it");
	return row_end(&r);
}

static int read_spares(struct store *s)
{
	sqlite3_stmt *row = store_bind(s, SQL_SPARE_READ, "i", (int64_t)ON_MAIN);
	spare_id_t last = ON_MAIN;
	int rc;

	while ((rc = store_step(s, row)) > 0) {
		struct store_spare *spare = realloc(s->spares, (s->spare_count + 1) * sizeof(*spare));

		if (!spare)
			return -ENOMEM;
		s->spares = spare;
		spare += s->spare_count++;
		rc = read_spare(s, row, last, spare);
		if (rc < 0)
			return rc;
		if (!spare->path)
			return -ENOMEM;
		last = spare->id;
	}
	return rc;
}

static bool find_joined(struct store *s, spare_id_t id)
{
	sqlite3_stmt *row;

	if (s->joined.id == id)
		return true;
	row = store_bind(s, SQL_SPARE_READ, "i", (int64_t)id - 1);
	if (store_step(s, row) <= 0)
		return false;
	if (read_spare(s, row, id - 1, &s->joined) < 0)
		s->joined.id = ON_MAIN;
	free(s->joined.path);
	s->joined.path = NULL;
	store_done(row);
	return s->joined.id == id;
}

const struct store_spare *store_spare_of(struct store *s, spare_id_t id)
{
	size_t low = 0, high = s->spare_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (s->spares[middle].id == id)
			return &s->spares[middle];
		if (s->spares[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return id != ON_MAIN && find_joined(s, id) ? &s->joined : NULL;
}

static int read_volume_row(struct store *s, sqlite3_stmt *at)
{
	struct row_reader r = row_begin(s, at, "volume");
	struct store_volume *v = &s->volume;

	row_uuid(&r, 0, v->uuid);
	v->main_path = row_path(&r, 1);
	v->main_sectors = (uint64_t)row_integer(&r, 2, 1, (int64_t)SECTOR_MAX);
	v->sector_size = (uint32_t)row_integer(&r, 3, 512, 4096);
	v->opens = (uint64_t)row_integer(&r, 4, 0, INT64_MAX);
	if (v->sector_size != 512 && v->sector_size != 4096)
		row_refuse(&r, "has an impossible value in sector_size");
	return row_end(&r);
}

int store_read_volume(struct store *s)
{
	sqlite3_stmt *row = store_statement(s, SQL_VOLUME_READ);
	int rc = store_step(s, row);

	if (rc <= 0)
		return rc < 0 ? rc : -EUCLEAN;
	rc = read_volume_row(s, row);
	store_done(row);
	if (rc < 0)
		return rc;
	if (!s->volume.main_path)
		return -ENOMEM;
	rc = store_read_identity(s);
	return rc < 0 ? rc : read_spares(s);
}

#define PATHS_OF_ALL                                                                              \
	"SELECT 0, main_path, 0, main_sectors * sector_size FROM volume UNION ALL "               \
	"SELECT id, path, \"offset\", length FROM spare"

/* What every version of the schema has, and what all but the first have. */
static const char all_members[] = PATHS_OF_ALL;
static const char members_in_use[] = PATHS_OF_ALL " WHERE state IN ('active', 'retiring')";

static int each_member(struct store *s, const char *sql,
		       int (*fn)(void *, const struct store_spare *), void *context)
{
	sqlite3_stmt *row;
	int rc, stop = 0;

	store_begin_budget(s);
	if (sqlite3_prepare_v2(s->db, sql, -1, &row, NULL) != SQLITE_OK)
		return store_errno(s);
	while (stop == 0 && (rc = store_step(s, row)) > 0) {
		struct row_reader r = row_begin(s, row, "volume or spare");
		CLEANUP_FREE char *path = row_path(&r, 1);
		const struct store_spare member = {
			.id = (spare_id_t)row_integer(&r, 0, 0, SPARE_ID_MAX),
			.path = path,
			.offset = (uint64_t)row_integer(&r, 2, 0, INT64_MAX),
			.length = (uint64_t)row_integer(&r, 3, 1, INT64_MAX),
		};

		if (member.length > INT64_MAX - member.offset)
			row_refuse(&r, "has more than fits into it");
		stop = row_end(&r);
		stop = stop < 0 ? stop : path ? fn(context, &member) : -ENOMEM;
	}
	sqlite3_finalize(row);
	return stop ? stop : rc;
}

static int each_member_of(const char *path, bool in_use,
			  int (*fn)(void *, const struct store_spare *), void *context,
			  struct error *err)
{
	struct store *s;
	int rc = check_file(path, err);

	rc = rc < 0 ? rc : connect_to_read(store_vfs(), path, &s, err);
	if (rc < 0)
		return rc;
	sqlite3_exec(s->db, "PRAGMA query_only = ON", NULL, NULL, NULL);
	rc = find_version(s, path, err);
	if (rc > 0 && (rc = each_member(s, in_use && rc > 1 ? members_in_use : all_members, fn,
					context)) < 0)
		store_explain(s, rc, path, err);
	store_close(s);
	return rc;
}

int store_each_member(const char *path, int (*fn)(void *, const struct store_spare *),
		      void *context, struct error *err)
{
	return each_member_of(path, true, fn, context, err);
}

struct path_reader {
	int (*fn)(void *context, const char *path);
	void *context;
};

static int read_path(void *context, const struct store_spare *member)
{
	const struct path_reader *r = context;

	return r->fn(r->context, member->path);
}

int store_each_path(const char *path, int (*fn)(void *, const char *), void *context,
		    struct error *err)
{
	struct path_reader r = {fn, context};

	return each_member_of(path, false, read_path, &r, err);
}

const struct store_volume *store_volume(const struct store *s)
{
	return &s->volume;
}

const struct store_spare *store_spares(const struct store *s, size_t *ret_count)
{
	*ret_count = s->spare_count;
	return s->spares;
}

int store_count_open(struct store *s)
{
	sqlite3_stmt *row = store_statement(s, SQL_VOLUME_COUNT_OPEN);
	int rc = store_step(s, row);

	if (rc > 0)
		s->volume.opens = (uint64_t)sqlite3_column_int64(row, 0);
	store_done(row);
	return rc > 0 ? 0 : rc < 0 ? rc : -EUCLEAN;
}

/* ---- transactions -------------------------------------------------------------------- */

int store_freeze(struct store *s)
{
	return store_run(s, store_statement(s, SQL_FREEZE));
}

int store_begin(struct store *s)
{
	s->map_sum = 0;
	if (store_place(s) != STORE_IN_PLACE)
		return -ESTALE;
	return store_run(s, store_statement(s, SQL_BEGIN));
}

int store_commit(struct store *s)
{
	int rc;

	if (s->map_sum) {
		rc = store_run(s, store_bind(s, SQL_MAP_SUM_CHANGE, "i", (int64_t)s->map_sum));
		if (rc < 0)
			return rc;
		s->map_sum = 0;
	}
	rc = store_run(s, store_statement(s, SQL_COMMIT));
	/* Durable in a file that the next opening may not find is not durable. */
	return rc == 0 && store_place(s) != STORE_IN_PLACE ? -ESTALE : rc;
}

const char *store_message(const struct store *s)
{
	return sqlite3_errmsg(s->db);
}

void store_rollback(struct store *s)
{
	if (!sqlite3_get_autocommit(s->db))
		store_run(s, store_statement(s, SQL_ROLLBACK));
}
