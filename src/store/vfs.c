/*
 * SQLite's VFS of Unix with two locks on its doors. The VFS "remapfs" refuses what
 * is neither a database nor a log, by what SQLite wants the file for. A system call
 * of the VFS below it, open(2), is ours: it judges logs and their indexes when they
 * are open, so that nobody can exchange them after they were looked at, and it is
 * the only place that the index passes by.
 */
#include "store/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

#define SUFFIX 4 /* bytes of "-wal" and "-shm" */

static sqlite3_vfs guard;
static sqlite3_vfs *below;
static const char *name; /* NULL: the guard is not there */

static bool has_suffix(const char *path, const char *suffix)
{
	size_t length = strlen(path);

	return length > SUFFIX && strcmp(path + length - SUFFIX, suffix) == 0;
}

static bool is_beside(const char *path)
{
	return has_suffix(path, "-wal") || has_suffix(path, "-shm");
}

/* Whether a log or an index with these attributes may belong to a database of that owner. */
static const char *find_fault(const struct stat *st, uid_t owner)
{
	if (!S_ISREG(st->st_mode))
		return "is not a plain file";
	if (st->st_nlink > 1)
		return "has another name as well";
	if (st->st_uid != owner && st->st_uid != 0 && st->st_uid != geteuid())
		return "belongs to another user than the volume";
	return NULL;
}

/* ---- open(2) -------------------------------------------------------------------- */

static uid_t owner_of_database(const char *beside)
{
	CLEANUP_FREE char *path = strndup(beside, strlen(beside) - SUFFIX);
	struct stat st;

	return path && stat(path, &st) == 0 ? st.st_uid : geteuid();
}

/* A FIFO would be waited for; it is opened without, and refused. */
static int guarded_open(const char *path, int flags, int mode)
{
	bool beside = is_beside(path);
	int fd = open(path, flags | (beside ? O_NOFOLLOW | O_NONBLOCK | O_NOCTTY : 0), mode);
	struct stat st;

	if (fd < 0 || !beside)
		return fd;
	if (fstat(fd, &st) == 0 && !find_fault(&st, owner_of_database(path)))
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

/* ---- the VFS -------------------------------------------------------------------- */

static int guard_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
		      int *ret_flags)
{
	(void)vfs;
	if (path && flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))
		return below->xOpen(below, path, file, flags, ret_flags);
	file->pMethods = NULL;
	return SQLITE_CANTOPEN;
}

static int guard_delete(sqlite3_vfs *vfs, const char *path, int sync)
{
	(void)vfs;
	return is_beside(path) ? below->xDelete(below, path, sync) : SQLITE_IOERR_DELETE;
}

static void install(void)
{
	below = sqlite3_vfs_find(NULL);
	if (!below || below->iVersion < 3 ||
	    below->xSetSystemCall(below, "open", (sqlite3_syscall_ptr)guarded_open) != SQLITE_OK)
		return;
	guard = *below;
	guard.zName = "remapfs";
	guard.xOpen = guard_open;
	guard.xDelete = guard_delete;
	if (sqlite3_vfs_register(&guard, 0) == SQLITE_OK)
		name = guard.zName;
}

const char *store_vfs(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	return name;
}

/* ---- before ---------------------------------------------------------------------- */

static int check_one(const char *database, const char *suffix, uid_t owner, struct error *err)
{
	CLEANUP_FREE char *path = NULL;
	struct stat st;
	const char *fault;

	if (asprintf(&path, "%s%s", database, suffix) < 0) {
		path = NULL;
		return error_set(err, ENOMEM, "out of memory; end other programs");
	}
	if (lstat(path, &st) < 0)
		return 0;
	fault = is_beside(path) ? find_fault(&st, owner)
				: "is a rollback journal, which no volume has";
	return fault ? error_set(err, EUCLEAN, "'%s' %s: SQLite would change the volume by it; move "
				 "it away, and find out who put it there", path, fault) : 0;
}

int store_check_beside(const char *path, struct error *err)
{
	static const char *const suffixes[] = {"-journal", "-wal", "-shm"};
	CLEANUP_FREE char *database = realpath(path, NULL);
	struct stat st;
	int rc = 0;

	if (!database || stat(database, &st) < 0)
		return error_set(err, errno, "cannot open volume '%s': %s; check the path", path,
				 strerror(errno));
	for (size_t i = 0; rc == 0 && i < sizeof(suffixes) / sizeof(*suffixes); i++)
		rc = check_one(database, suffixes[i], st.st_uid, err);
	return rc;
}
