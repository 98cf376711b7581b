/*
 * Whether the database is still where it was opened, and how long its log is.
 *
 * SQLite works on through its descriptors when the files under it are renamed,
 * deleted or replaced. What it then commits is durable, and lost all the same:
 * whoever opens the database next does not find it. The log (-wal) and its
 * index (-shm) are as much part of that as the database itself.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "store/statement.h"

static const char *const endings[STORE_FILES] = {"", "-wal", "-shm"};

/* False: it is not there, or cannot be looked at. */
static bool look(const struct store *s, int file, struct stat *st)
{
	char path[4096];
	int n = snprintf(path, sizeof(path), "%s%s", sqlite3_db_filename(s->db, "main"),
			 endings[file]);

	return n > 0 && (size_t)n < sizeof(path) && stat(path, st) == 0;
}

void store_note_place(struct store *s)
{
	struct stat st;

	for (int i = 0; i < STORE_FILES; i++) {
		if (!look(s, i, &st))
			return;
		s->files[i].device = st.st_dev;
		s->files[i].inode = st.st_ino;
	}
	s->watched = true;
}

enum store_place store_place(const struct store *s)
{
	struct stat st;

	for (int i = 0; s->watched && i < STORE_FILES; i++)
		if (!look(s, i, &st) || st.st_dev != s->files[i].device ||
		    st.st_ino != s->files[i].inode)
			return i == 0 ? STORE_MISPLACED : STORE_LOG_MISPLACED;
	return STORE_IN_PLACE;
}

/* SQLite's index of the log: https://sqlite.org/walformat.html */
#define INDEX_BYTES 32768
#define INDEX_PAGES 4 /* how many pages of whole commits the log has: the word of that number */

/* A checkpoint would tell as well, but writes to the database. */
static bool has_commits(struct store *s)
{
	void volatile *index = NULL;
	sqlite3_file *file = NULL;

	if (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
	    !file || !file->pMethods || file->pMethods->iVersion < 2)
		return false;
	return file->pMethods->xShmMap(file, 0, INDEX_BYTES, 0, &index) == SQLITE_OK && index &&
	       ((volatile uint32_t *)index)[INDEX_PAGES] > 0;
}

bool store_log_lost(struct store *s)
{
	if (s->log == LOG_NOT_ASKED)
		s->log = has_commits(s) ? LOG_HERE : LOG_LOST;
	return s->log == LOG_LOST;
}

void store_log_found(struct store *s)
{
	s->log = LOG_HERE;
}

uint64_t store_log_bytes(const struct store *s)
{
	struct stat st;

	return s->watched && look(s, 1, &st) ? (uint64_t)st.st_size : 0;
}

static int checkpoint(struct store *s, int mode)
{
	int rc;

	sqlite3_busy_timeout(s->db, 0);
	rc = sqlite3_wal_checkpoint_v2(s->db, "main", mode, NULL, NULL);
	sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
	return rc == SQLITE_OK ? 0 : store_errno(s);
}

int store_shrink_log(struct store *s)
{
	return checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
}

int store_empty_log(struct store *s)
{
	return checkpoint(s, SQLITE_CHECKPOINT_PASSIVE);
}
