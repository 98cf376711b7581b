/*
 * What a worker has to say. Its stdout and stderr are a pipe to the supervisor, which
 * passes each line on to its own log: so a worker needs no terminal and no socket, and
 * finds the log after that was restarted. Where nobody takes the lines, those that find
 * no room in the pipe are lost, and no request waits for that.
 */
#ifndef FUSE_WORKER_LOG_H
#define FUSE_WORKER_LOG_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "remapfs/log.h"

struct worker_log {
	int fd;                /* -1: none */
	enum log_level others; /* of lines that do not begin with a priority */
	size_t used;
	char line[1024];
};

/* Returns the worker's end, or -errno. wait: the worker waits for room. */
int worker_log_begin(struct worker_log *, enum log_level others, bool wait);

/* In the worker to be: the end becomes its stdout and stderr, and it leaves the terminal. */
int worker_log_enter(int end);

/* What to wait for before worker_log_pass has something to do. */
struct pollfd worker_log_poll(const struct worker_log *);

/* Passes on what has come, unless that would have to wait. */
void worker_log_pass(struct worker_log *);

/* The same, of a worker that has ended. No-op if there is none. */
void worker_log_end(struct worker_log *);

#endif
