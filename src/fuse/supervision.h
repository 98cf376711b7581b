/*
 * What the supervisor and its workers share.
 *
 * The supervisor mounts, keeps the descriptor of /dev/fuse open, and runs one
 * worker at a time, which does everything else. When a worker dies, the mount
 * and the requests in flight live on in the kernel; the next worker adopts
 * them:
 *
 *   1. it feeds the INIT request that the supervisor read to its own
 *      libfuse session, which then knows what was negotiated (where a worker
 *      before has answered it, the kernel answers the duplicate reply with
 *      ENOENT, which libfuse ignores);
 *   2. before any of its threads reads, and unless the one before handed over
 *      in order, it asks the kernel to hand out the unanswered requests again
 *      (Linux 6.9 and later). Later, requests that its own threads work on
 *      would be handed out twice.
 *
 * A request may so be carried out twice, by the dead worker and by its
 * successor. That is harmless because it was not answered in between, and
 * because the I/O of a dead worker is over when its successor begins (queue.h,
 * supervision_map). A flush that failed is remembered here.
 *
 * Main and spares are opened and claimed once, by the supervisor before it mounts; every
 * worker inherits those descriptors. So it serves what was mounted, whatever the names
 * mean by then, and no claim is let go between two workers. By their paths it opens the
 * database's three files alone.
 */
#ifndef FUSE_SUPERVISION_H
#define FUSE_SUPERVISION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "remapfs/volume.h"

#define INIT_BYTES_MAX 1024

/* How the worker before ended. */
enum former_end { FORMER_NONE, FORMER_HANDED_OVER, FORMER_DIED };

/*
 * In memory that all of them map. After an upgrade, supervisor and worker may
 * be of different versions: the layout is part of what they agree on.
 *
 * A worker that was taken over writes what it likes there, at any time. The size of
 * the memory is sealed. The supervisor keeps a copy of its own, writes that into the
 * memory before each worker starts, and reads nothing of the memory but refused_call.
 */
#define SUPERVISION_LAYOUT 4

struct supervision {
	uint32_t layout, bytes;
	unsigned char init[INIT_BYTES_MAX]; /* the INIT request, as it came */
	uint32_t init_bytes;
	uint32_t former_end; /* enum former_end */
	char former[64];     /* the same in words, for the history */
	uint32_t deaths;     /* of workers */
	/* Upgrades that were not made, and why the last one was not. */
	char upgrade_error[200];
	atomic_uint upgrades_refused;

	/* The workers' from here on. */
	atomic_bool flush_failed; /* contract 5, for all workers */
	atomic_long refused_call; /* a system call that the worker may not make; -1: none */
	struct member_mark marks[SPARE_ID_MAX + 1]; /* of main and spares, by id */
};

/* Writes what is the supervisor's into the shared memory. */
void supervision_publish(struct supervision *shared, const struct supervision *own);

/*
 * Descriptors that a worker is started with, on its command line as a list of NAME=FD:
 * fuse, shared, volume, folder, ready, up, main, spareN for spare N, and claimN for each
 * claim of that (of main: claim0). A worker leaves those
 * that it does not know alone, so that others may come to be.
 */
struct inheritance {
	int fuse;   /* /dev/fuse, mounted */
	int shared; /* of struct supervision */
	int volume; /* holds the lock on the volume */
	int folder; /* that the volume is in: O_PATH */
	int ready;  /* a byte goes here once disk.img can be opened */
	int up;     /* what it has to say of spares: members.h */
	struct volume_member *members; /* main and spares, open and claimed */
	size_t count;
	/* What claims the storage below them: not used, but open as long as a process serves. */
	struct volume_member *claims;
	size_t claim_count;
};

/* The caller frees it. NULL: no memory. */
char *inheritance_write(const struct inheritance *);
/* false: not such a list, or one that lacks a name but spares, or no memory. */
bool inheritance_read(const char *text, struct inheritance *ret);
void inheritance_clear(struct inheritance *);
/* false: no memory. */
bool inheritance_add_claim(struct inheritance *, spare_id_t, int fd);
/* Whether programs that this process starts have them as well. */
void inheritance_pass_on(const struct inheritance *, bool pass_on);

/*
 * Maps the shared memory of a descriptor, in a worker. NULL with errno, EPROTO: another
 * layout. EAGAIN: another worker has it mapped, and still had after wait_ms. The kernel
 * unmaps that of a process only after its queued I/O is over (exit_aio), even if some
 * other program holds on to its memory when the process has been reaped: so a worker
 * that has it mapped is alone.
 */
struct supervision *supervision_map(int fd, unsigned wait_ms);
/* Whether it has the layout that this program knows. */
bool supervision_fits(int fd);
/* Makes it, with *own as its content. The descriptor, or -errno. */
int supervision_create(struct supervision *own, struct supervision **ret);

#endif
