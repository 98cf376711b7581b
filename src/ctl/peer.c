/*
 * Puts what the kernel knows of a stranger's daemon in the place of what it says: the
 * process at the other end of the socket and its parent, and the mounts of its user. Its
 * answer only chooses among those.
 */
#include "ctl/peer.h"

#include "ctl/mounts.h"
#include "ctl/remains.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>

/* ---- processes ------------------------------------------------------------------------ */

/* The first number behind key in /proc/PID/status, or -1. */
static long long read_status(pid_t pid, const char *key)
{
	CLEANUP_FREE char *line = NULL;
	size_t room = 0, length = strlen(key);
	long long value = -1;
	char path[40];
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	status = fopen(path, "re");
	while (status && value < 0 && getline(&line, &room, status) > 0)
		if (strncmp(line, key, length) == 0 && line[length] == ':' &&
		    sscanf(line + length + 1, "%lld", &value) != 1)
			value = -1;
	if (status)
		fclose(status);
	return value;
}

static bool is_alive(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return pidfd >= 0 && poll(&ended, 1, 0) == 0;
}

/* 0: there is none of the same user. */
static pid_t parent_of(const struct control_peer *peer)
{
	long long parent = peer->pid > 0 ? read_status(peer->pid, "PPid") : -1;

	if (parent <= 0 || parent > INT_MAX || read_status((pid_t)parent, "Uid") != peer->uid)
		return 0;
	/* Otherwise the number may have been another process's already. */
	return is_alive(peer->pidfd) ? (pid_t)parent : 0;
}

int peer_supervisor(const struct control_peer *peer, int *ret_pidfd)
{
	pid_t parent = parent_of(peer);
	int fd = parent ? pidfd_open(parent, 0) : -1;

	/* It was the parent when it was opened if it still is. */
	if (fd >= 0 && parent_of(peer) == parent) {
		*ret_pidfd = fd;
		return 0;
	}
	cleanup_close(&fd);
	return -ESRCH;
}

/* ---- the answer ------------------------------------------------------------------------ */

static void correct_processes(json_t *answer, const struct control_peer *peer)
{
	const json_t *worker = json_object_get(answer, "worker_pid");
	/* It says so when its supervisor has died: whose child it is now does not matter. */
	bool alone = worker && json_equal(worker, json_object_get(answer, "pid"));
	pid_t parent = alone ? 0 : parent_of(peer);

	json_object_set_new(answer, "pid", json_integer(parent ? parent : peer->pid));
	if (worker)
		json_object_set_new(answer, "worker_pid", json_integer(peer->pid));
}

struct place {
	dev_t device;
	char point[PATH_MAX];
};

static bool is_place(const struct mount *mount, void *context)
{
	struct place *place = context;

	return mount->device == place->device &&
	       (size_t)snprintf(place->point, sizeof(place->point), "%s", mount->point) <
		   sizeof(place->point);
}

static void set_text(json_t *answer, const char *key, const char *text)
{
	json_t *string = json_string(text);

	json_object_set_new(answer, key, string ? string : json_string(""));
}

static void correct_place(json_t *answer, const struct control_peer *peer)
{
	struct place place = {.device = mount_number(answer)};
	pid_t pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));
	char image[PATH_MAX + 16] = "";
	uid_t owner;

	if (!place.device || !mounts_owner(place.device, &owner) || owner != peer->uid)
		set_text(answer, "device", "");
	else if (!mounts_find(is_place, &place) && !mounts_find_of(pid, is_place, &place))
		place.point[0] = 0;
	if (place.point[0])
		snprintf(image, sizeof(image), "%s/disk.img", place.point);
	set_text(answer, "mountpoint", place.point);
	set_text(answer, "image", image);
}

int peer_status(const char *volume, struct control_peer *ret_peer, json_t **ret_answer,
		struct error *err)
{
	struct control_peer peer;
	int rc = control_ask_status(volume, &peer, ret_answer, err);

	if (rc < 0)
		return rc;
	if (control_peer_is_stranger(&peer)) {
		correct_processes(*ret_answer, &peer);
		correct_place(*ret_answer, &peer);
	}
	if (ret_peer)
		*ret_peer = peer;
	else
		control_peer_release(&peer);
	return 0;
}
