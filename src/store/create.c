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
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "store/statement.h"

static int fill(struct store *s, const struct store_volume *v, const struct store_spare *spares,
		size_t spare_count)
{
	struct event created = {.kind = EVENT_CREATED};
	int rc = store_run(s, store_bind(s, SQL_VOLUME_INSERT, "ttii", v->uuid, v->main_path,
					 (int64_t)v->main_sectors, (int64_t)v->sector_size));

	for (size_t i = 0; rc == 0 && i < spare_count; i++)
		rc = store_run(s, store_bind(s, SQL_SPARE_INSERT, "ittiii", (int64_t)spares[i].id,
					     spares[i].uuid, spares[i].path,
					     (int64_t)spares[i].offset, (int64_t)spares[i].length,
					     (int64_t)spares[i].slots));
	snprintf(created.detail, sizeof(created.detail), "%llu sectors of %u bytes, %zu spare%s",
		 (unsigned long long)v->main_sectors, v->sector_size, spare_count,
		 spare_count == 1 ? "" : "s");
	return rc < 0 ? rc : store_add_event(s, &created);
}

static int make(const char *path, const struct store_volume *volume,
		const struct store_spare *spares, size_t spare_count, struct error *err)
{
	struct store *s;
	int rc = store_connect(NULL, path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &s, err);

	if (rc < 0)
		return rc;
	rc = store_migrate(s, 0, err);
	if (rc == 0) {
		rc = store_begin(s);
		rc = rc < 0 ? rc : fill(s, volume, spares, spare_count);
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
	rc = error_set(err, errno, "cannot make volume '%s': %s; choose %s", path, strerror(errno),
		       errno == ENAMETOOLONG ? "a shorter name" : "a folder you may write");
	free(*ret_draft);
	*ret_draft = NULL;
	return rc;
}

int store_can_create(const char *path, struct error *err)
{
	CLEANUP_FREE char *draft = NULL;
	CLEANUP_CLOSE int fd = make_draft(path, &draft, err);

	if (fd < 0)
		return fd;
	unlink(draft);
	return 0;
}

int store_create(const char *path, const struct store_volume *volume,
		 const struct store_spare *spares, size_t spare_count, struct error *err)
{
	CLEANUP_FREE char *draft = NULL;
	CLEANUP_CLOSE int fd = make_draft(path, &draft, err);
	int rc;

	if (fd < 0)
		return fd;
	rc = make(draft, volume, spares, spare_count, err);
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
