/*
 * The engine with other surroundings, put in its way by the linker (--wrap):
 * no threads, a clock that the simulator moves, ids that the seed decides,
 * silence. And the plants: faults of the engine that the simulator must find.
 *
 * The thread of the committer never starts. What it would write, the simulator
 * writes between two operations: one of the orders that can happen, and always
 * the same one.
 */
#ifndef CRASH_ENGINE_H
#define CRASH_ENGINE_H

#include <stdbool.h>

#include "remapfs/rebuild.h"
#include "remapfs/volume.h"

/* The volume that is open from now on; NULL: none. */
void engine_volume(struct volume *);

/* Does what the thread of the committer would do. */
void engine_scribe(struct volume *);

/* volume_flush, volume_empty_spares and volume_rebuild. */
int engine_flush(struct volume *);
bool engine_empty(struct volume *);
int engine_rebuild(const struct rebuild_options *, struct rebuild_result *ret, struct error *err);

/* From now on the engine has that fault. false: there is none of that name. */
bool engine_plant(const char *name);
/* The names, one after the other; NULL after the last one. */
const char *engine_plant_name(unsigned i);

/* Whether messages of the engine are shown. */
void engine_verbose(bool);

#endif
