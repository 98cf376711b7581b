/*
 * The FUSE session: the mount, the threads that serve it, and its end.
 *
 * Threads read the device themselves instead of through libfuse's loop: into
 * buffers placed so that the payload of a write is aligned for direct I/O, and
 * without cloned descriptors, whose closing would abort requests.
 */
#ifndef FUSE_SESSION_H
#define FUSE_SESSION_H

#include "fuse/image.h"
#include "fuse/options.h"

struct session;

/*
 * Mounts at mountpoint (absolute). volume_name is for the mount table.
 * err has the line. The image must outlive the session.
 */
int session_mount(struct image *image, const struct options *options, const char *mountpoint,
		  const char *volume_name, struct session **ret, struct error *err);

/* Starts the threads. -EAGAIN, -ENOMEM: none runs; err has the line. */
int session_start(struct session *, unsigned threads, struct error *err);

/*
 * Serves until the mount is gone: unmounted by somebody, or because of
 * SIGTERM, SIGINT or SIGHUP, upon which it is unmounted; while files on it are
 * still open they are served on, until a second signal.
 */
void session_wait(struct session *);

/* Unmounts what is still mounted and frees. NULL is allowed. */
void session_end(struct session *);

/* To be called before any thread is started: the signals are session_wait's. */
void session_block_signals(void);

#endif
