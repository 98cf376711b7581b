/* The FUSE session: the mount, who serves it, and its end. */
#ifndef FUSE_SESSION_H
#define FUSE_SESSION_H

#include "fuse/image.h"
#include "fuse/options.h"
#include "fuse/supervision.h"

struct session;

/* In the environment of a worker: "MAJOR:MINOR" of the mounted file system. */
#define SESSION_DEVICE "REMAPFS_DEVICE"

/* ---- the supervisor's ------------------------------------------------------- */

/*
 * Mounts options->volume at options->mountpoint, both absolute, and takes the first
 * request, INIT, down in *own. err has the line.
 */
int session_mount(const struct options *options, struct supervision *own, struct session **ret,
		  struct error *err);

/* The descriptor of /dev/fuse. */
int session_fd(const struct session *);

/* Whether the kernel hands unanswered requests out again, as INIT says. */
bool session_can_resend(const struct supervision *);

/* Whether it is not mounted any more, anywhere, so that no requests come. */
bool session_is_gone(const struct session *);

/* Whether the mount lies under another one, so that no path leads to it. */
bool session_is_hidden(const struct session *);

/*
 * Takes the mount out of sight; files that are open go on being served. No-op where
 * something else is at its path.
 */
void session_unmount_lazily(const struct session *);

/* ---- the worker's ------------------------------------------------------------ */

/*
 * A session on the mounted descriptor fd, which it then owns. If there were
 * workers before, their unanswered requests are asked for again. err has the
 * line. The image must outlive the session.
 */
int session_adopt(struct image *image, const struct options *options, int fd,
		  struct supervision *shared, struct session **ret, struct error *err);

/* Starts the threads. -EAGAIN, -ENOMEM: none runs; err has the line. */
int session_start(struct session *, unsigned threads, struct error *err);

enum session_end {
	SESSION_GONE,   /* unmounted */
	SESSION_ASKED,  /* SIGTERM: what was read is answered, the rest is in the kernel */
	SESSION_BROKEN, /* a thread could not serve; it has told why */
};

/*
 * For a worker that cannot serve yet: lets ms pass. false: the mount of the descriptor fd
 * is gone, or SIGTERM came, as *ret says.
 */
bool session_pause(int fd, unsigned ms, enum session_end *ret);

/* Serves until one of these. */
enum session_end session_wait(struct session *);

/*
 * To be called before any thread is started: the signals that end a process are
 * session_wait's. SIGPIPE and SIGXFSZ are ignored; the call that would raise them fails.
 */
void session_block_signals(void);

/* ---- both ---------------------------------------------------------------------- */

/*
 * Unmounts what it mounted, if that is at its path, stops what it started, and frees.
 * NULL is allowed.
 */
void session_end(struct session *);

#endif
