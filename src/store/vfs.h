/*
 * What SQLite may open and delete for a database that may be anybody's.
 *
 * SQLite believes what lies beside a database. It plays a rollback journal back
 * before the first page is looked at, also into a database that is only read, and
 * deletes the file that the journal names as its super-journal, whatever that is.
 * A volume has a write-ahead log and never a rollback journal, so nothing but
 * NAME, NAME-wal and NAME-shm is opened here, and nothing but NAME-wal and
 * NAME-shm deleted. Whoever may write the folder can exchange each while it is opened:
 * no link is followed, no FIFO waited for, a log fits the owner of the file that was
 * opened as the database, and only a log that was opened is deleted.
 */
#ifndef STORE_VFS_H
#define STORE_VFS_H

#include "remapfs/error.h"

/*
 * The name of the VFS to open volumes with; opening fails where SQLite has no memory for it.
 * Thread-safe. From the first call on, all connections of this process refuse a log
 * that store_check_beside would refuse, also one that is put there later.
 */
const char *store_vfs(void);

/*
 * Looks at what lies beside the database at path before anything is opened. The
 * log and its index have to be plain files without other names, of the database's
 * owner, of root, or of the caller. -EUCLEAN: they are not, or there is a rollback
 * journal; err has the line. -ENOMEM.
 */
int store_check_beside(const char *path, struct error *err);

#endif
