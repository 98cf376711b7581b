/*
 * What the supervisor and its workers share.
 *
 * The supervisor mounts, keeps the descriptor of /dev/fuse open, and runs one
 * worker at a time, which does everything else. When a worker dies, the mount
 * and the requests in flight live on in the kernel; the next worker adopts
 * them:
 *
 *   1. it feeds the INIT request that the first one remembered to its own
 *      libfuse session, which then knows what was negotiated (the kernel
 *      answers the duplicate reply with ENOENT, which libfuse ignores);
 *   2. before any of its threads reads, and unless the one before handed over
 *      in order, it asks the kernel to hand out the unanswered requests again
 *      (Linux 6.9 and later). Later, requests that its own threads work on
 *      would be handed out twice.
 *
 * A request may so be carried out twice, by the dead worker and by its
 * successor. That is harmless because it was not answered in between, and
 * because the I/O of a dead worker is over when it has been reaped, in threads as
 * well as queued (queue.h). A flush that failed is remembered here.
 */
#ifndef FUSE_SUPERVISION_H
#define FUSE_SUPERVISION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define INIT_BYTES_MAX 1024

/* How the worker before ended. */
enum former_end { FORMER_NONE, FORMER_HANDED_OVER, FORMER_DIED };

/*
 * In memory that all of them map. After an upgrade, supervisor and worker may
 * be of different versions: the layout is part of what they agree on.
 */
#define SUPERVISION_LAYOUT 2

struct supervision {
	uint32_t layout, bytes;
	/* The INIT request, as it came; written once, by the first worker. */
	unsigned char init[INIT_BYTES_MAX];
	uint32_t init_bytes;
	atomic_bool init_answered;
	bool background;          /* messages go to syslog from now on */
	atomic_bool flush_failed; /* contract 5, for all workers */
	uint32_t former_end;      /* enum former_end */
	char former[64];          /* the same in words, for the history */
	uint32_t deaths;          /* of workers */
};

/*
 * A worker that makes a system call which it is not allowed dies of SIGSYS; it
 * leaves word of which one in `former`, where the supervisor finds it. The first
 * may be called in a signal handler.
 */
void supervision_note_refusal(struct supervision *, long number);
/* The number that the worker that died has left, or -1. */
long supervision_refusal(const struct supervision *);

/* Descriptors that a worker is started with, on its command line. */
struct inheritance {
	int fuse;   /* /dev/fuse, mounted */
	int shared; /* of struct supervision */
	int volume; /* holds the lock on the volume */
	int ready;  /* a byte goes here once disk.img can be opened */
};

/* "3:4:5:6" and back; the text holds at least 64 bytes. false: not of that form. */
void inheritance_write(char *text, const struct inheritance *);
bool inheritance_read(const char *text, struct inheritance *ret);

/* Maps the shared memory of a descriptor; NULL with errno, EPROTO: another layout. */
struct supervision *supervision_map(int fd);
/* Makes it. The descriptor, or -errno. */
int supervision_create(struct supervision **ret);

#endif
