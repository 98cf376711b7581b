/*
 * Descriptors that were written and whose change was not recorded. A rebuild
 * must not find them: they are cleared, and until that is durable they hold
 * down what their spare may confirm (see spare/confirm.c).
 *
 * A round of commits confirms the rounds before it, with the flush that it
 * needs anyway. Of its own it cannot: it is not committed yet.
 *
 * For the committing thread.
 */
#ifndef VOLUME_STALE_H
#define VOLUME_STALE_H

#include "volume/commit.h"

/* e was described with that sequence; cleared tells whether that was undone. */
void stale_note(struct committer *, const struct extent *e, uint64_t sequence, bool cleared);
/* Before a flush: tries again what could not be cleared. */
void stale_clear(struct committer *, struct spare *);
/* The change is committed: older descriptors of its sectors do not count any more. */
void stale_outvote(struct committer *, const struct change *);
/* After a flush: what had been cleared before is so for good. */
void stale_forget(struct committer *, spare_id_t);
/* The greatest sequence that the spare may confirm. */
uint64_t stale_confirmable(const struct committer *, spare_id_t);
/*
 * What a rebuild would still find on the spare of a sector that main holds
 * again once the change is recorded; NULL: nothing. Such a change waits until
 * that is durably cleared.
 */
const struct extent *stale_cured(const struct committer *, const struct change *, spare_id_t);

#endif
