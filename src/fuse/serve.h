/*
 * The threads that answer what the kernel asks.
 *
 * One of them leads: it alone reads requests and waits, for the next request and
 * for the queued I/O of those before, and answers what came back in order. So many
 * small requests are under way with one thread that sleeps once for several of
 * them. Whatever may take a while it does itself, having let another thread lead
 * before: a request of many pages, a flush, a sector that is lost or has moved, one
 * that somebody else holds, I/O that failed. Queued I/O holds its sectors, so there is
 * always a thread to see to its end: the last one that could does so first.
 *
 * Requests are read into buffers placed so that the payload of a write is aligned
 * for direct I/O, and without cloned descriptors, whose closing would abort
 * requests.
 */
#ifndef FUSE_SERVE_H
#define FUSE_SERVE_H

#include "fuse/image.h"
#include "remapfs/error.h"

struct service;

/*
 * Starts the threads for a session that is mounted and outlives them. -EAGAIN,
 * -ENOMEM: none runs; err has the line.
 */
int service_start(struct fuse_session *, unsigned threads, struct service **ret,
		  struct error *err);

/* Becomes readable once the threads end by themselves: the mount is gone, or broken. */
int service_end_fd(const struct service *);

/* They could not serve, and have told why. */
bool service_broken(const struct service *);

/* What was read is answered; then the threads end. NULL is allowed. */
void service_stop(struct service *);

#endif
