/*
 * A new database. It is made under another name and moved into place, so that
 * a crash leaves either no volume or a whole one.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/file_system.h"
#include "store/statement.h"
#include "store/vfs.h"

/* What the new database shall hold. */
struct content {
	const struct store_volume *volume;
	const struct store_spare *spares;
	size_t spare_count;
	int (*fill)(void *context, struct store *);
	void *context;
};

static int tell_created(void *context, struct store *s)
{
	const struct content *c = context;
	struct event created = {.kind = EVENT_CREATED};

	snprintf(created.detail, sizeof(created.detail), "%llu sectors of %u bytes, %zu spare%s",
		 (unsigned long long)c->volume->main_sectors, c->volume->sector_size,
		 c->spare_count, c->spare_count == 1 ? "" : "s");
	return store_add_event(s, &created);
}

static int fill(struct store *s, const struct content *c)
{
	const struct store_volume *v = c->volume;
	const struct store_spare *spares = c->spares;
	int rc = store_run(s, store_bind(s, SQL_VOLUME_INSERT, "ttiii", v->uuid, v->main_path,
					 (int64_t)v->main_sectors, (int64_t)v->sector_size,
					 (int64_t)v->opens));

	if (rc == 0 && v->main.known)
		rc = store_set_identity(s, &v->main);
	for (size_t i = 0; rc == 0 && i < c->spare_count; i++)
		rc = store_add_spare(s, &spares[i]);
	return rc < 0 ? rc : c->fill(c->context, s);
}

static int make(const char *vfs, const char *path, const struct content *content, struct error *err)
{
	struct store *s;
	int rc = store_connect(vfs, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &s, err);

	if (rc < 0)
		return rc;
	/* Until it has a log: there is no journal on disk (vfs.h), and nothing to keep. */
	sqlite3_exec(s->db, "PRAGMA journal_mode = MEMORY", NULL, NULL, NULL);
	rc = store_migrate(s, 0, err);
	if (rc == 0) {
		rc = store_begin(s);
		rc = rc < 0 ? rc : fill(s, content);
		rc = rc < 0 ? rc : store_commit(s);
		/* From the start, so that no later opening changes the file for it. */
		if (rc == 0 && sqlite3_exec(s->db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) !=
				       SQLITE_OK)
			rc = store_errno(s);
		if (rc < 0)
			error_set(err, -rc, "cannot write '%s': %s; check the disk it is on", path,
				  sqlite3_errmsg(s->db));
	}
	/* Closing removes the log again: one file to move. */
	store_close(s);
	return rc;
}

/* Makes the directory entry of path durable. */
static int sync_folder(const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	CLEANUP_CLOSE int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	return fd >= 0 && fsync(fd) == 0 ? 0 : -errno;
}

/* A new file beside path, whose name goes to *ret_draft; -errno with err. */
static int make_draft(const char *path, char **ret_draft, struct error *err)
{
	int fd, rc;

	if (asprintf(ret_draft, "%s.XXXXXX", path) < 0) {
		*ret_draft = NULL;
		return error_set(err, ENOMEM, "out of memory; end other programs");
	}
	fd = mkostemp(*ret_draft, O_CLOEXEC);
	if (fd >= 0)
		return fd;
	rc = error_set(err, errno, "cannot make volume '%s': %s; %s", path, strerror(errno),
		       errno == ENAMETOOLONG ? "choose a shorter name"
		       : errno == ENOSPC || errno == EDQUOT ? "free space, or choose another folder"
							    : "choose a folder you may write");
	free(*ret_draft);
	*ret_draft = NULL;
	return rc;
}

/* What a file system says that cannot do something at all. */
static bool is_lack(int code)
{
	return code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EINVAL ||
	       code == ENODEV || code == EMLINK || code == ENOLCK || code == ENOTTY;
}

static bool lacks_links(const char *draft, const char *other)
{
	bool lacks = link(draft, other) < 0 && is_lack(errno);

	unlink(other);
	return lacks;
}

static bool lacks_sockets(const char *other)
{
	bool lacks = mknod(other, S_IFSOCK | 0600, 0) < 0 && is_lack(errno);

	unlink(other);
	return lacks;
}

/* SQLite keeps the index of its log in one. */
static bool lacks_maps(int fd)
{
	void *map = ftruncate(fd, 4096) < 0 ? NULL : mmap(NULL, 4096, PROT_READ | PROT_WRITE,
							    MAP_SHARED, fd, 0);
	bool lacks = map == MAP_FAILED && is_lack(errno);

	if (map && map != MAP_FAILED)
		munmap(map, 4096);
	/* The draft is as it was: empty. */
	return ftruncate(fd, 0) < 0 || lacks;
}

static bool lacks_locks(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_SETLK, &lock) < 0 && is_lack(errno);
}

/* What volume and daemon cannot do without, tried on the draft. NULL: it has all. */
static const char *find_lack(const char *draft, int fd)
{
	CLEANUP_FREE char *other = NULL;

	if (asprintf(&other, "%s.try", draft) < 0)
		return other = NULL;
	return lacks_links(draft, other) ? "hard links" : lacks_sockets(other) ? "sockets"
	       : lacks_maps(fd) ? "shared memory maps of files" : lacks_locks(fd) ? "locks" : NULL;
}

static int check_place(const char *path, const char *draft, int fd, struct error *err)
{
	const char *lack = find_lack(draft, fd);
	char name[FILE_SYSTEM_NAME];

	if (!lack)
		return 0;
	return error_set(err, EOPNOTSUPP, "volume '%s' cannot be on %s, which has no %s; choose a "
			 "folder on another file system, such as ext4, xfs or btrfs", path,
			 file_system_name(draft, name), lack);
}

int store_can_create(const char *path, struct error *err)
{
	CLEANUP_FREE char *draft = NULL;
	CLEANUP_CLOSE int fd = make_draft(path, &draft, err);

	int rc;

	if (fd < 0)
		return fd;
	rc = check_place(path, draft, fd, err);
	unlink(draft);
	return rc;
}

/* ---- what is in the way ---------------------------------------------------------- */

static const char *const beside[] = {"", "-wal", "-shm", "-journal"};

/* A link that leads nowhere is there. */
static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 || errno != ENOENT;
}

/* A log without its database would be taken for that of the new one. */
static int refuse_leftovers(const char *path, struct error *err)
{
	for (size_t i = 1; i < 4; i++) {
		CLEANUP_FREE char *name = NULL;

		if (asprintf(&name, "%s%s", path, beside[i]) < 0) {
			name = NULL;
			return error_set(err, ENOMEM, "out of memory; end other programs");
		}
		if (is_there(name))
			return error_set(err, EEXIST, "'%s' is left over from another database; "
					 "move it away", name);
	}
	return 0;
}

static int set_one_aside(const char *path, const char *suffix, struct error *err)
{
	CLEANUP_FREE char *from = NULL;
	CLEANUP_FREE char *to = NULL;

	if (asprintf(&from, "%s%s", path, suffix) < 0)
		from = NULL;
	if (asprintf(&to, "%s.old%s", path, suffix) < 0)
		to = NULL;
	if (!from || !to)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	if (!is_there(from))
		return 0;
	/* link(2) never replaces. */
	if (link(from, to) < 0 || unlink(from) < 0)
		return error_set(err, errno, "cannot move '%s' to '%s': %s; move it away", from, to,
				 strerror(errno));
	return 0;
}

static int set_all_aside(const char *path, struct error *err)
{
	int rc = 0;

	/* The database first: without it the rest is nobody's. */
	for (size_t i = 0; rc == 0 && i < 4; i++)
		rc = set_one_aside(path, beside[i], err);
	return rc;
}

/* ---- making ------------------------------------------------------------------------ */

static int create(const char *path, const struct content *content, bool set_aside,
		  struct error *err)
{
	CLEANUP_FREE char *draft = NULL;
	CLEANUP_CLOSE int fd = make_draft(path, &draft, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = check_place(path, draft, fd, err);
	if (rc < 0) {
		unlink(draft);
		return rc;
	}
	rc = make(store_vfs(), draft, content, err);
	if (rc == 0 && (set_aside || !is_there(path)))
		rc = set_aside ? set_all_aside(path, err) : refuse_leftovers(path, err);
	/* link(2), unlike rename(2), never replaces what is there. */
	if (rc == 0 && link(draft, path) < 0)
		rc = error_set(err, errno, "cannot make volume '%s': %s; choose another name", path,
			       strerror(errno));
	if (rc == 0 && sync_folder(path) < 0) {
		rc = error_set(err, errno, "cannot make the folder of '%s' durable: %s; check its "
			       "disk", path, strerror(errno));
		unlink(path);
	}
	unlink(draft);
	return rc;
}

int store_create(const char *path, const struct store_volume *volume,
		 const struct store_spare *spares, size_t spare_count, struct error *err)
{
	struct content c = {volume, spares, spare_count, tell_created, &c};
	int rc = refuse_leftovers(path, err);

	return rc < 0 ? rc : create(path, &c, false, err);
}

int store_recreate(const char *path, const struct store_volume *volume,
		   const struct store_spare *spares, size_t spare_count, bool set_aside,
		   int (*fill_rows)(void *context, struct store *), void *context, struct error *err)
{
	const struct content c = {volume, spares, spare_count, fill_rows, context};

	/* A log may lie there although the database is gone. */
	return create(path, &c, set_aside || !is_there(path), err);
}

int store_create_on(const char *vfs, const char *path, const struct store_volume *volume,
		    const struct store_spare *spares, size_t spare_count,
		    int (*fill_rows)(void *context, struct store *), void *context,
		    struct error *err)
{
	const struct content c = {volume, spares, spare_count, fill_rows, context};

	return make(vfs, path, &c, err);
}
