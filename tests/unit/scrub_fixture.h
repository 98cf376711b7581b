/*
 * A scrub of the volume of volume_fixture.h, with sectors that are bad for a scrub.
 */
#ifndef TESTS_SCRUB_FIXTURE_H
#define TESTS_SCRUB_FIXTURE_H

#include "volume_fixture.h"

#define WAIT_MS 60000

extern struct error scrub_error;

struct volume_scrub look(void);
/* Fails after WAIT_MS. */
void wait_for(enum scrub_state state);

void start(uint64_t rate);
void resume(uint64_t rate);
/* All of it; what was found. */
struct scrub_counts scrub(void);

/* Reads of a sector fail so often, one at a time, and then no more. */
struct fault failing_times(spare_id_t spare, sector_t sector, uint64_t times);
/* Reads take so long. Sectors of the device. */
void slow(spare_id_t spare, sector_t first, uint64_t count, uint32_t ms);
/* Where slot 0 of the spare of volume_setup is. */
sector_t first_slot(void);

#endif
