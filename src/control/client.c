/*
 * The asking side. Whatever the daemon does, control_ask ends within its wait. The one
 * bound is that of silence: a daemon that carries something out shows that it is alive.
 */
#include "remapfs/control.h"

#include "control/address.h"
#include "remapfs/cleanup.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* More than any answer needs; a listener that talks for ever is not ours. */
#define ANSWER_MAX (1u << 20)

struct answer {
	char *text;
	size_t length, room;
};

/* The reason for what control_connect or the address said, and its remedy. */
static int unreachable(const char *volume_path, int code, struct error *err)
{
	switch (code) {
	case ENOENT:
	case ECONNREFUSED:
		return error_set(err, code,
				 "no remapfs serves %.150s; mount it: remapfs %.150s MOUNTPOINT",
				 volume_path, volume_path);
	case EACCES:
	case EPERM:
		return error_set(err, EACCES,
				 "the daemon of %.200s belongs to another user; run this as that "
				 "user or as root",
				 volume_path);
	case ETIMEDOUT:
		return error_set(err, code,
				 "the daemon of %.200s does not answer within %d s; see what it waits "
				 "for in the system log", volume_path, CONTROL_WAIT_MS / 1000);
	case EMSGSIZE:
		return error_set(err, code, "the request is too long; ask for less at a time");
	case ECONNRESET:
	case EPIPE:
	case EPROTO:
		return error_set(err, EPROTO,
				 "the daemon of %.200s broke off its answer; try again",
				 volume_path);
	case ENOTSOCK:
		return error_set(err, EPROTO, "%.200s.sock is no socket; move it away",
				 volume_path);
	case ENOSYS:
		return error_set(err, code, "the daemon is reached through /proc; mount it there");
	default:
		return error_set(err, code, "the daemon of %.200s: %s; restart it", volume_path,
				 strerror(code));
	}
}

#ifndef SO_PEERPIDFD /* Linux 6.5 */
#define SO_PEERPIDFD 77
#endif

static int find_peer(int fd, struct control_peer *ret)
{
	struct ucred peer;
	socklen_t length = sizeof(peer), pidfd_length = sizeof(ret->pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return -errno;
	*ret = (struct control_peer){peer.uid, peer.gid, peer.pid, -1};
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &ret->pidfd, &pidfd_length) < 0)
		ret->pidfd = peer.pid > 0 ? pidfd_open(peer.pid, 0) : -1;
	return 0;
}

void control_peer_release(struct control_peer *peer)
{
	cleanup_close(&peer->pidfd);
	peer->pidfd = -1;
}

bool control_peer_is_stranger(const struct control_peer *peer)
{
	return peer->uid != 0 && peer->uid != geteuid();
}

/*
 * In a folder that others can write to, anyone can put a socket where the
 * daemon's would be. Believed are root, this user and the volume's owner.
 */
static bool is_believed(const struct control_peer *peer, const char *volume_path)
{
	struct stat st;

	return !control_peer_is_stranger(peer) ||
	       (stat(volume_path, &st) == 0 && st.st_uid == peer->uid);
}

static int wait_for(int fd, short events, int64_t deadline)
{
	for (;;) {
		struct pollfd poll_fd = {.fd = fd, .events = events};
		int ready = poll(&poll_fd, 1, control_left(deadline));

		if (ready > 0)
			return 0;
		if (ready == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int send_all(int fd, const char *text, size_t length, int64_t deadline)
{
	for (size_t sent = 0; sent < length;) {
		ssize_t n = send(fd, text + sent, length - sent, MSG_NOSIGNAL);
		int rc;

		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		rc = errno == EAGAIN || errno == EINTR ? wait_for(fd, POLLOUT, deadline) : -errno;
		if (rc)
			return rc;
	}
	return 0;
}

/* A descriptor travels with the first byte. */
static int send_with(int fd, const char *text, int descriptor)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec first = {.iov_base = (void *)(uintptr_t)text, .iov_len = 1};
	struct msghdr message = {.msg_iov = &first, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control.room)};

	control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
					  .cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(&control.header), &descriptor, sizeof(descriptor));
	return sendmsg(fd, &message, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int send_request(int fd, const json_t *request, int descriptor, int64_t deadline)
{
	CLEANUP_FREE char *text = json_dumps(request, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0, sent = descriptor >= 0;
	int rc;

	if (!text)
		return -ENOMEM;
	if (length > CONTROL_REQUEST_MAX)
		return -EMSGSIZE;
	text[length] = '\n'; /* in place of its end */
	rc = sent ? send_with(fd, text, descriptor) : 0;
	return rc < 0 ? rc : send_all(fd, text + sent, length + 1 - sent, deadline);
}

static int make_room(struct answer *answer)
{
	char *larger;

	if (answer->length < answer->room)
		return 0;
	if (answer->room >= ANSWER_MAX)
		return -EPROTO;
	answer->room = answer->room ? answer->room * 2 : 4096;
	larger = realloc(answer->text, answer->room);
	if (!larger)
		return -ENOMEM;
	answer->text = larger;
	return 0;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* The process that listens, if it is stopped (kill -STOP, a debugger); otherwise 0. */
static int stopped_listener(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	CLEANUP_FREE char *line = NULL;
	char path[40];
	size_t room = 0;
	bool stopped = false;
	FILE *status;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)peer.pid);
	status = fopen(path, "re");
	while (status && getline(&line, &room, status) > 0)
		stopped |= strncmp(line, "State:\tT", 8) == 0 || strncmp(line, "State:\tt", 8) == 0;
	if (status)
		fclose(status);
	return stopped ? (int)peer.pid : 0;
}

/* Does not go on waiting for one that is stopped. */
static int wait_for_sign(int fd, int64_t deadline)
{
	int64_t silent = earlier(deadline, control_now() + CONTROL_WAIT_MS);
	int rc;

	do
		rc = wait_for(fd, POLLIN, earlier(silent, control_now() + CONTROL_BEAT_MS / 2));
	while (rc == -ETIMEDOUT && control_left(silent) && !stopped_listener(fd));
	return rc;
}

/* Everything up to the end of the connection. */
static int receive(int fd, struct answer *answer, int64_t deadline)
{
	for (;;) {
		int rc = make_room(answer);
		ssize_t n;

		if (!rc)
			rc = wait_for_sign(fd, deadline);
		if (rc)
			return rc;
		n = recv(fd, answer->text + answer->length, answer->room - answer->length, 0);
		if (n == 0)
			return 0;
		if (n > 0)
			answer->length += (size_t)n;
		else if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
}

/* Takes the object out of the text: 0, -EPROTO, -EAGAIN or -EREMOTEIO. */
static int understand(const struct answer *answer, json_t **ret, struct error *err)
{
	json_t *object = json_loadb(answer->text, answer->length, 0, NULL);
	json_t *ok = json_object_get(object, "ok");
	const char *why = json_string_value(json_object_get(object, "error"));
	int rc = 0;

	if (!json_is_boolean(ok))
		rc = error_set(err, EPROTO,
			       "what listens there is no remapfs of this version; "
			       "restart the daemon");
	else if (!json_is_true(ok))
		rc = error_set(err, json_is_true(json_object_get(object, "starting")) ? EAGAIN
				    : EREMOTEIO, "the daemon refused: %.300s",
			       why ? why : "no reason");
	if (rc) {
		json_decref(object);
		return rc;
	}
	*ret = object;
	return 0;
}

static int connect_to(const char *volume_path, int64_t deadline, struct control_peer *ret_peer,
		      struct error *err)
{
	struct control_address address;
	int fd = control_address_find(volume_path, &address, err), rc;

	if (fd && fd != -ENOENT && fd != -EACCES)
		return fd; /* err has the line */
	if (fd == 0) {
		fd = control_connect(&address, deadline);
		control_address_release(&address);
	}
	if (fd < 0)
		return unreachable(volume_path, -fd, err);
	rc = find_peer(fd, ret_peer);
	if (rc == 0 && is_believed(ret_peer, volume_path))
		return fd;
	if (rc == 0)
		control_peer_release(ret_peer);
	close(fd);
	return unreachable(volume_path, EACCES, err);
}

static int refuse_descriptor(const char *volume_path, const struct control_peer *peer,
			     struct error *err)
{
	return error_set(err, EACCES, "the daemon of %.200s belongs to another user (%u), who gets no "
			 "file that this one has opened; run this as that user or as root",
			 volume_path, (unsigned)peer->uid);
}

/* ret_peer: as in control_ask_status, or NULL. */
static int request_of(const char *volume_path, const json_t *request, int descriptor,
		      unsigned wait_ms, struct control_peer *ret_peer, json_t **ret_answer,
		      struct error *err)
{
	int64_t deadline = control_now() + wait_ms;
	/* One that takes the request shows a sign of life. */
	int64_t soon = earlier(deadline, control_now() + CONTROL_WAIT_MS);
	struct control_peer peer = {.pidfd = -1};
	CLEANUP_CLOSE int fd = connect_to(volume_path, soon, &peer, err);
	struct answer answer = {0};
	int rc, stopped;

	if (fd < 0)
		return fd;
	if (descriptor >= 0 && control_peer_is_stranger(&peer)) {
		control_peer_release(&peer);
		return refuse_descriptor(volume_path, &peer, err);
	}
	rc = send_request(fd, request, descriptor, soon);
	if (!rc)
		rc = receive(fd, &answer, deadline);
	if (!rc)
		rc = understand(&answer, ret_answer, err);
	else if (rc == -ETIMEDOUT && (stopped = stopped_listener(fd)))
		rc = error_set(err, ETIMEDOUT, "the daemon of %.200s is stopped (process %d) and does not "
			       "answer; let it go on: 'kill -CONT %d'", volume_path, stopped, stopped);
	else
		rc = unreachable(volume_path, -rc, err);
	free(answer.text);
	if (rc < 0 || !ret_peer)
		control_peer_release(&peer);
	else
		*ret_peer = peer;
	return rc;
}

int control_request(const char *volume_path, const json_t *request, unsigned wait_ms,
		    json_t **ret_answer, struct error *err)
{
	return request_of(volume_path, request, -1, wait_ms, NULL, ret_answer, err);
}

int control_request_with(const char *volume_path, const json_t *request, int descriptor,
			 unsigned wait_ms, json_t **ret_answer, struct error *err)
{
	return request_of(volume_path, request, descriptor, wait_ms, NULL, ret_answer, err);
}

static int ask(const char *volume_path, const char *command, struct control_peer *ret_peer,
	       json_t **ret_answer, struct error *err)
{
	json_t *request = json_pack("{s:s}", "command", command);
	int rc = request ? request_of(volume_path, request, -1, CONTROL_WAIT_MS, ret_peer, ret_answer,
				      err)
			 : error_set(err, ENOMEM, "not enough memory; end other programs first");

	json_decref(request);
	return rc;
}

int control_ask(const char *volume_path, const char *command, json_t **ret_answer,
		struct error *err)
{
	return ask(volume_path, command, NULL, ret_answer, err);
}

int control_ask_status(const char *volume_path, struct control_peer *ret_peer, json_t **ret_answer,
		       struct error *err)
{
	return ask(volume_path, "status", ret_peer, ret_answer, err);
}
