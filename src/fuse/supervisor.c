#include "fuse/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "confine/confine.h"
#include "fuse/deaths.h"
#include "fuse/members.h"
#include "fuse/notify.h"
#include "fuse/session.h"
#include "fuse/supervision.h"
#include "fuse/worker_log.h"
#include "remapfs/cleanup.h"
#include "remapfs/log.h"
#include "remapfs/volume.h"

#define LAST_WORDS 16  /* what a worker says of spares and does not wait for */
#define PROBE_MS 10000 /* what a program may take to say that it could be a worker */

struct supervisor {
	const struct options *options;
	const char *path; /* the file that an upgrade starts workers from */
	int program;      /* what they are started from; it has served, or is this one */
	int candidate;    /* of an upgrade: the next one is started from this; -1: none */
	bool trying;      /* the worker is the first one of the candidate */
	struct supervision own, *shared; /* what the workers shall know; their copy of it */
	int shared_fd, volume_fd, folder_fd, signals;
	struct volume_hold *hold; /* main and spares */
	struct session *session;
	void (*ready)(void); /* NULL once called */

	pid_t worker, trial, probe; /* 0: none */
	int64_t start_at;  /* when to start a worker; 0: there is one */
	int64_t probe_end; /* when the probe is ended */
	int ready_fd; /* of the worker; -1: it has told, or ended */
	int up_fd;    /* of what it says of spares; -1: it has ended */
	struct worker_log log;
	bool serving; /* the worker has told that it serves */
	struct deaths deaths;
	bool handover;  /* was asked for, and is yet to be done */
	unsigned asked; /* how often to end */
	int code;       /* to end with when it was asked twice */
};

/* The worker's ends of what it is connected by. */
struct ends {
	int ready, up, log;
};

/* ---- starting a worker ------------------------------------------------------------------- */

/* The caller clears it. false: no memory. */
static bool list_members(const struct supervisor *s, struct inheritance *i)
{
	i->count = volume_hold_count(s->hold);
	i->members = calloc(i->count, sizeof(*i->members));
	for (size_t m = 0; i->members && m < i->count; m++)
		i->members[m] = volume_hold_member(s->hold, m);
	return i->members;
}

/*
 * In a child, where each gets a copy: members may share a claim. Without memory the claims
 * end with this process, as before.
 */
static void copy_claims(const struct supervisor *s, struct inheritance *i)
{
	int fds[FILE_DEVICE_CLAIMS];

	for (size_t m = 0; m < i->count; m++) {
		size_t count = volume_hold_claims(s->hold, m, fds);

		for (size_t c = 0; c < count; c++) {
			int copy = fcntl(fds[c], F_DUPFD_CLOEXEC, 0);

			if (copy >= 0)
				inheritance_add_claim(i, i->members[m].id, copy);
		}
	}
}

static int64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* In a child. What it is started with must stay open, as for a script's interpreter. */
static void exec_program(int program, const char *const *argv) __attribute__((noreturn));
static void exec_program(int program, const char *const *argv)
{
	sigset_t kept;

	/* What ends a worker stays blocked until it is ready for it. */
	sigemptyset(&kept);
	sigaddset(&kept, SIGTERM);
	sigaddset(&kept, SIGINT);
	sigaddset(&kept, SIGHUP);
	sigprocmask(SIG_SETMASK, &kept, NULL);
	fcntl(program, F_SETFD, 0);
	fexecve(program, (char *const *)(uintptr_t)argv, environ);
	log_error("cannot start a worker: %s; put the program back", strerror(errno));
	_exit(EXIT_SYSTEM);
}

/* In a child. With probe the program only says whether it could be a worker. */
static void exec_worker(const struct supervisor *s, int program, const struct ends *ends, bool probe)
	__attribute__((noreturn));
static void exec_worker(const struct supervisor *s, int program, const struct ends *ends, bool probe)
{
	struct inheritance fds = {.fuse = session_fd(s->session), .shared = s->shared_fd,
				  .volume = s->volume_fd, .folder = s->folder_fd,
				  .ready = ends->ready, .up = ends->up};
	bool listed = list_members(s, &fds);
	CLEANUP_FREE char *list = NULL;

	/* A probe that never ends is killed, and must not hold what it does not use. */
	if (listed && !probe)
		copy_claims(s, &fds);
	list = listed ? inheritance_write(&fds) : NULL;
	const char *const argv[] = {"remapfs", "--worker", list, s->options->debug ? "-d" : "-f", "-o",
				    s->options->list, probe ? "--probe" : "--", s->options->volume,
				    s->options->mountpoint, NULL};

	if (!list || (!probe && worker_log_enter(ends->log) < 0))
		_exit(EXIT_SYSTEM);
	inheritance_pass_on(&fds, true);
	if (probe)
		fcntl(fds.fuse, F_SETFD, FD_CLOEXEC);
	exec_program(program, argv);
}

static void close_channel(int *fd)
{
	cleanup_close(fd);
	*fd = -1;
}

static void close_channels(struct supervisor *s)
{
	close_channel(&s->ready_fd);
	close_channel(&s->up_fd);
	worker_log_end(&s->log);
}

static void close_ends(struct ends *e)
{
	close_channel(&e->ready);
	close_channel(&e->up);
	close_channel(&e->log);
}

/* Makes the channels to a worker. -errno: what was made is to be closed as well. */
static int make_channels(struct supervisor *s, struct ends *ends)
{
	bool debug = s->options->debug;
	int pair[2], rc;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	s->ready_fd = pair[0];
	ends->ready = pair[1];
	rc = members_socket(pair);
	if (rc < 0)
		return rc;
	s->up_fd = pair[0];
	ends->up = pair[1];
	ends->log = worker_log_begin(&s->log, debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, debug);
	return ends->log < 0 ? ends->log : 0;
}

/* -errno: there is none. */
static int start_worker(struct supervisor *s)
{
	struct ends ends = {-1, -1, -1};
	int rc = make_channels(s, &ends);

	s->trying = s->candidate >= 0 && s->probe == 0;
	supervision_publish(s->shared, &s->own);
	atomic_store(&s->shared->refused_call, -1);
	s->worker = rc < 0 ? -1 : fork();
	if (s->worker == 0)
		exec_worker(s, s->trying ? s->candidate : s->program, &ends, false);
	rc = rc < 0 ? rc : s->worker < 0 ? -errno : 0;
	close_ends(&ends);
	if (rc < 0) {
		s->worker = 0;
		close_channels(s);
		return rc;
	}
	s->serving = false;
	s->start_at = 0;
	return 0;
}

/* Ends worker and mount without waiting for anybody; s->code is the exit code. */
static void end_now(struct supervisor *s)
{
	s->asked = 2;
	if (s->worker > 0)
		kill(s->worker, SIGKILL);
	if (s->trial > 0)
		kill(s->trial, SIGKILL);
	s->start_at = 0;
	session_unmount_lazily(s->session);
}

/* ---- its end ---------------------------------------------------------------------------------- */

static void describe_end(struct supervisor *s, int status)
{
	char *former = s->own.former;
	size_t size = sizeof(s->own.former);
	bool refused = WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS;
	long call = atomic_load(&s->shared->refused_call);

	/* A thread that had blocked the signal could not leave word. */
	if (refused && call >= 0)
		snprintf(former, size, "made system call %ld, which it may not", call);
	else if (refused)
		snprintf(former, size, "made a system call that it may not");
	else if (WIFSIGNALED(status))
		snprintf(former, size, "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == EXIT_HANDOVER)
		snprintf(former, size, "handed over");
	else
		snprintf(former, size, "ended with code %d", WEXITSTATUS(status));
}

static void give_up(struct supervisor *s, const char *why)
{
	struct event event = {.kind = EVENT_GAVE_UP};

	snprintf(event.detail, sizeof(event.detail), "the worker %s; %s", s->own.former, why);
	log_error("%s: the mount ends; see the messages before, and the history, then mount anew",
		  event.detail);
	if (volume_note(s->options->volume, &event) < 0)
		log_error("that could not be recorded in the history; check the disk that the database is "
			  "on");
}

/* One has died, or none could be started: whether it is tried again. */
static bool may_try_again(struct supervisor *s, bool killed)
{
	int64_t now = monotonic_ms();
	int pause;

	if (!session_can_resend(&s->own)) {
		give_up(s, "this kernel cannot hand its requests to another one (Linux 6.9 can)");
		return false;
	}
	pause = deaths_note(&s->deaths, s->serving, killed, now);
	if (pause < 0) {
		give_up(s, "that happens again and again");
		return false;
	}
	/* What it served is accounted for: the next try may fail without a new worker. */
	s->serving = false;
	s->start_at = now + pause;
	return true;
}

/* Returns an exit code, or -1 to go on. */
static int start_when_due(struct supervisor *s)
{
	int rc = s->start_at && monotonic_ms() >= s->start_at ? start_worker(s) : 0;

	if (rc == 0)
		return -1;
	log_warning("another worker could not be started: %s; end other programs", strerror(-rc));
	return may_try_again(s, false) ? -1 : EXIT_SYSTEM;
}

/* ---- another program ------------------------------------------------------------------ */

/* Told to whoever asked for it, through the worker: remapctl upgrade. */
static void refuse_upgrade(struct supervisor *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void refuse_upgrade(struct supervisor *s, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(s->own.upgrade_error, sizeof(s->own.upgrade_error), format, args);
	va_end(args);
	atomic_fetch_add(&s->own.upgrades_refused, 1);
	supervision_publish(s->shared, &s->own);
	log_error("no upgrade: %s", s->own.upgrade_error);
	cleanup_close(&s->candidate);
	s->candidate = -1;
}

/* One that does not start, or is no remapfs, would take the mount with it. */
static void start_probe(struct supervisor *s)
{
	s->candidate = open(s->path, O_RDONLY | O_CLOEXEC);
	if (s->candidate < 0) {
		refuse_upgrade(s, "cannot open '%.100s': %s; put the program back", s->path,
			       strerror(errno));
		return;
	}
	supervision_publish(s->shared, &s->own);
	s->probe = fork();
	if (s->probe == 0)
		exec_worker(s, s->candidate, &(struct ends){s->shared_fd, s->shared_fd, -1}, true);
	s->probe_end = monotonic_ms() + PROBE_MS;
	if (s->probe > 0)
		return;
	s->probe = 0;
	refuse_upgrade(s, "cannot start a process: %s; end other programs", strerror(errno));
}

/*
 * The candidate was asked. A worker that only begins to serve, or waits for what it needs, is
 * let be until it serves: it would not end in order. One that is yet to be started is the
 * candidate's.
 */
static void give_way(struct supervisor *s)
{
	if (s->candidate < 0 || s->probe || s->trying || !s->serving || s->worker == 0)
		return;
	log_notice("handing over to a new worker");
	kill(s->worker, SIGTERM);
}

static void probe_ended(struct supervisor *s, int status)
{
	s->probe = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		give_way(s);
	} else if (WIFEXITED(status)) {
		refuse_upgrade(s, "'%.100s' is no program that can go on (it ended with code %d); "
			       "install one that can, or unmount and mount anew", s->path,
			       WEXITSTATUS(status));
	} else {
		refuse_upgrade(s, "'%.100s' does not start, or not in time (SIG%s); install one that "
			       "does", s->path, sigabbrev_np(WTERMSIG(status)));
	}
}

/*
 * Whether disk.img can be opened: only then is the mount told to be there. Tried
 * by a process of its own, without the descriptor that requests are read from:
 * one that waits for itself could not even be killed.
 */
static void start_trial(struct supervisor *s)
{
	char path[PATH_MAX];

	s->trial = fork();
	if (s->trial < 0) {
		log_error("cannot start a process to look at the mount: %s; end other programs",
			  strerror(errno));
		s->trial = 0;
		s->code = EXIT_SYSTEM;
		end_now(s);
		return;
	}
	if (s->trial > 0)
		return;
	close(session_fd(s->session));
	snprintf(path, sizeof(path), "%s/%s", s->options->mountpoint, IMAGE_NAME);
	_exit(open(path, O_RDONLY | O_CLOEXEC) < 0 ? errno & 0xff : 0);
}

/* Returns an exit code, or -1 to go on. */
static int trial_ended(struct supervisor *s, int status)
{
	s->trial = 0;
	/* It was ended with the mount, which may have made it fail as well. */
	if (s->asked > 1)
		return -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		s->ready();
		s->ready = NULL;
		return -1;
	}
	log_error("mounted, but '%s/%s' cannot be opened: %s; check the mount options",
		  s->options->mountpoint, IMAGE_NAME,
		  WIFEXITED(status) ? strerror(WEXITSTATUS(status)) : "killed");
	s->code = EXIT_MOUNT;
	end_now(s);
	return -1;
}

/* One that is only beginning to serve is let begin: it would not end in order. */
static void hand_over(struct supervisor *s)
{
	if (!s->handover || s->worker == 0 || !s->serving || s->probe || s->candidate >= 0)
		return;
	s->handover = false;
	start_probe(s);
}

/* The pipe of the worker has a word, or has been closed by its end. */
static void worker_ready(struct supervisor *s)
{
	char word;

	/* Before the mount is told to be there: who started it may close the terminal. */
	worker_log_pass(&s->log);
	s->serving = read(s->ready_fd, &word, 1) == 1;
	s->deaths.served_since = monotonic_ms();
	close_channel(&s->ready_fd);
	if (s->serving && s->ready && s->trial == 0 && s->asked < 2)
		start_trial(s);
	if (s->serving && !s->ready)
		notify_service("STATUS=serving; the worker before %s", s->own.former);
	if (s->serving && s->trying) {
		close(s->program);
		s->program = s->candidate;
		s->candidate = -1;
		s->trying = false;
	}
	give_way(s);
	hand_over(s);
}

/* Called when the worker has ended. Returns an exit code, or -1 to go on. */
static int worker_ended(struct supervisor *s, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	bool killed = WIFSIGNALED(status) &&
		      (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGBUS);

	s->worker = 0;
	if (s->ready_fd >= 0)
		worker_ready(s);
	/* What it said last counts: a row may follow. */
	for (int i = 0; s->up_fd >= 0 && i < LAST_WORDS && members_serve(s->up_fd, s->hold); i++)
		;
	close_channels(s);
	if (s->asked > 1)
		return s->code;
	/* That the mount is gone is for the kernel to say. */
	if ((code == EXIT_DONE || code == EXIT_UNCLEAN) && session_is_gone(s->session))
		return code == EXIT_DONE ? EXIT_DONE : EXIT_SYSTEM;
	describe_end(s, status);
	/* One that never served was never relied upon; if it ended, it told why. */
	if (s->ready) {
		if (code <= 0)
			log_error("the worker %s before it served; see the system's log",
				  s->own.former);
		return code <= 0 ? EXIT_SYSTEM : code;
	}
	/*
	 * One that only waited answered nothing of what a dead one before it had begun. A new
	 * program that ended by itself before it served took no request over.
	 */
	if (code == EXIT_HANDOVER && s->serving)
		s->own.former_end = FORMER_HANDED_OVER;
	else if (code != EXIT_HANDOVER && !(s->trying && !s->serving && code >= 0))
		s->own.former_end = FORMER_DIED;
	if (code == EXIT_HANDOVER) {
		s->start_at = monotonic_ms();
		if (s->serving)
			deaths_note(&s->deaths, true, true, s->start_at);
	} else if (s->trying) {
		refuse_upgrade(s, "the worker of '%.80s' %s before it served; the former program goes "
			       "on, install another one", s->path, s->own.former);
		s->start_at = monotonic_ms();
	} else {
		s->own.deaths++;
		log_warning("the worker %s: starting another one; if that happens again, report it with "
			    "these messages", s->own.former);
		if (!may_try_again(s, killed))
			return EXIT_SYSTEM;
	}
	notify_service("STATUS=the worker %s; starting another one", s->own.former);
	return -1;
}

/* ---- what comes up ------------------------------------------------------------------------------- */

/* Several children's ends may come as one signal. */
static int child_ended(struct supervisor *s)
{
	int status, code = -1;

	if (s->trial > 0 && waitpid(s->trial, &status, WNOHANG) == s->trial)
		code = trial_ended(s, status);
	if (s->probe > 0 && waitpid(s->probe, &status, WNOHANG) == s->probe)
		probe_ended(s, status);
	if (code < 0 && s->worker > 0 && waitpid(s->worker, &status, WNOHANG) == s->worker)
		code = worker_ended(s, status);
	return code;
}

/*
 * Nothing can unmount it, and it would never be known when its last user has gone: so
 * the worker finishes what it has begun and ends, and the kernel with it.
 */
static void end_hidden(struct supervisor *s)
{
	log_warning("the mount at '%s' lies under another one, which stays: its disk is served no "
		    "longer, not even to programs that have it open; unmount both with umount",
		    s->options->mountpoint);
	s->asked = 2;
	if (s->worker > 0)
		kill(s->worker, SIGTERM);
}

/* Before it was told to be there, a mount has no users to wait for. */
static void asked_to_end(struct supervisor *s)
{
	if (s->ready) {
		s->code = EXIT_INTERRUPTED;
		end_now(s);
	} else if (s->asked == 0 && session_is_hidden(s->session)) {
		end_hidden(s);
	} else if (s->asked++ == 0) {
		log_notice("unmounting");
		notify_service("STOPPING=1\nSTATUS=unmounted; waiting for the programs that have "
			       "disk.img open");
		session_unmount_lazily(s->session);
	} else if (s->worker > 0) {
		log_notice("ending with files still open");
		notify_service("STATUS=ending with files still open");
		kill(s->worker, SIGTERM);
	}
}

static int on_signal(struct supervisor *s, const struct signalfd_siginfo *info)
{
	if (info->ssi_signo == SIGCHLD)
		return child_ended(s);
	if (info->ssi_signo == SIGUSR2) {
		s->handover = true;
		hand_over(s);
	} else {
		asked_to_end(s);
	}
	return -1;
}

static int signal_source(void)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR2};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Until something comes up, or the time for something has come; -1: no such time. */
static int patience_ms(const struct supervisor *s)
{
	int64_t now = monotonic_ms(), until = s->start_at ? s->start_at : INT64_MAX;

	if (s->probe && s->probe_end < until)
		until = s->probe_end;
	return until == INT64_MAX ? -1 : until > now ? (int)(until - now) : 0;
}

/* Without a worker nobody else learns that the mount has gone. */
static int has_gone(void)
{
	log_error("unmounted while no worker served; nothing that was acknowledged is lost, mount "
		  "anew");
	return EXIT_SYSTEM;
}

static int supervise(struct supervisor *s)
{
	int code = -1;

	while (code < 0) {
		struct pollfd polls[] = {{.fd = s->signals, .events = POLLIN},
					 {.fd = s->ready_fd, .events = POLLIN},
					 {.fd = s->up_fd, .events = POLLIN},
					 worker_log_poll(&s->log),
					 {.fd = s->worker ? -1 : session_fd(s->session)}};
		struct signalfd_siginfo info;

		if (poll(polls, 5, patience_ms(s)) < 0)
			continue;
		if (polls[3].revents)
			worker_log_pass(&s->log);
		if (polls[1].revents)
			worker_ready(s);
		if (polls[2].revents && !members_serve(s->up_fd, s->hold))
			close_channel(&s->up_fd);
		if (s->probe && monotonic_ms() >= s->probe_end)
			kill(s->probe, SIGKILL);
		if (read(s->signals, &info, sizeof(info)) == sizeof(info))
			code = on_signal(s, &info);
		if (code < 0 && s->worker == 0 && s->asked > 1)
			code = s->code;
		else if (code < 0 && s->worker == 0 && (polls[4].revents & POLLERR))
			code = has_gone();
		else if (code < 0)
			code = start_when_due(s);
	}
	return code;
}

/* After mounting, which it then may not any more. */
static void confine(const struct options *options)
{
	char refused[256] = "";

	if (!options->unconfined)
		confine_supervisor(refused, sizeof(refused));
	if (refused[0])
		log_notice("the supervisor is not confined as it should be: %s; use a kernel, or a "
			   "container, that allows it", refused);
}

/* The folder that the locked volume is in, whatever its path leads to later. Or -1. */
static int open_folder(const char *volume, int volume_fd, struct error *err)
{
	const char *slash = strrchr(volume, '/');
	CLEANUP_FREE char *folder = strndup(volume, (size_t)(slash - volume) + 1);
	int fd = folder ? open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	struct stat locked, there;

	if (fd >= 0 && fstat(volume_fd, &locked) == 0 &&
	    fstatat(fd, slash + 1, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    locked.st_dev == there.st_dev && locked.st_ino == there.st_ino)
		return fd;
	error_set(err, ESTALE, "volume '%s' was moved, deleted or replaced; check the path and mount "
		  "anew", volume);
	cleanup_close(&fd);
	return -1;
}

int supervisor_run(const struct options *options, int volume_fd, void (*ready)(void))
{
	CLEANUP_FREE char *program = realpath("/proc/self/exe", NULL);
	struct supervisor s = {.options = options, .path = program, .volume_fd = volume_fd,
			       .program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
			       .candidate = -1, .ready = ready, .ready_fd = -1, .up_fd = -1,
			       .log = {.fd = -1},
			       .deaths.unserved_since = monotonic_ms()};
	struct error err = {""};
	int code = EXIT_MOUNT, rc;

	s.shared_fd = program ? supervision_create(&s.own, &s.shared) : -errno;
	s.signals = signal_source();
	if (s.shared_fd < 0 || s.signals < 0 || s.program < 0) {
		log_error("cannot set up: %s; end other programs", strerror(errno));
		return EXIT_SYSTEM;
	}
	s.folder_fd = open_folder(options->volume, volume_fd, &err);
	if (s.folder_fd < 0 ||
	    volume_hold_open(options->volume, options->read_only, LOCK_WAIT_MS, &s.hold, &err) < 0 ||
	    session_mount(options, &s.own, &s.session, &err) < 0) {
		log_error("%s", err.text);
		volume_hold_close(s.hold);
		return EXIT_MOUNT;
	}
	confine(options);
	rc = start_worker(&s);
	if (rc == 0)
		code = supervise(&s);
	else
		log_error("cannot start a worker: %s; end other programs", strerror(-rc));
	session_end(s.session);
	volume_hold_close(s.hold);
	return code;
}
