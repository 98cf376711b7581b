#include "fuse/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "confine/confine.h"
#include "fuse/answer.h"
#include "fuse/image.h"
#include "fuse/members.h"
#include "fuse/session.h"
#include "fuse/supervision.h"
#include "fuse/survive.h"
#include "remapfs/cleanup.h"
#include "remapfs/control.h"
#include "remapfs/log.h"
#include "remapfs/store.h"

struct worker {
	const struct options *options;
	char unconfined[256]; /* the measures that were refused */
	struct inheritance inherited;
	struct volume_members members; /* the same, for the volume */
	struct supervision *shared;
	struct image image;
	struct answering answering;
	struct session *session;
	struct control_server *control;
};

/* Users wait for it that another worker served. */
static bool is_successor(const struct worker *w)
{
	return w->shared->former_end != FORMER_NONE;
}

/*
 * The lock that the supervisor holds is on a file, not on a name: another one
 * under that name is not locked, and not what was mounted.
 */
static int check_not_replaced(const struct worker *w, struct error *err)
{
	struct stat locked, there;

	if (fstat(w->inherited.volume, &locked) == 0 && stat(w->options->volume, &there) == 0 &&
	    locked.st_dev == there.st_dev && locked.st_ino == there.st_ino)
		return 0;
	return error_set(err, ESTALE, "volume '%s' was moved, deleted or replaced while mounted; "
			 "move it back", w->options->volume);
}

static int open_volume(struct worker *w, bool *database_failed, struct error *err)
{
	char opener[200];
	const struct volume_options o = {
		.read_only = w->options->read_only,
		.no_remap = w->options->no_remap,
		.isolation_ms = w->options->isolation_ms,
		.lock_wait_ms = LOCK_WAIT_MS,
		.locked = true,
		.members = &w->members,
		.successor = is_successor(w),
		.database_failed = database_failed,
		.flush_failed = &w->shared->flush_failed,
		.opener = opener,
	};
	int rc;

	snprintf(opener, sizeof(opener), "remapfs %s, worker %d%s%s%s%s", REMAPFS_VERSION,
		 (int)getpid(), o.read_only ? ", ro" : "", o.no_remap ? ", noremap" : "",
		 w->shared->former[0] ? ", the one before " : "", w->shared->former);
	w->members = (struct volume_members){w->inherited.members, w->inherited.count, w->shared->marks,
					     members_joined, members_left, &w->inherited};
	rc = check_not_replaced(w, err);
	*database_failed = rc < 0;
	rc = rc < 0 ? rc : volume_open(w->options->volume, &o, &w->image.volume, err);
	if (rc < 0)
		return rc;
	w->image.read_only = w->options->read_only;
	w->image.uid = geteuid();
	w->image.gid = getegid();
	clock_gettime(CLOCK_REALTIME, &w->image.since);
	return 0;
}

static int tell_ready(struct worker *w, struct error *err)
{
	int rc = 0;

	if (write(w->inherited.ready, "r", 1) != 1)
		rc = error_set(err, EPIPE, "the supervisor has ended; mount anew");
	close(w->inherited.ready);
	return rc;
}

/* ---- least privilege ------------------------------------------------------------ */

static struct supervision *to_tell; /* who ends for a refused call has nothing else */

static void tell_refusal(long number)
{
	static const char line[] = "<3>a system call that is not allowed was made; the process ends\n";

	atomic_store(&to_tell->refused_call, number);
	if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
		return;
}

/* The folder of the volume, for the temporary files of SQLite as well. */
static void confine_to(struct worker *w, char *refused, size_t size)
{
	CLEANUP_FREE char *copy = strdup(w->options->volume);
	CLEANUP_FREE char *path = control_folder(w->options->volume);
	CLEANUP_CLOSE int sockets =
		path ? open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

	setenv("SQLITE_TMPDIR", copy ? dirname(copy) : "/", 1);
	confine_files(w->inherited.folder, sockets, refused, size);
}

/* Without it the socket cannot be made, which says why. */
static void make_control_folder(const struct worker *w)
{
	CLEANUP_FREE char *folder = control_folder(w->options->volume);

	if (folder && mkdir(folder, 0700) < 0 && errno != EEXIST)
		log_debug("cannot make '%s': %s", folder, strerror(errno));
}

/*
 * Before the first thread, and before anything of the volume is used. Main and spares
 * are open, and the control socket is made: nothing but the database is left to be opened.
 */
static void confine(struct worker *w)
{
	char refused[sizeof(w->unconfined)] = "";

	if (w->options->unconfined)
		return;
	to_tell = w->shared;
	/* Messages name the local time, whose file cannot be opened later. */
	tzset();
	confine_calls(tell_refusal, w->inherited.up, w->unconfined, sizeof(w->unconfined));
	confine_to(w, refused, sizeof(refused));
	if (refused[0]) {
		size_t used = strlen(w->unconfined);

		snprintf(w->unconfined + used, sizeof(w->unconfined) - used, "%s%s",
			 used ? ", " : "", refused);
	}
}

/* ---- serving ---------------------------------------------------------------------- */

/* What the user should know of a mount that works. */
static void tell_limits(const struct worker *w, const char *refused)
{
	if (is_successor(w))
		return;
	if (geteuid() != 0 && !w->options->allow_root && !w->options->allow_other)
		log_notice("root cannot enter this mount, so losetup will not work on it: for that, "
			   "add user_allow_other to /etc/fuse.conf");
	if (refused[0])
		log_notice("no guard against memory pressure: %s; it takes root with "
			   "CAP_SYS_RESOURCE", refused);
	if (w->unconfined[0])
		log_notice("the worker is not confined as it should be: %s; use a kernel, or a "
			   "container, that allows it", w->unconfined);
}

/* Users of a successor do not need it. */
static int or_go_without(const struct worker *w, int rc, const struct error *err)
{
	if (rc == 0 || !is_successor(w))
		return rc;
	log_warning("%s; until then remapctl gets no answer", err->text);
	return 0;
}

static int prepare_control(struct worker *w, struct error *err)
{
	return or_go_without(w, control_prepare(w->options->volume, &w->control, err), err);
}

static int serve_control(struct worker *w, struct error *err)
{
	struct control_handler handler = answers(&w->answering);

	return w->control ? or_go_without(w, control_start(w->control, &handler, err), err) : 0;
}

#define DATABASE_RETRY_MS 1000

/* Not of the volume: another try may have it. */
static bool is_of_the_moment(int rc)
{
	return rc == -ENOMEM || rc == -EAGAIN;
}

/*
 * A successor has users who wait for it already: what the database, or the machine, cannot
 * do now is no reason to end their mount. It tries until that works, and tells so meanwhile; their
 * requests stay in the kernel. -EINTR: *ret_ended says what came before.
 */
static int open_in_time(struct worker *w, enum session_end *ret_ended, struct error *err)
{
	bool database_failed;
	int rc = is_successor(w) ? serve_control(w, err) : 0;

	while (rc == 0 && (rc = open_volume(w, &database_failed, err)) < 0 && is_successor(w) &&
	       (database_failed || is_of_the_moment(rc))) {
		log_warning("%s; until then the requests of the mount wait", err->text);
		answering_waits(&w->answering, err->text);
		rc = session_pause(w->inherited.fuse, DATABASE_RETRY_MS, ret_ended) ? 0 : -EINTR;
	}
	return rc;
}

static int start(struct worker *w, const char *refused, struct error *err)
{
	int rc = session_adopt(&w->image, w->options, w->inherited.fuse, w->shared, &w->session,
			       err);

	rc = rc < 0 ? rc : serve_control(w, err);
	answering_serves(&w->answering, w->image.volume);
	rc = rc < 0 ? rc : session_start(w->session, w->options->threads, err);
	if (rc < 0)
		return rc;
	volume_scrub_continue(w->image.volume);
	tell_limits(w, refused);
	return tell_ready(w, err);
}

static int serve(struct worker *w, struct error *err)
{
	char refused[256];
	enum session_end ended = SESSION_BROKEN;
	int rc, end;

	/* Before the first thread: some of it is inherited, not shared. */
	survive(refused, sizeof(refused));
	make_control_folder(w);
	if (prepare_control(w, err) < 0) {
		control_stop(w->control);
		return EXIT_MOUNT;
	}
	confine(w);
	answering_begin(&w->answering, w->options, w->shared, w->inherited.fuse);
	rc = open_in_time(w, &ended, err);
	if (rc < 0) {
		control_stop(w->control);
		return rc != -EINTR ? EXIT_MOUNT
		       : ended == SESSION_GONE ? EXIT_UNCLEAN : EXIT_HANDOVER;
	}
	err->text[0] = 0;
	rc = start(w, refused, err);
	if (rc == 0)
		ended = session_wait(w->session);
	/* Whoever asks is answered until everything is flushed; a successor answers itself. */
	if (rc < 0 || ended != SESSION_GONE)
		control_stop(STEAL(w->control));
	answering_ends(&w->answering);
	session_end(w->session);
	end = volume_close(w->image.volume);
	control_stop(w->control);
	if (end < 0)
		log_error("the volume did not close in order (%s): see its history",
			  errno_name(-end));
	if (rc < 0)
		return EXIT_MOUNT;
	if (ended == SESSION_GONE)
		return end < 0 ? EXIT_UNCLEAN : EXIT_DONE;
	return ended == SESSION_ASKED ? EXIT_HANDOVER : EXIT_SYSTEM;
}

static bool map_shared(struct worker *w)
{
	w->shared = supervision_map(w->inherited.shared, LOCK_WAIT_MS);
	if (!w->shared && errno == EWOULDBLOCK)
		log_warning("the memory of the worker before is still held by some program, such as a "
			    "debugger: end that");
	return w->shared;
}

int worker_probe(const struct options *options)
{
	struct inheritance fds;
	bool fits;

	if (!inheritance_read(options->worker, &fds))
		return EXIT_USAGE;
	fits = supervision_fits(fds.shared);
	inheritance_clear(&fds);
	return fits ? EXIT_DONE : EXIT_USAGE;
}

int worker_run(const struct options *options)
{
	struct worker w = {.options = options};
	struct error err = {""};
	int code;

	if (!inheritance_read(options->worker, &w.inherited) || !map_shared(&w)) {
		inheritance_clear(&w.inherited);
		log_error("--worker is for the supervisor alone; use 'remapfs VOLUME MOUNTPOINT'");
		return EXIT_USAGE;
	}
	/* Nothing that this process starts shall have them. */
	inheritance_pass_on(&w.inherited, false);
	log_to_supervisor();
	if (chdir("/") < 0)
		log_warning("cannot leave the current folder; its file system cannot be unmounted before "
			    "this volume");
	prctl(PR_SET_NAME, "remapfs");
	session_block_signals();
	code = serve(&w, &err);
	inheritance_clear(&w.inherited);
	if (err.text[0])
		log_error("%s", err.text);
	return code;
}
