/* How far something is that takes its time, on a terminal. */
#ifndef REMAPFS_CTL_PROGRESS_H
#define REMAPFS_CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	const char *what; /* the step that is under way */
	struct timespec began, shown;
	bool visible, line_open;
	uint64_t from; /* where the step began: the pace is that of what came since */
};

/* From here on Ctrl-C does not end the process but is told by the others. */
void progress_begin(struct progress *, bool quiet);
/*
 * done of total bytes of the step. False: it was interrupted. context is the
 * struct progress: the progress of struct create_options.
 */
bool progress_show(void *context, const char *what, uint64_t done, uint64_t total);
/* Removes the line. */
void progress_end(struct progress *);
/* Waits. False: it was interrupted. */
bool progress_pause(unsigned ms);

#endif
