/* What the daemon answers on the control socket: see remapfs/control.h. */
#ifndef FUSE_ANSWER_H
#define FUSE_ANSWER_H

#include <pthread.h>
#include <stdbool.h>
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
	/* Held while volume and fuse are used. Whoever closes them takes it first. */
	pthread_rwlock_t use;
	_Atomic(struct volume *) volume; /* NULL: it is not open yet, or not any more */
	int fuse;                        /* the descriptor of the mount */
	bool ended;
	pthread_mutex_t lock; /* guards: */
	char waits[400];      /* what for; "": that is not known yet */
};

/*
 * Without a volume: a worker that is yet to serve. fuse is the descriptor of the mount,
 * which answering_ends lets go.
 */
void answering_begin(struct answering *, const struct options *, const struct supervision *,
		     int fuse);
/* What it waits for, an error line. */
void answering_waits(struct answering *, const char *line);
void answering_serves(struct answering *, struct volume *);
/*
 * The mount is gone. Waits for the requests that use the volume or the descriptor; from then
 * on "status" says that the daemon is ending, and everything else is refused.
 */
void answering_ends(struct answering *);

/* The context of the handler is *answering. */
struct control_handler answers(struct answering *answering);

#endif
