/* The process that serves: opens the volume and answers the kernel. */
#ifndef FUSE_WORKER_H
#define FUSE_WORKER_H

#include "fuse/options.h"

/*
 * Runs until the mount is gone, or until SIGTERM, upon which it finishes what
 * it has begun, closes the volume, and leaves the rest to its successor.
 * Returns an exit code: EXIT_DONE, EXIT_HANDOVER, or why it could not serve.
 */
int worker_run(const struct options *options);

/* Whether this program could be the next worker: 0, or an exit code. Touches nothing. */
int worker_probe(const struct options *);

#endif
