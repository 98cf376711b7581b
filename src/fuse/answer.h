/* What the daemon answers on the control socket: see remapfs/control.h. */
#ifndef FUSE_ANSWER_H
#define FUSE_ANSWER_H

#include <pthread.h>
#include <stdint.h>
#include <sys/types.h>

#include "fuse/options.h"
#include "fuse/supervision.h"
#include "remapfs/control.h"
#include "remapfs/volume.h"

struct answering {
	const struct options *options;
	const struct supervision *shared;
	pid_t supervisor;
	int64_t since; /* monotonic ms: when it began */
	_Atomic(struct volume *) volume; /* NULL: it is not open yet */
	pthread_mutex_t lock; /* guards: */
	char waits[400];      /* what for; "": that is not known yet */
};

/* Without a volume: a worker that is yet to serve. */
void answering_begin(struct answering *, const struct options *, const struct supervision *);
/* What it waits for, an error line. */
void answering_waits(struct answering *, const char *line);
void answering_serves(struct answering *, struct volume *);

/* The context of the handler is *answering. */
struct control_handler answers(struct answering *answering);

#endif
