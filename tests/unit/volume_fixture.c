#include "volume_fixture.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/log.h"
#include "remapfs/spare.h"

struct volume *volume;
uint32_t sector_size;
uint8_t *buffer;

static uint64_t spare_bytes[2];

/* ---- life ----------------------------------------------------------------------- */

void open_volume_with(const struct volume_options *options)
{
	struct error err = {""};

	if (volume_open(at("volume"), options, &volume, &err) < 0)
		fail_msg("%s", err.text);
}

void open_volume(void)
{
	open_volume_with(&(struct volume_options){.opener = "a test"});
}

void close_volume(void)
{
	struct volume *v = volume;

	volume = NULL;
	assert_int_equal(volume_close(v), 0);
}

void reopen_volume(void)
{
	close_volume();
	open_volume();
}

static int set_up(uint32_t size, uint64_t first, uint64_t second)
{
	const struct part_spec spares[] = {{.path = at("spare1"), .size = first},
					   {.path = at("spare2"), .size = second}};
	struct create_options o = {
		.path = at("volume"),
		.main = {.path = at("main"), .size = MAIN_BYTES},
		.spares = spares,
		.spare_count = second ? 2 : 1,
		.sector_size = size,
	};
	struct error warning = {""}, err = {""};

	log_init("test", LOG_LEVEL_ERROR);
	sector_size = size;
	spare_bytes[0] = first;
	spare_bytes[1] = second;
	buffer = aligned_buffer(BUFFER_BYTES);
	if (volume_create(&o, &warning, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	open_volume();
	return 0;
}

int volume_setup(void **state)
{
	return scratch_setup(state) < 0 ? -1 : set_up(512, 1 * MiB, 0);
}

int volume_setup_large_spare(void **state)
{
	return scratch_setup(state) < 0 ? -1 : set_up(512, MAIN_BYTES + 1 * MiB, 0);
}

int volume_setup_4096(void **state)
{
	return scratch_setup(state) < 0 ? -1 : set_up(4096, 4 * MiB, 0);
}

int volume_setup_small_spare(void **state)
{
	return scratch_setup(state) < 0 ? -1
					: set_up(512, spare_bytes_min(512), spare_bytes_min(512));
}

int volume_teardown(void **state)
{
	struct volume *v = volume;

	volume = NULL;
	if (v)
		volume_close(v);
	free(buffer);
	return scratch_teardown(state);
}

/* ---- whole sectors -------------------------------------------------------------- */

static void fill_one(uint8_t *to, sector_t sector, uint8_t tag)
{
	memset(to, tag, sector_size);
	if (tag)
		memcpy(to, &sector, sizeof(sector));
}

void fill_sectors(sector_t start, uint64_t count, uint8_t tag)
{
	assert_true(count * sector_size <= BUFFER_BYTES);
	for (uint64_t i = 0; i < count; i++)
		fill_one(buffer + i * sector_size, start + i, tag);
}

int write_sectors_of(sector_t start, uint64_t count, uint8_t tag)
{
	fill_sectors(start, count, tag);
	return volume_write(volume, buffer, count * sector_size, start * sector_size);
}

static void assert_holds(const uint8_t *data, sector_t start, uint64_t count, uint8_t tag)
{
	uint8_t expected[4096];

	for (uint64_t i = 0; i < count; i++) {
		fill_one(expected, start + i, tag);
		if (memcmp(data + i * sector_size, expected, sector_size) != 0)
			fail_msg("sector %llu holds 0x%02x, not 0x%02x",
				 (unsigned long long)(start + i),
				 data[(i + 1) * sector_size - 1], tag);
	}
}

int read_sectors_of(sector_t start, uint64_t count, uint8_t tag)
{
	int rc;

	assert_true(count * sector_size <= BUFFER_BYTES);
	memset(buffer, 0xdb, count * sector_size);
	rc = volume_read(volume, buffer, count * sector_size, start * sector_size);
	if (rc == 0)
		assert_holds(buffer, start, count, tag);
	return rc;
}

void assert_written(sector_t start, uint64_t count, uint8_t tag)
{
	assert_int_equal(write_sectors_of(start, count, tag), 0);
}

void assert_read(sector_t start, uint64_t count, uint8_t tag)
{
	assert_int_equal(read_sectors_of(start, count, tag), 0);
}

void assert_lost(sector_t start, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		assert_int_equal(read_sectors_of(start + i, 1, 0), -EIO);
}

void assert_main_holds(sector_t start, uint64_t count, uint8_t tag)
{
	assert_null(volume);
	get_bytes(at("main"), start * sector_size, buffer, count * sector_size);
	assert_holds(buffer, start, count, tag);
}

/* ---- faults --------------------------------------------------------------------- */

static void change_faults(int (*change)(struct store *, const struct fault *),
			  const struct fault *f)
{
	struct error err = {""};
	struct store *s;

	if (store_open(at("volume"), STORE_WRITE, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(store_begin(s), 0);
	assert_int_equal(change(s, f), 0);
	assert_int_equal(store_commit(s), 0);
	store_close(s);
	if (volume)
		assert_int_equal(volume_reload_faults(volume), 0);
}

static int clear_all(struct store *s, const struct fault *f)
{
	uint64_t cleared;

	(void)f;
	return store_clear_all_faults(s, &cleared);
}

void add_fault(struct fault f)
{
	change_faults(store_add_fault, &f);
}

void clear_faults(void)
{
	change_faults(clear_all, NULL);
}

void bad_sectors(sector_t start, uint64_t count, enum fault_on on)
{
	add_fault((struct fault){.start = start, .count = count, .on = on, .error = EIO});
}

void bad_slots(spare_id_t spare, slot_t first, uint64_t count, enum fault_on on)
{
	struct spare_layout l = spare_layout(spare_bytes[spare - 1], sector_size);

	add_fault((struct fault){.spare = spare, .start = l.slots_offset / sector_size + first,
				 .count = count, .on = on, .error = EIO});
}

/* ---- what is recorded ----------------------------------------------------------- */

struct volume_status status_now(void)
{
	struct volume_status s;

	volume_status(volume, &s);
	return s;
}

const char *trouble_now(void)
{
	static struct trouble_text text;
	struct volume_status s = status_now();

	text = trouble_text(&s.troubles, 0);
	return text.text;
}

static const char *ask(const char *query)
{
	static char answers[4][4096];
	static unsigned next;
	char *answer = answers[next++ % 4];
	sqlite3_stmt *row;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	sqlite3_busy_timeout(db, 10000);
	if (sqlite3_prepare_v2(db, query, -1, &row, NULL) != SQLITE_OK)
		fail_msg("%s: %s", query, sqlite3_errmsg(db));
	answer[0] = 0;
	if (sqlite3_step(row) == SQLITE_ROW && sqlite3_column_text(row, 0))
		snprintf(answer, 4096, "%s", (const char *)sqlite3_column_text(row, 0));
	sqlite3_finalize(row);
	sqlite3_close(db);
	return answer;
}

uint64_t ask_number(const char *query)
{
	return strtoull(ask(query), NULL, 10);
}

uint64_t events(const char *event)
{
	char query[200];

	snprintf(query, sizeof(query), "SELECT count(*) FROM history WHERE event = '%s'", event);
	return ask_number(query);
}

const char *remaps(void)
{
	return ask("SELECT group_concat(main_sector || '+' || sectors, ' ') FROM "
		   "(SELECT * FROM remap ORDER BY main_sector)");
}

void assert_counts(uint64_t remapped, uint64_t pending)
{
	struct volume_status s = status_now();

	assert_int_equal(s.remapped_sectors, remapped);
	assert_int_equal(s.pending_sectors, pending);
	assert_int_equal(ask_number("SELECT coalesce(sum(sectors), 0) FROM remap"), remapped);
	assert_int_equal(ask_number("SELECT coalesce(sum(sectors), 0) FROM pending"), pending);
}

struct sqlite3 *hold_write_lock(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(at("volume"), &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	return db;
}

void release_write_lock(struct sqlite3 *db)
{
	sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
	sqlite3_close(db);
}
