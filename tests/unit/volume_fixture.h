/*
 * A small volume in the scratch directory: "main", "spare1" … and "volume", with
 * simulated faults put into its database as remapctl does.
 */
#ifndef TESTS_VOLUME_FIXTURE_H
#define TESTS_VOLUME_FIXTURE_H

#include "fixture.h"

#include "remapfs/store.h"
#include "remapfs/volume.h"

extern struct volume *volume; /* the open one */
extern uint32_t sector_size;
extern uint8_t *buffer; /* 2 MiB, aligned */

#define MAIN_BYTES (16 * MiB)
#define BUFFER_BYTES (2 * MiB)

/* For cmocka: a scratch directory with an open volume of 512 (4096) byte sectors. */
int volume_setup(void **state);
int volume_setup_4096(void **state);
/* The same as the first, with room for all of main on the spare. */
int volume_setup_large_spare(void **state);
/* The same with two spares, the first of them as small as can be. */
int volume_setup_small_spare(void **state);
int volume_teardown(void **state);

void open_volume(void);
void open_volume_with(const struct volume_options *options);
void close_volume(void);
void reopen_volume(void);

/* ---- whole sectors -------------------------------------------------------------- */

/* Fills the buffer with what sectors hold after "writing them with tag". */
void fill_sectors(sector_t start, uint64_t count, uint8_t tag);
int write_sectors_of(sector_t start, uint64_t count, uint8_t tag);
/* 0: read, and they hold tag (0: zeros); otherwise the error. */
int read_sectors_of(sector_t start, uint64_t count, uint8_t tag);
void assert_written(sector_t start, uint64_t count, uint8_t tag);
void assert_read(sector_t start, uint64_t count, uint8_t tag);
void assert_lost(sector_t start, uint64_t count);
/* What the file of main holds, past the engine. The volume must be closed. */
void assert_main_holds(sector_t start, uint64_t count, uint8_t tag);

/* ---- faults --------------------------------------------------------------------- */

void add_fault(struct fault f);
void bad_sectors(sector_t start, uint64_t count, enum fault_on on);
/* Slots of a spare, so that data written to them fails. */
void bad_slots(spare_id_t spare, slot_t first, uint64_t count, enum fault_on on);
void clear_faults(void);

/* ---- what is recorded ----------------------------------------------------------- */

struct volume_status status_now(void);
/* The gravest of its troubles, in words; "": there is none. */
const char *trouble_now(void);
void assert_counts(uint64_t remapped, uint64_t pending);
/* A number or text from the database, by SQL. */
uint64_t ask_number(const char *query);
/* How often an event stands in the history. */
uint64_t events(const char *event);
/* As "1000+8 1010+1": main_sector and sectors of all remaps, in order. */
const char *remaps(void);

/* As a sqlite3 shell in a transaction: nobody else can write to the database meanwhile. */
struct sqlite3 *hold_write_lock(void);
void release_write_lock(struct sqlite3 *);

#endif
