/*
 * SQLite's VFS of Unix with two locks on its doors. The VFS "remapfs" refuses what
 * is neither a database nor a log, by what SQLite wants the file for. Two system calls
 * of the VFS below it are ours, since the index of the log passes by nothing else.
 * open(2) judges files when they are open, so that nobody can exchange them after they
 * were looked at, and remembers which ones they are. A log has to fit the database that
 * was opened, whatever its name leads to by then; unlink(2) removes no other file.
 */
#include "store/vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

#define SUFFIX 4 /* bytes of "-wal" and "-shm" */

static sqlite3_vfs guard;
static sqlite3_vfs *below;
static const char name[] = "remapfs";

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

/* ---- what was opened ----------------------------------------------------------- */

static struct opened {
	struct opened *next;
	dev_t dev;
	ino_t ino;
	uid_t owner;
	char path[];
} *all; /* the last one of each path; a process has few */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;

static struct opened *find_opened(const char *path)
{
	struct opened *o = all;

	while (o && strcmp(o->path, path) != 0)
		o = o->next;
	return o;
}

static struct opened *add_opened(const char *path)
{
	struct opened *o = malloc(sizeof(*o) + strlen(path) + 1);

	if (!o)
		return NULL;
	strcpy(o->path, path);
	o->next = all;
	return all = o;
}

static bool remember(const char *path, const struct stat *st)
{
	HOLD_LOCK(&all_lock);
	struct opened *o = find_opened(path);

	o = o ? o : add_opened(path);
	if (!o)
		return false;
	o->dev = st->st_dev;
	o->ino = st->st_ino;
	o->owner = st->st_uid;
	return true;
}

static bool is_remembered(const char *path, const struct stat *st)
{
	HOLD_LOCK(&all_lock);
	const struct opened *o = find_opened(path);

	return o && o->dev == st->st_dev && o->ino == st->st_ino;
}

/* -1: it was not opened by the guard. */
static int64_t owner_of_opened(const char *path)
{
	HOLD_LOCK(&all_lock);
	const struct opened *o = find_opened(path);

	return o ? (int64_t)o->owner : -1;
}

/* ---- open(2) and unlink(2) ------------------------------------------------------- */

static _Thread_local const char *database_to_open; /* its real path, without links */

static uid_t owner_of_database(const char *beside)
{
	CLEANUP_FREE char *path = strndup(beside, strlen(beside) - SUFFIX);
	int64_t owner = path ? owner_of_opened(path) : -1;
	struct stat st;

	if (owner >= 0)
		return (uid_t)owner;
	return path && stat(path, &st) == 0 ? st.st_uid : geteuid();
}

/* SQLite gives real paths: a link in one was put there since. A FIFO is not waited for. */
static int open_real_path(const char *path, int flags, int mode)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
		.mode = flags & O_CREAT ? (unsigned)mode & 0777 : 0,
		.resolve = RESOLVE_NO_SYMLINKS,
	};
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	/* Linux before 5.6, and containers that do not know of it. */
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		fd = open(path, (int)how.flags, mode);
	return fd;
}

static int guarded_open(const char *path, int flags, int mode)
{
	bool database = database_to_open && strcmp(path, database_to_open) == 0;
	bool guarded = database || is_beside(path);
	int fd = guarded ? open_real_path(path, flags, mode) : open(path, flags, mode);
	struct stat st;

	if (fd < 0 || !guarded)
		return fd;
	if (fstat(fd, &st) == 0 && (database ? S_ISREG(st.st_mode)
					     : !find_fault(&st, owner_of_database(path))) &&
	    remember(path, &st))
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

/* The folder may be another one by now, with the log of another volume. */
static int guarded_unlink(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return -1;
	if (is_beside(path) && !is_remembered(path, &st)) {
		errno = EPERM;
		return -1;
	}
	return unlink(path);
}

/* ---- the VFS -------------------------------------------------------------------- */

static int guard_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags,
		      int *ret_flags)
{
	int rc;

	(void)vfs;
	file->pMethods = NULL;
	if (!path || !(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
		return SQLITE_CANTOPEN;
	database_to_open = flags & SQLITE_OPEN_MAIN_DB ? path : NULL;
	rc = below->xOpen(below, path, file, flags, ret_flags);
	database_to_open = NULL;
	return rc;
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
	    below->xSetSystemCall(below, "open", (sqlite3_syscall_ptr)guarded_open) != SQLITE_OK ||
	    below->xSetSystemCall(below, "unlink", (sqlite3_syscall_ptr)guarded_unlink) != SQLITE_OK)
		return;
	guard = *below;
	guard.zName = name;
	guard.xOpen = guard_open;
	guard.xDelete = guard_delete;
	sqlite3_vfs_register(&guard, 0);
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
