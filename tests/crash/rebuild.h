/*
 * The same disk without its database: contract 10. What a rebuild from main and
 * spares alone serves must hold what the volume itself may; and after an orderly
 * end its map is the one that was lost.
 */
#ifndef CRASH_REBUILD_H
#define CRASH_REBUILD_H

#include "record.h"
#include "session.h"

/* What a cut left. The sectors may hold what p says; live: nothing was lost of the caches. */
void rebuild_after_cut(const struct session *like, const struct disk *left, const struct record *r,
		       const struct possible *p, bool live);

/* What an orderly end left, with the map that the volume had: for each sector. */
void rebuild_after_close(const struct session *like, const struct disk *left,
			 const struct extent *map);

/* remapctl check finds nothing that is wrong there. */
void check_after_close(const struct session *like, const struct disk *left);

#endif
