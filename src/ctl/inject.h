/* The parts of remapctl inject. Each returns an exit code. */
#ifndef REMAPFS_CTL_INJECT_H
#define REMAPFS_CTL_INJECT_H

#include "ctl/ctl.h"

/* argv[0] is the action; what follows are its options. */
int inject_add(const char *volume, int argc, char **argv);
int inject_clear(const char *volume, int argc, char **argv);

/* Takes the argument of --spare. 0 or the exit code. */
int take_spare(const char *text, spare_id_t *ret);

/*
 * How many sectors can fail: those of main, or of the spare's region. 0 or the
 * exit code.
 */
int find_limit(const char *volume, const struct store *, spare_id_t spare, sector_t *ret);

/*
 * Begins a change of the faults of an open store: the transaction, after
 * making sure that a running daemon can be told. 0 or the exit code.
 */
int begin_faults(const char *volume, struct store *);

/*
 * Ends it: records the event, commits, and has a running daemon take the
 * faults anew. rc is what went before: below 0 nothing is changed. Prints
 * "done" and when that holds.
 */
int end_faults(const char *volume, struct store *, int rc, const struct event *, const char *done);

#endif
