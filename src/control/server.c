/*
 * The answering side: one thread that serves several clients with poll, each
 * with a deadline, so that none can hold up another or the end.
 *
 * The socket appears under its name only when it is ready: it is bound to a
 * name of its own (bind cannot take a long path, rename can), with its mode set
 * before it has a name at all, listens, and is then renamed over what a killed
 * daemon left behind.
 */
#include "remapfs/control.h"

#include "control/address.h"
#include "remapfs/cleanup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CLIENTS 16

/* After an accept that failed (no descriptor left) the rest of them wait. */
#define ACCEPT_PAUSE_MS 100

/* Reading its word while answer is NULL, then writing the answer to it. */
struct client {
	int fd; /* -1: this place is free */
	int64_t deadline;
	char word[CONTROL_WORD_MAX + 2];
	size_t received;
	char *answer;
	size_t length, sent;
};

struct control_server {
	json_t *(*answer)(void *context, const char *word);
	void *context;
	struct control_address address;
	int listener;
	int stop;         /* an eventfd that becomes readable */
	struct stat node; /* the socket as we made it */
	int64_t accept_after;
	pthread_t thread;
	struct client clients[CLIENTS];
};

/* ---- clients ---------------------------------------------------------------- */

static void drop(struct client *client)
{
	close(client->fd);
	free(client->answer);
	*client = (struct client){.fd = -1};
}

static bool is_word(const char *text)
{
	return *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyz-")];
}

static void compose(struct control_server *server, struct client *client)
{
	json_t *reply = NULL;

	if (is_word(client->word))
		reply = server->answer(server->context, client->word);
	if (!reply)
		reply = json_pack("{s:b, s:s}", "ok", 0, "error", "there is no such request");
	else if (!json_object_get(reply, "ok"))
		json_object_set_new(reply, "ok", json_true());
	client->answer = json_dumps(reply, JSON_COMPACT);
	client->length = client->answer ? strlen(client->answer) : 0;
	json_decref(reply);
}

static void write_some(struct client *client)
{
	ssize_t n = send(client->fd, client->answer + client->sent, client->length - client->sent,
			 MSG_NOSIGNAL);

	if (n >= 0)
		client->sent += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		client->sent = client->length;
	if (client->sent == client->length)
		drop(client);
}

/* A request ends with its newline, with the client's end, or by being too long. */
static void read_some(struct control_server *server, struct client *client)
{
	size_t room = sizeof(client->word) - 1 - client->received;
	ssize_t n = recv(client->fd, client->word + client->received, room, 0);
	char *newline;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (n == 0 && !client->received)) {
		drop(client);
		return;
	}
	client->received += (size_t)n;
	newline = memchr(client->word, '\n', client->received);
	if (!newline && n > 0 && (size_t)n < room)
		return;
	/* Without its newline it was cut off, and may be half of another word. */
	*(newline ? newline : client->word) = 0;
	if (newline && strlen(client->word) != (size_t)(newline - client->word))
		client->word[0] = 0;
	compose(server, client);
	if (client->answer)
		write_some(client);
	else
		drop(client);
}

static void accept_client(struct control_server *server)
{
	int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			server->accept_after = control_now() + ACCEPT_PAUSE_MS;
		return;
	}
	for (struct client *c = server->clients; c < server->clients + CLIENTS; c++)
		if (c->fd < 0) {
			c->fd = fd;
			c->deadline = control_now() + CONTROL_WAIT_MS;
			return;
		}
	close(fd);
}

/* ---- the thread ------------------------------------------------------------- */

enum { POLL_STOP, POLL_LISTENER, POLL_CLIENTS, POLL_COUNT = POLL_CLIENTS + CLIENTS };

/* Fills in what to wait for; returns for how long at most, or -1. */
static int prepare(const struct control_server *server, struct pollfd *polls)
{
	int pause = control_left(server->accept_after), wait = pause ? pause : -1;
	bool full = true;

	polls[POLL_STOP] = (struct pollfd){.fd = server->stop, .events = POLLIN};
	for (size_t i = 0; i < CLIENTS; i++) {
		const struct client *client = &server->clients[i];
		short events = client->answer ? POLLOUT : POLLIN;
		int left = control_left(client->deadline);

		polls[POLL_CLIENTS + i] = (struct pollfd){.fd = client->fd, .events = events};
		if (client->fd < 0)
			full = false;
		else if (wait < 0 || left < wait)
			wait = left;
	}
	polls[POLL_LISTENER] =
	    (struct pollfd){.fd = full || pause ? -1 : server->listener, .events = POLLIN};
	return wait;
}

static void serve_client(struct control_server *server, struct client *client, short events)
{
	if (client->fd < 0)
		return;
	if (!control_left(client->deadline))
		drop(client); /* also one that is busy: it had its time */
	else if (events && client->answer)
		write_some(client);
	else if (events)
		read_some(server, client);
}

static void *serve(void *arg)
{
	struct control_server *server = arg;
	struct pollfd polls[POLL_COUNT];

	for (;;) {
		int wait = prepare(server, polls);

		if (poll(polls, POLL_COUNT, wait) < 0) {
			if (errno == EINTR)
				continue;
			return NULL;
		}
		if (polls[POLL_STOP].revents)
			return NULL;
		for (size_t i = 0; i < CLIENTS; i++)
			serve_client(server, &server->clients[i], polls[POLL_CLIENTS + i].revents);
		if (polls[POLL_LISTENER].revents)
			accept_client(server);
	}
}

/* Signals are for the threads that expect them. */
static int start_thread(struct control_server *server)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&server->thread, NULL, serve, server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -rc;
}

/* ---- the socket ------------------------------------------------------------- */

static int check_name_is_free(const struct control_server *server)
{
	int rc = control_connect(&server->address, control_now() + 500);

	if (rc >= 0)
		close(rc);
	if (rc >= 0 || rc == -ETIMEDOUT)
		return -EBUSY;
	return rc == -ENOENT || rc == -ECONNREFUSED ? 0 : rc;
}

static int bind_to(const struct control_server *server, const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};

	snprintf(at.sun_path, sizeof(at.sun_path), "/proc/self/fd/%d/%s", server->address.directory,
		 name);
	return bind(server->listener, (const struct sockaddr *)&at, sizeof(at)) < 0 ? -errno : 0;
}

/* From its own name to the known one, which it then replaces. */
static int publish(struct control_server *server, const char *name)
{
	int directory = server->address.directory;

	if (listen(server->listener, CLIENTS) < 0 ||
	    fstatat(directory, name, &server->node, AT_SYMLINK_NOFOLLOW) < 0 ||
	    renameat(directory, name, directory, server->address.name) < 0)
		return -errno;
	return 0;
}

static int open_listener(struct control_server *server)
{
	char name[40];
	int rc;

	server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of a socket that is not bound yet is that of its name later. */
	if (server->listener < 0 || fchmod(server->listener, 0600) < 0)
		return -errno;
	snprintf(name, sizeof(name), ".remapfs-%d-%d.sock", getpid(), server->listener);
	rc = bind_to(server, name);
	if (rc == -EADDRINUSE) {
		/* A process of our number died between bind and rename. */
		unlinkat(server->address.directory, name, 0);
		rc = bind_to(server, name);
	}
	if (rc)
		return rc;
	rc = publish(server, name);
	if (rc)
		unlinkat(server->address.directory, name, 0);
	return rc;
}

/* Another daemon may have taken the name over: then it is not ours to remove. */
static void remove_socket(const struct control_server *server)
{
	const struct control_address *at = &server->address;
	struct stat st;

	if (server->node.st_ino &&
	    fstatat(at->directory, at->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == server->node.st_ino && st.st_dev == server->node.st_dev)
		unlinkat(at->directory, at->name, 0);
}

static void release(struct control_server *server)
{
	remove_socket(server);
	for (size_t i = 0; i < CLIENTS; i++)
		if (server->clients[i].fd >= 0)
			drop(&server->clients[i]);
	if (server->listener >= 0)
		close(server->listener);
	if (server->stop >= 0)
		close(server->stop);
	control_address_release(&server->address);
	free(server);
}

/* ---- the contract ----------------------------------------------------------- */

static int explain(const char *volume_path, int code, struct error *err)
{
	if (code == EBUSY)
		return error_set(
		    err, code, "another daemon answers at %.200s.sock; end it with fusermount3 -u",
		    volume_path);
	if (code == ENOTSOCK)
		return error_set(err, EEXIST, "%.200s.sock is in the way; move it away",
				 volume_path);
	return error_set(err, code,
			 "cannot make the control socket %.200s.sock: %s; put the volume in a "
			 "folder that can hold it",
			 volume_path, strerror(code));
}

static int start(struct control_server *server)
{
	int rc = check_name_is_free(server);

	if (!rc)
		rc = open_listener(server);
	if (!rc && (server->stop = eventfd(0, EFD_CLOEXEC)) < 0)
		rc = -errno;
	return rc ? rc : start_thread(server);
}

int control_serve(const char *volume_path, json_t *(*answer)(void *context, const char *word),
		  void *context, struct control_server **ret, struct error *err)
{
	struct control_server *server = calloc(1, sizeof(*server));
	int rc;

	if (!server)
		return error_set(err, ENOMEM, "not enough memory; end other programs first");
	server->answer = answer;
	server->context = context;
	server->listener = server->stop = -1;
	for (size_t i = 0; i < CLIENTS; i++)
		server->clients[i].fd = -1;
	rc = control_address_find(volume_path, &server->address, err);
	if (rc) {
		free(server);
		return rc;
	}
	rc = start(server);
	if (rc) {
		release(server);
		return explain(volume_path, -rc, err);
	}
	*ret = server;
	return 0;
}

void control_stop(struct control_server *server)
{
	if (!server)
		return;
	eventfd_write(server->stop, 1);
	pthread_join(server->thread, NULL);
	release(server);
}
