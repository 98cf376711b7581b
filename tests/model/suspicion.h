/*
 * Which errors, remaps and pending sectors the simulated faults explain.
 *
 * A fault that does not last may have ended unseen, so faults are only ever
 * "maybe in force" until they are cleared; what is told here is what may have
 * happened (and, for surely_remapped, what must have). Where exactly a sector
 * lies on the spares is not followed: a read fault on any slot explains the
 * loss of any sector that may be on a spare. Not thread-safe.
 */
#ifndef MODEL_SUSPICION_H
#define MODEL_SUSPICION_H

#include "remapfs/device.h"

struct suspicion;

struct suspicion *suspicion_new(uint64_t sectors);
void suspicion_free(struct suspicion *);

void suspect_fault(struct suspicion *, const struct fault *);
void suspect_cleared(struct suspicion *, spare_id_t spare, sector_t start, uint64_t count);
void suspect_all_cleared(struct suspicion *);
size_t suspect_faults(const struct suspicion *); /* that may be in force */

/* A change of these sectors was acknowledged; a discard need not have moved any. */
void suspect_written(struct suspicion *, sector_t start, uint64_t count, bool discard);
/* A request that would have changed these sectors failed. */
void suspect_write_failed(struct suspicion *, sector_t start, uint64_t count);
/* The sectors were read well just now. */
void suspect_read(struct suspicion *, sector_t start, uint64_t count);

bool may_be_unreadable(const struct suspicion *, sector_t start, uint64_t count);
bool may_be_remapped(const struct suspicion *, sector_t);
bool must_be_remapped(const struct suspicion *, sector_t);
/* A spare had, or may have, a slot that fails on write. */
bool slots_may_fail(const struct suspicion *);

#endif
