/*
 * Older copies of spares, put back before the volume is opened again: that is refused,
 * or everything is there; but for what docs/guarantees.md says cannot be told, which
 * is that slots may be as they were in a copy of the life that was cut.
 */
#ifndef CRASH_OLDER_H
#define CRASH_OLDER_H

#include "session.h"

/* Forgets all copies: another workload begins. */
void older_forget(void);
/* Once at each point, in order: takes a copy of all spares, or does not. */
void older_take(const struct cache *);
/* Puts one back into what a cut at that point leaves. */
void older_try(const struct session *before, const struct cache *, unsigned cut);
/* The same after the orderly end of a session that went on after a cut. */
void older_try_closed(const struct session *closed);

#endif
