/*
 * The scrub of a volume from the inside: its thread, and how far it is. See
 * volume_scrub_start.
 */
#ifndef VOLUME_SCRUB_H
#define VOLUME_SCRUB_H

#include "remapfs/error.h"
#include "remapfs/store.h"
#include "volume/background.h"

struct volume;
struct examiner;

struct scrub {
	struct background thread;
	struct examiner *examiner; /* the thread's; made with it */
	int64_t due_us;            /* the thread's: when it may read on */

	pthread_mutex_t saving; /* held by who changes the row, and then what is below */
	pthread_mutex_t lock;   /* guards what follows; nobody waits while he holds it */
	struct store_scrub now;
	uint64_t run; /* which one since the volume was opened */
	bool active;  /* there is a thread for it */
	char reason[120];
	sector_t since_sector; /* where the pace is measured from */
	int64_t since_ms;
};

void scrub_init(struct scrub *);
void scrub_destroy(struct scrub *);
/* While the volume is opened. */
int scrub_load(struct volume *, struct error *err);
/* Before the volume is closed: ends the thread, and notes how far it is. */
void scrub_end(struct volume *);

#endif
