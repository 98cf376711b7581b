/*
 * Messages between a worker and its supervisor. They are of one length, so that
 * anything else is none of ours. A spare's descriptor goes along with its message. Each
 * has a number, which its answer has as well: one that comes too late is to no question.
 */
#include "fuse/members.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

#define ANSWER_SECONDS 10
#define LATE_MAX 16 /* answers that nobody waits for any more */

enum { JOINED = 1, LEFT = 2 };

struct message {
	uint32_t kind, id;
	uint64_t number;
	uint64_t offset, length;
	char path[PATH_MAX];
};

struct answer {
	uint64_t number;
	int32_t rc;
	struct error error;
};

union control {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

int members_socket(int fds[2])
{
	const struct timeval bound = {.tv_sec = ANSWER_SECONDS};

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof(bound));
	setsockopt(fds[1], SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound));
	return 0;
}

/* ---- the supervisor's ----------------------------------------------------------------- */

/* The descriptor that came along, or -1. */
static int passed(struct msghdr *header)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(header);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

static int act(struct volume_hold *hold, struct message *m, int fd, struct error *err)
{
	const struct store_spare info = {.id = m->id, .path = m->path, .offset = m->offset,
					 .length = m->length};

	if (m->id == ON_MAIN)
		return error_set(err, EINVAL, "main stays; unmount first");
	if (m->kind == LEFT) {
		volume_hold_drop(hold, m->id);
		return 0;
	}
	return m->kind == JOINED ? volume_hold_add(hold, &info, fd, err)
				 : error_set(err, EPROTO, "the worker is of another version; unmount "
					     "and mount anew");
}

bool members_serve(int socket, struct volume_hold *hold)
{
	struct message m;
	union control control;
	struct iovec data = {&m, sizeof(m)};
	/* Room for one: the kernel closes the others. */
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				.msg_controllen = CMSG_LEN(sizeof(int))};
	struct answer answer = {0};
	ssize_t n = recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	CLEANUP_CLOSE int fd = n > 0 ? passed(&header) : -1;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	if (n == sizeof(m) && memchr(m.path, 0, sizeof(m.path))) {
		answer.number = m.number;
		answer.rc = act(hold, &m, fd, &answer.error);
	} else {
		answer.rc = -EPROTO;
	}
	send(socket, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
	return true;
}

/* ---- the worker's --------------------------------------------------------------------- */

/* false: none came in time. */
static bool receive(int socket, uint64_t number, struct answer *ret)
{
	for (int late = 0; late < LATE_MAX; late++) {
		if (recv(socket, ret, sizeof(*ret), 0) != sizeof(*ret))
			return false;
		if (ret->number == number)
			return true;
	}
	return false;
}

/* Numbers begin with 1. By one thread at a time. */
static int ask(int socket, struct message *m, int fd, struct error *err)
{
	static uint64_t asked;
	union control control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
					    .cmsg_len = CMSG_LEN(sizeof(fd))}};
	struct iovec data = {m, sizeof(*m)};
	struct msghdr header = {.msg_iov = &data, .msg_iovlen = 1};
	struct answer answer = {.error = {""}};

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		header.msg_control = &control;
		header.msg_controllen = sizeof(control);
	}
	m->number = ++asked;
	if (sendmsg(socket, &header, MSG_NOSIGNAL) != sizeof(*m) ||
	    !receive(socket, m->number, &answer))
		return error_set(err, EPIPE, "the supervisor of the mount does not answer; mount anew");
	answer.error.text[sizeof(answer.error.text) - 1] = 0;
	if (answer.rc < 0)
		return error_set(err, -answer.rc, "%s", answer.error.text);
	return 0;
}

int members_joined(void *context, const struct store_spare *info, int fd, struct error *err)
{
	struct message m = {.kind = JOINED, .id = info->id, .offset = info->offset,
			    .length = info->length};

	if (snprintf(m.path, sizeof(m.path), "%s", info->path) >= (int)sizeof(m.path))
		return error_set(err, ENAMETOOLONG, "spare '%s' has too long a path; move it",
				 info->path);
	return ask(((struct inheritance *)context)->up, &m, fd, err);
}

void members_left(void *context, spare_id_t id)
{
	struct inheritance *inherited = context;
	struct message m = {.kind = LEFT, .id = id};

	for (size_t i = 0; i < inherited->count; i++)
		if (inherited->members[i].id == id) {
			close(inherited->members[i].fd);
			inherited->members[i] = inherited->members[--inherited->count];
		}
	for (size_t i = inherited->claim_count; i-- > 0;)
		if (inherited->claims[i].id == id) {
			close(inherited->claims[i].fd);
			inherited->claims[i] = inherited->claims[--inherited->claim_count];
		}
	ask(inherited->up, &m, -1, NULL);
}
