/*
 * Whether a worker that died gets another one, and when.
 *
 * Of a death by a fault of ours: it weighs 1, or DEATH_UNBORN if the worker did not get
 * as far as to serve; SECONDS_A_DEATH of service take 1 off. So one that cannot start is
 * given up in about half a minute, one that dies of the same request each time within
 * minutes, and one that dies now and then never.
 *
 * One that was killed (SIGKILL) has no fault, nor has one for which the index of the
 * database's log has no room (SIGBUS, where blocks are smaller than pages). The mount is
 * given up when nobody has served it for UNSERVED_MS, and KILLS_MIN workers in a row were
 * killed before they did.
 *
 * After one that did not serve the next one is started in a moment, which doubles from
 * one to the next.
 */
#ifndef FUSE_DEATHS_H
#define FUSE_DEATHS_H

#include <stdbool.h>
#include <stdint.h>

#define DEATHS_MAX 200
#define DEATH_UNBORN 6
#define SECONDS_A_DEATH 10
#define UNSERVED_MS (10 * 60 * 1000)
#define KILLS_MIN 30

/* Times are monotonic, in ms. */
struct deaths {
	double weight;
	unsigned unborn;        /* how many have ended since the last one that served */
	int64_t served_since;   /* by the worker that there is */
	int64_t unserved_since; /* when the last one that served had ended, or the beginning */
};

/*
 * A worker has ended, or could not be started; one that handed over counts as killed. Returns in how
 * many ms to start another one, or -1.
 */
int deaths_note(struct deaths *, bool served, bool killed, int64_t now);

#endif
