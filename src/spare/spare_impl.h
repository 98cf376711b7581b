/* What slots.c and table.c share. Internal to spare/. */
#ifndef SPARE_IMPL_H
#define SPARE_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "spare/format.h"

#define NO_TABLE UINT64_MAX

struct spare {
	struct device *device;
	struct spare_identity identity;
	struct spare_layout layout;
	atomic_bool failed;
	atomic_bool dirty;        /* written since the last flush began */
	atomic_bool flush_failed; /* sticky: what was lost cannot be told */
	pthread_mutex_t flushing; /* a second flush waits for the first */

	pthread_mutex_t lock; /* guards what is below, up to the table */
	uint64_t *taken;      /* a bit for each slot that is used or bad */
	uint64_t *bad;        /* a bit for each slot that is bad */
	slot_t used_count, bad_count;
	slot_t next; /* where the search for free slots goes on */

	/* The table sector last touched, so that neighbours cost no read. */
	void *table;
	uint64_t table_at; /* bytes; NO_TABLE: none */
};

#endif
