/*
 * upgrade: a mounted volume goes on with another worker, of the program as it is now. What
 * is signalled is the parent of the process that answered, if it is of the same user, and
 * never a number that an answer says.
 */
#include "ctl/ctl.h"
#include "ctl/peer.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>

#define WAIT_MS 60000

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl upgrade [options] <volume>\n"
    "\n"
    "Let the process that serves a mounted volume finish what it has begun and hand\n"
    "over to a new one, started from the installed program. The mount stays, and its\n"
    "users only wait a moment. Needs Linux 6.9 or later.\n"
    "\n"
    "Options:\n"
    " -h, --help  display this help\n"
    "\n"
    "Example:\n"
    " apt-get install --only-upgrade remapfs && remapctl upgrade disk.remap\n";

struct workers {
	int supervisor; /* a pidfd, or -1 */
	bool alone;     /* it has died */
	pid_t worker;
	json_int_t refused;      /* upgrades so far */
	char error[200];         /* why the last one was */
};

/* The caller closes ret->supervisor. */
static int find_workers(const char *volume, struct workers *ret, struct error *err)
{
	struct control_peer peer = {.pidfd = -1};
	json_t *answer = NULL;
	int rc = peer_status(volume, &peer, &answer, err);

	ret->supervisor = -1;
	if (rc == 0) {
		pid_t pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));

		ret->worker = (pid_t)json_integer_value(json_object_get(answer, "worker_pid"));
		ret->refused = json_integer_value(json_object_get(answer, "upgrades_refused"));
		snprintf(ret->error, sizeof(ret->error), "%s",
			 json_string_length(json_object_get(answer, "upgrade_error"))
				 ? json_string_value(json_object_get(answer, "upgrade_error")) : "");
		ret->alone = pid == ret->worker;
		if (!ret->alone)
			peer_supervisor(&peer, &ret->supervisor);
		if (ret->worker <= 1 && json_object_get(answer, "troubles"))
			rc = error_set(err, EAGAIN, "no worker of '%s' serves yet; see 'remapctl status'",
				       volume);
		else if (ret->worker <= 1)
			rc = error_set(err, EPROTO, "the daemon of '%s' does not name its processes; "
				       "mount anew", volume);
	}
	control_peer_release(&peer);
	json_decref(answer);
	return rc;
}

static bool has_ended(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return poll(&ended, 1, 0) > 0;
}

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* Waits for a worker that is not the former one. */
static int wait_for_successor(const char *volume, const struct workers *before)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000000};
	time_t end = seconds_now() + WAIT_MS / 1000;

	while (seconds_now() < end) {
		struct workers now;

		int rc = find_workers(volume, &now, NULL);

		cleanup_close(&now.supervisor);
		if (rc == 0 && now.refused != before->refused)
			return refuse_text("not upgraded, the mount goes on: %s", now.error);
		if (rc == 0 && now.worker != before->worker) {
			printf("handed over from process %d to %d\n", (int)before->worker,
			       (int)now.worker);
			return EXIT_DONE;
		}
		if (has_ended(before->supervisor))
			return refuse_text("the daemon of '%s' has ended; see 'remapctl history' and "
					   "mount anew", volume);
		nanosleep(&pause, NULL);
	}
	return refuse_text("no other worker of '%s' answers within %d s; see 'remapctl status'",
			   volume, WAIT_MS / 1000);
}

/* Nobody serves it: because it is not mounted, or because it is no volume. */
static int refuse_unserved(const char *volume)
{
	struct store *store;
	struct error err = {0};

	if (store_open(volume, STORE_READ, &store, &err) < 0)
		return refuse(&err);
	store_close(store);
	return refuse_text("volume '%s' is not mounted, so there is nothing to hand over; the next "
			   "mount takes the installed program", volume);
}

static int hand_over(const char *volume, const struct workers *workers)
{
	if (workers->alone)
		return refuse_text("the supervisor of '%s' has died, so nothing can be handed over; "
				   "unmount and mount anew", volume);
	if (workers->supervisor < 0)
		return refuse_text("the process that answers for '%s' has no supervisor of its own user "
				   "that can be seen from here; send SIGUSR2 to that as whoever mounted it",
				   volume);
	if (pidfd_send_signal(workers->supervisor, SIGUSR2, NULL, 0) < 0)
		return refuse_text("cannot signal the daemon of '%s': %s; run as the user who mounted "
				   "it", volume, strerror(errno));
	return wait_for_successor(volume, workers);
}

static int upgrade(const char *volume)
{
	struct workers before;
	struct error err = {0};
	/* The database is not asked: a new worker may be what mends it. */
	int rc = find_workers(volume, &before, &err), result;

	if (rc == -ENOENT || rc == -ECONNREFUSED)
		return refuse_unserved(volume);
	result = rc < 0 ? refuse(&err) : hand_over(volume, &before);
	cleanup_close(&before.supervisor);
	return result;
}

int run_upgrade(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	static const char *const names[] = {"VOLUME"};
	int c, rc;

	while ((c = next_option("upgrade", argc, argv, ":h", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		return EXIT_MISUSED;
	}
	rc = check_operands("upgrade", argc, argv, 1, 1, names);
	return rc ? rc : upgrade(argv[optind]);
}
