/*
 * The database, its log and its journal as files of the simulation. Locks are
 * trivial, since one connection is all there is; the index of the log is
 * memory, which a cut empties.
 *
 * It says of itself what the VFS of Unix does: that a write of some bytes never
 * harms those beside them. A new file has its name on the medium with its first
 * sync, as Unix syncs the folder then; a deletion that nobody syncs may be
 * undone by a cut.
 */
#include <sqlite3.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "memory.h"
#include "../model/random.h"
#include "sim.h"

#define REGION (32 << 10) /* of shared memory, as SQLite asks for it */

struct vfs_file {
	sqlite3_file base;
	enum file file;
};

static enum file file_of(sqlite3_file *f)
{
	return ((struct vfs_file *)f)->file;
}

static struct content *content_of(sqlite3_file *f)
{
	return &sim_current()->disk->files[file_of(f)];
}

static int vfs_close(sqlite3_file *f)
{
	(void)f;
	return SQLITE_OK;
}

static int vfs_read(sqlite3_file *f, void *buf, int length, sqlite3_int64 offset)
{
	const struct content *c = content_of(f);
	uint64_t start = (uint64_t)offset, want = (uint64_t)length, have;

	if (sim_call(sim_current(), false, true))
		return SQLITE_IOERR_READ;
	have = start < c->size ? c->size - start : 0;
	have = have < want ? have : want;
	if (have)
		memcpy(buf, c->data + start, have);
	memset((char *)buf + have, 0, want - have);
	return have < want ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int vfs_write(sqlite3_file *f, const void *buf, int length, sqlite3_int64 offset)
{
	int error = sim_call(sim_current(), true, true);

	if (error)
		return error == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	sim_step(sim_current(), (struct step){.kind = STEP_WRITE, .file = file_of(f),
					      .offset = (uint64_t)offset,
					      .length = (uint64_t)length}, buf);
	return SQLITE_OK;
}

static int vfs_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	if (sim_call(sim_current(), true, true))
		return SQLITE_IOERR_TRUNCATE;
	sim_step(sim_current(), (struct step){.kind = STEP_TRUNCATE, .file = file_of(f),
					      .length = (uint64_t)size}, NULL);
	return SQLITE_OK;
}

static int vfs_sync(sqlite3_file *f, int flags)
{
	(void)flags;
	if (sim_call(sim_current(), true, true) || sim_current()->fail_sync)
		return SQLITE_IOERR_FSYNC;
	sim_step(sim_current(), (struct step){.kind = STEP_FLUSH, .file = file_of(f)}, NULL);
	return SQLITE_OK;
}

static int vfs_file_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	if (sim_call(sim_current(), false, true))
		return SQLITE_IOERR_FSTAT;
	*ret = (sqlite3_int64)content_of(f)->size;
	return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *f, int level)
{
	(void)f, (void)level;
	return SQLITE_OK;
}

static int vfs_check_reserved(sqlite3_file *f, int *ret)
{
	(void)f;
	*ret = 0;
	return SQLITE_OK;
}

static int vfs_control(sqlite3_file *f, int what, void *arg)
{
	(void)f, (void)what, (void)arg;
	return SQLITE_NOTFOUND;
}

static int vfs_sector_size(sqlite3_file *f)
{
	(void)f;
	return 4096;
}

static int vfs_characteristics(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int vfs_shared_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret)
{
	struct sim *s = sim_current();

	(void)f;
	*ret = NULL;
	if (size != REGION || region >= (int)(sizeof(s->shared) / sizeof(s->shared[0])))
		return SQLITE_IOERR_SHMMAP;
	if (!s->shared[region] && extend) {
		memory_spare(true);
		s->shared[region] = must(calloc(1, REGION));
		memory_spare(false);
	}
	*ret = s->shared[region];
	return SQLITE_OK;
}

static int vfs_shared_lock(sqlite3_file *f, int offset, int n, int flags)
{
	(void)f, (void)offset, (void)n, (void)flags;
	return SQLITE_OK;
}

static void vfs_shared_barrier(sqlite3_file *f)
{
	(void)f;
}

static int vfs_shared_unmap(sqlite3_file *f, int delete)
{
	struct sim *s = sim_current();

	(void)f, (void)delete;
	for (size_t i = 0; i < sizeof(s->shared) / sizeof(s->shared[0]); i++) {
		free(s->shared[i]);
		s->shared[i] = NULL;
	}
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = vfs_close,
	.xRead = vfs_read,
	.xWrite = vfs_write,
	.xTruncate = vfs_truncate,
	.xSync = vfs_sync,
	.xFileSize = vfs_file_size,
	.xLock = vfs_lock,
	.xUnlock = vfs_lock,
	.xCheckReservedLock = vfs_check_reserved,
	.xFileControl = vfs_control,
	.xSectorSize = vfs_sector_size,
	.xDeviceCharacteristics = vfs_characteristics,
	.xShmMap = vfs_shared_map,
	.xShmLock = vfs_shared_lock,
	.xShmBarrier = vfs_shared_barrier,
	.xShmUnmap = vfs_shared_unmap,
};

/* ---- files by name ---------------------------------------------------------------- */

static enum file file_named(const char *name)
{
	if (strcmp(name, SIM_PATH) == 0)
		return FILE_DB;
	if (strcmp(name, SIM_PATH "-wal") == 0)
		return FILE_LOG;
	if (strcmp(name, SIM_PATH "-journal") == 0)
		return FILE_JOURNAL;
	give_up("SQLite asks for a file '%s'", name);
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct vfs_file *file = (struct vfs_file *)f;
	struct sim *s = sim_current();

	(void)vfs;
	file->base.pMethods = NULL;
	if (!name)
		give_up("SQLite asks for a temporary file");
	file->file = file_named(name);
	if (sim_call(s, false, true))
		return SQLITE_CANTOPEN;
	if (!s->disk->files[file->file].exists) {
		if (!(flags & SQLITE_OPEN_CREATE))
			return SQLITE_CANTOPEN;
		sim_step(s, (struct step){.kind = STEP_CREATE, .file = file->file}, NULL);
	}
	file->base.pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct sim *s = sim_current();
	enum file file = file_named(name);

	(void)vfs;
	if (!s->disk->files[file].exists)
		return SQLITE_IOERR_DELETE_NOENT;
	if (sim_call(s, true, true))
		return SQLITE_IOERR_DELETE;
	sim_step(s, (struct step){.kind = STEP_DELETE, .file = file}, NULL);
	if (sync)
		sim_step(s, (struct step){.kind = STEP_FLUSH, .file = file}, NULL);
	return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	const struct content *c = &sim_current()->disk->files[file_named(name)];

	(void)vfs;
	if (sim_call(sim_current(), false, true))
		return SQLITE_IOERR_ACCESS;
	/* As on Unix: an empty file is as good as none. */
	*ret = c->exists && (flags == SQLITE_ACCESS_READWRITE || c->size > 0);
	return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *to)
{
	(void)vfs;
	snprintf(to, (size_t)size, "%s", name);
	return SQLITE_OK;
}

static int vfs_random(sqlite3_vfs *vfs, int size, char *to)
{
	static uint64_t state = 1;

	(void)vfs;
	for (int i = 0; i < size; i++)
		to[i] = (char)random_next(&state);
	return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return us;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *to)
{
	(void)vfs, (void)size, (void)to;
	return 0;
}

/* The year 2100: history, which began when the volume was made, goes on. */
static int vfs_time(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
	(void)vfs;
	*ret = INT64_C(2488070 * 86400000) + sim_now_ms();
	return SQLITE_OK;
}

void sim_init(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 2,
		.szOsFile = sizeof(struct vfs_file),
		.mxPathname = 512,
		.zName = SIM_VFS,
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_name,
		.xRandomness = vfs_random,
		.xSleep = vfs_sleep,
		.xGetLastError = vfs_last_error,
		.xCurrentTimeInt64 = vfs_time,
	};

	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		give_up("SQLite does not take the simulated VFS");
}
