#include "box.h"

#include <errno.h>
#include <sqlite3.h>
#include <unistd.h>

#include "fuzz.h"
#include "remapfs/spare.h"

static const char *const paths[] = {"/main", "/spare1", "/spare2"};

#define UUID(digit) "0000000" digit "-0000-4000-8000-000000000000"

/* What every input begins with. */
static struct box first;
static uint8_t *database;
static size_t database_size;

const char *box_path(void)
{
	static char path[128];

	if (!path[0])
		snprintf(path, sizeof(path), "%s", scratch("volume"));
	return path;
}

static int open_part(void *context, const char *path, const struct file_device_options *o,
		     struct device **ret, struct error *err)
{
	struct box *box = context;

	for (size_t i = 0; i < SIZE(paths); i++)
		if (strcmp(path, paths[i]) == 0)
			return disk_open(&box->disks[i], o, ret, err);
	return error_set(err, ENOENT, "there is no %s", path);
}

int box_open(struct box *box, struct volume **ret)
{
	struct volume_options o = {.parts = &box->parts, .opener = "a fuzzer"};
	struct error err = {""};
	int rc = volume_open(box_path(), &o, ret, &err);

	/* One line that tells what to do. */
	PROMISE(rc == 0 || (rc < 0 && err.text[0]));
	return rc;
}

/* ---- what every input begins with ------------------------------------------------ */

static void run_sql(const char *sql)
{
	sqlite3 *db;

	PROMISE(sqlite3_open(box_path(), &db) == SQLITE_OK);
	PROMISE(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(db);
}

static void make_spare(struct store_spare *spare, uint32_t id, const char *uuid)
{
	struct spare_identity identity = {.id = id, .sector_size = 512,
					  .main_sectors = BOX_SECTORS, .spares = BOX_SPARES};
	struct file_device_options whole = {0};
	struct disk *disk = &first.disks[id];
	struct device *d;

	disk_new(disk, spare_bytes_min(512));
	PROMISE(uuid_parse(UUID("0"), identity.volume) == 0);
	PROMISE(uuid_parse(uuid, identity.spare) == 0);
	PROMISE(disk_open(disk, &whole, &d, NULL) == 0);
	PROMISE(spare_format(d, &identity) == 0);
	device_close(d);
	*spare = (struct store_spare){.id = id, .length = disk->size,
				      .slots = spare_layout(disk->size, 512).slots};
	snprintf(spare->uuid, sizeof(spare->uuid), "%s", uuid);
	spare->path = strdup(paths[id]);
}

static void make_volume(void)
{
	struct store_volume volume = {.uuid = UUID("0"), .main_sectors = BOX_SECTORS,
				      .sector_size = 512, .main_path = strdup(paths[0])};
	struct store_spare spares[BOX_SPARES];
	struct error err = {""};

	disk_new(&first.disks[0], BOX_SECTORS * 512);
	make_spare(&spares[0], 1, UUID("1"));
	make_spare(&spares[1], 2, UUID("2"));
	if (store_create(box_path(), &volume, spares, BOX_SPARES, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	free(volume.main_path);
	for (int i = 0; i < BOX_SPARES; i++)
		free(spares[i].path);
}

/* Small pages: each byte of the file is worth more of an input. */
static const char small_pages[] = "PRAGMA journal_mode = DELETE; PRAGMA page_size = 512; VACUUM;"
				  "PRAGMA journal_mode = WAL;";

static const char simulate[] =
	"INSERT INTO fault (sector, sectors, \"on\", error, life, times, at) VALUES"
	" (200, 2, 'read', 'EIO', 'permanent', NULL, '2026-01-01T00:00:00.000Z'),"
	" (204, 1, 'both', 'EREMOTEIO', 'times', 3, '2026-01-01T00:00:00.000Z');";

/* Sectors fail, and are moved and lost. */
static void live(void)
{
	static _Alignas(4096) uint8_t buf[64 * 512];
	struct volume *v;

	disk_damage(&first.disks[0], 10, 3, FAULT_ON_BOTH);
	disk_damage(&first.disks[0], 30, 20, FAULT_ON_WRITE);
	disk_damage(&first.disks[0], 100, 2, FAULT_ON_BOTH);
	disk_damage(&first.disks[1], spare_layout(first.disks[1].size, 512).slots_offset / 512 + 5,
		    1, FAULT_ON_WRITE);
	PROMISE(box_open(&first, &v) == 0);
	for (uint64_t at = 8; at < 60; at += 5) {
		memset(buf, (int)at, sizeof(buf));
		PROMISE(volume_write(v, buf, 4 * 512, at * 512) == 0);
	}
	PROMISE(volume_read(v, buf, 8 * 512, 96 * 512) == -EIO);
	PROMISE(volume_close(v) == 0);
}

void box_prepare(void)
{
	first.parts = (struct volume_parts){.open_device = open_part, .context = &first};
	make_volume();
	run_sql(small_pages);
	live();
	run_sql(simulate);
	database = get_file(box_path(), &database_size);
}

const uint8_t *box_database(size_t *ret_size)
{
	*ret_size = database_size;
	return database;
}

void box_reset(struct box *box)
{
	*box = first;
	box->parts.context = box;
	for (size_t i = 0; i < SIZE(first.disks); i++) {
		disk_new(&box->disks[i], first.disks[i].size);
		memcpy(box->disks[i].data, first.disks[i].data, first.disks[i].size);
		box->disks[i].bad_count = first.disks[i].bad_count;
		memcpy(box->disks[i].bad, first.disks[i].bad, sizeof(first.disks[i].bad));
	}
	unlink(scratch("volume-wal"));
	unlink(scratch("volume-shm"));
	unlink(scratch("volume-journal"));
	put_file(box_path(), database, database_size);
}

void box_free(struct box *box)
{
	for (size_t i = 0; i < SIZE(box->disks); i++)
		free(box->disks[i].data);
}

/* ---- using it ---------------------------------------------------------------------- */

void box_use(struct volume *v)
{
	static _Alignas(4096) uint8_t buf[16 * 512];
	uint64_t size = volume_size(v), start, end;
	struct volume_status status;

	PROMISE(size == BOX_SECTORS * 512);
	for (uint64_t at = 0; at < size; at += sizeof(buf))
		volume_read(v, buf, sizeof(buf), at);
	memset(buf, 0x5a, sizeof(buf));
	volume_write(v, buf, sizeof(buf), 8 * 512);
	volume_zero(v, 20 * 512, 40 * 512);
	volume_discard(v, 90 * 512, 20 * 512);
	volume_next_data(v, 0, &start, &end);
	volume_flush(v);
	volume_retire_spare(v, 1, false, NULL);
	volume_empty_spares(v);
	volume_status(v, &status);
	volume_close(v);
}
