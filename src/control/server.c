/*
 * The answering side: one thread that serves several clients with poll, each
 * with a deadline, so that none can hold up another or the end. A client that says
 * nothing keeps its place only as long as nobody else wants it. What may take
 * its time is carried out by a second one: status is answered meanwhile.
 *
 * The socket appears under its name only when it is ready: it is bound to a
 * name of its own (bind cannot take a long path, rename can), with its mode set
 * before it has a name at all, listens, and is then renamed over what a killed
 * daemon left behind.
 */
#include "remapfs/control.h"

#include "control/address.h"
#include "remapfs/cleanup.h"
#include "remapfs/file_system.h"

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

#define CLIENTS 256
/* When all places are taken, a client that has said nothing for so long makes room for the next. */
#define GRACE_MS 10
/* So many may wait for what takes its time; the other places are for those who look. */
#define ORDERS 4

/* After an accept that failed (no descriptor left) the rest of them wait. */
#define ACCEPT_PAUSE_MS 100

enum stage { READING, ACTING, WRITING };

struct client {
	int fd; /* -1: this place is free */
	enum stage stage;
	int64_t deadline;
	char *request; /* CONTROL_REQUEST_MAX and a newline, from its first byte on */
	size_t received;
	char *answer;
	size_t length, sent;
	int passed; /* the descriptor that came with the request, or -1 */
};

/* Handed to the acting thread, and back with a reply. */
struct order {
	struct client *client;
	const char *command; /* in request */
	json_t *request, *reply;
	struct order *next;
};

struct control_server {
	char *volume; /* its path */
	bool started;
	struct control_handler handler;
	struct control_address address;
	int listener;
	int wake;         /* an eventfd: orders are done, or it is time to stop */
	char own_name[40]; /* that the socket has until it takes the known one; "": none */
	struct stat node; /* the socket as we made it */
	int64_t accept_after;
	pthread_t thread, actor;
	struct client clients[CLIENTS];

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct order *orders, *done;
	unsigned waiting; /* orders that are not done */
	bool stopping;
};

/* ---- clients ---------------------------------------------------------------- */

static void drop(struct client *client)
{
	close(client->fd);
	if (client->passed >= 0)
		close(client->passed);
	free(client->request);
	free(client->answer);
	*client = (struct client){.fd = -1, .passed = -1};
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

/* Takes the reply over; NULL: nobody knew the command. */
static void begin_answer(struct client *client, json_t *reply)
{
	if (!reply)
		reply = json_pack("{s:b, s:s}", "ok", 0, "error", "there is no such request");
	else if (!json_object_get(reply, "ok"))
		json_object_set_new(reply, "ok", json_true());
	client->answer = json_dumps(reply, JSON_COMPACT);
	json_decref(reply);
	client->length = client->answer ? strlen(client->answer) : 0;
	client->stage = WRITING;
	client->deadline = control_now() + CONTROL_WAIT_MS;
	if (client->answer)
		write_some(client);
	else
		drop(client);
}

/* Takes request over. False: there are too many. */
static bool give_order(struct control_server *server, struct client *client, const char *command,
		       json_t *request)
{
	struct order *order = malloc(sizeof(*order)), **end = &server->orders;
	HOLD_LOCK(&server->lock);

	if (!order || server->waiting == ORDERS) {
		json_decref(request);
		free(order);
		return false;
	}
	*order = (struct order){.client = client, .request = request, .command = command};
	client->stage = ACTING;
	client->deadline = control_now() + CONTROL_BEAT_MS;
	while (*end)
		end = &(*end)->next;
	*end = order;
	server->waiting++;
	pthread_cond_signal(&server->work);
	return true;
}

static void understand(struct control_server *server, struct client *client, size_t length)
{
	json_t *request = json_loadb(client->request, length, JSON_REJECT_DUPLICATES, NULL);
	const char *command = json_string_value(json_object_get(request, "command"));
	json_t *reply = NULL;

	/* What the client says of it does not count. */
	json_object_del(request, "descriptor");
	if (client->passed >= 0)
		json_object_set_new(request, "descriptor", json_integer(client->passed));
	if (command)
		reply = server->handler.look(server->handler.context, command);
	if (!command || reply || !server->handler.act) {
		json_decref(request);
		begin_answer(client, reply);
	} else if (!give_order(server, client, command, request)) {
		begin_answer(client, json_pack("{s:b, s:s}", "ok", 0, "error",
					       "it is busy with other requests; try again"));
	}
}

/* As recv. Of the descriptors that a client passes the last one is kept. */
static ssize_t receive(struct client *client, char *to, size_t room)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec into = {.iov_base = to, .iov_len = room};
	/* Not a byte more, or a second one would fit into what CMSG_SPACE rounds up to. */
	struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = CMSG_LEN(sizeof(int))};
	ssize_t n = recvmsg(client->fd, &message, MSG_CMSG_CLOEXEC);
	const struct cmsghdr *header = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL;

	if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
	    header->cmsg_len == CMSG_LEN(sizeof(int))) {
		if (client->passed >= 0)
			close(client->passed);
		memcpy(&client->passed, CMSG_DATA(header), sizeof(client->passed));
	}
	return n;
}

/* A request ends with its newline, with the client's end, or by being too long. */
static void read_some(struct control_server *server, struct client *client)
{
	size_t most = CONTROL_REQUEST_MAX + 1, room = most - client->received;
	char *newline;
	ssize_t n;

	if (!client->request && !(client->request = malloc(most))) {
		drop(client);
		return;
	}
	n = receive(client, client->request + client->received, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || (n == 0 && !client->received)) {
		drop(client);
		return;
	}
	client->received += (size_t)n;
	newline = memchr(client->request, '\n', client->received);
	if (!newline && n > 0 && (size_t)n < room)
		return;
	/* Without its newline it was cut off, and is not answered as if whole. */
	understand(server, client, newline ? (size_t)(newline - client->request) : 0);
}

/*
 * A client that waits is shown that somebody is there: a blank, which JSON allows before
 * the answer. Whether it still listens does not matter, the order is carried out.
 */
static void beat(struct client *client)
{
	send(client->fd, " ", 1, MSG_NOSIGNAL);
	client->deadline = control_now() + CONTROL_BEAT_MS;
}

/* ---- what takes its time ------------------------------------------------------ */

static void wake(struct control_server *server)
{
	eventfd_write(server->wake, 1);
}

/* Carries out one order after the other. */
static void *act(void *arg)
{
	struct control_server *server = arg;
	HOLD_LOCK(&server->lock);

	while (!server->stopping) {
		struct order *order = server->orders;

		if (!order) {
			pthread_cond_wait(&server->work, &server->lock);
			continue;
		}
		server->orders = order->next;
		pthread_mutex_unlock(&server->lock);
		order->reply = server->handler.act(server->handler.context, order->command,
						   order->request);
		pthread_mutex_lock(&server->lock);
		order->next = server->done;
		server->done = order;
		server->waiting--;
		wake(server);
	}
	return NULL;
}

static void free_orders(struct order *order)
{
	while (order) {
		struct order *next = order->next;

		json_decref(order->request);
		json_decref(order->reply);
		free(order);
		order = next;
	}
}

/* Answers what has been carried out; false: it is time to stop. */
static bool take_done(struct control_server *server)
{
	eventfd_t count;
	struct order *done;
	bool stopping;

	eventfd_read(server->wake, &count);
	pthread_mutex_lock(&server->lock);
	done = server->done;
	server->done = NULL;
	stopping = server->stopping;
	pthread_mutex_unlock(&server->lock);
	for (struct order *order = done; order; order = order->next) {
		begin_answer(order->client, order->reply);
		order->reply = NULL;
	}
	free_orders(done);
	return !stopping;
}

/* ---- the thread that serves ----------------------------------------------------- */

/* The next client's: one that is free, or that of whoever has been silent longest. */
static struct client *find_place(struct control_server *server)
{
	struct client *oldest = NULL;

	for (struct client *c = server->clients; c < server->clients + CLIENTS; c++) {
		if (c->fd < 0)
			return c;
		/* ORDERS bounds those whose requests are carried out. */
		if (c->stage != ACTING && (!oldest || c->deadline < oldest->deadline))
			oldest = c;
	}
	return oldest;
}

/* Milliseconds until a place may be taken from the client that has it. */
static int grace_left(const struct client *place)
{
	return place->fd < 0 ? 0 : control_left(place->deadline - CONTROL_WAIT_MS + GRACE_MS);
}

static void accept_client(struct control_server *server)
{
	struct client *place = find_place(server);
	int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			server->accept_after = control_now() + ACCEPT_PAUSE_MS;
		return;
	}
	if (place->fd >= 0)
		drop(place);
	*place = (struct client){.fd = fd, .deadline = control_now() + CONTROL_WAIT_MS, .passed = -1};
}

enum { POLL_WAKE, POLL_LISTENER, POLL_CLIENTS, POLL_COUNT = POLL_CLIENTS + CLIENTS };

/* Fills in what to wait for; returns for how long at most, or -1. */
static int prepare(struct control_server *server, struct pollfd *polls)
{
	int pause = control_left(server->accept_after), grace = grace_left(find_place(server)), wait;

	pause = pause > grace ? pause : grace;
	wait = pause ? pause : -1;

	polls[POLL_WAKE] = (struct pollfd){.fd = server->wake, .events = POLLIN};
	for (size_t i = 0; i < CLIENTS; i++) {
		const struct client *client = &server->clients[i];
		bool idle = client->fd < 0, waits = !idle && client->stage == ACTING;
		int left = control_left(client->deadline);

		polls[POLL_CLIENTS + i] = (struct pollfd){
		    .fd = idle || waits ? -1 : client->fd,
		    .events = client->stage == WRITING ? POLLOUT : POLLIN,
		};
		if (!idle && (wait < 0 || left < wait))
			wait = left;
	}
	polls[POLL_LISTENER] =
	    (struct pollfd){.fd = pause ? -1 : server->listener, .events = POLLIN};
	return wait;
}

static void serve_client(struct control_server *server, struct client *client, short events)
{
	if (client->fd < 0)
		return;
	if (client->stage == ACTING) {
		if (!control_left(client->deadline))
			beat(client);
		return;
	}
	if (!control_left(client->deadline))
		drop(client); /* also one that is busy: it had its time */
	else if (events && client->stage == WRITING)
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
		if (polls[POLL_WAKE].revents && !take_done(server))
			return NULL;
		for (size_t i = 0; i < CLIENTS; i++)
			serve_client(server, &server->clients[i], polls[POLL_CLIENTS + i].revents);
		if (polls[POLL_LISTENER].revents)
			accept_client(server);
	}
}

static void stop_threads(struct control_server *server, bool serving, bool acting)
{
	pthread_mutex_lock(&server->lock);
	server->stopping = true;
	pthread_cond_signal(&server->work);
	pthread_mutex_unlock(&server->lock);
	/* What is being carried out is still answered. */
	if (acting)
		pthread_join(server->actor, NULL);
	wake(server);
	if (serving)
		pthread_join(server->thread, NULL);
}

/* Signals are for the threads that expect them. */
static int start_threads(struct control_server *server)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* which a filter of system calls sends: see confine.h */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&server->actor, NULL, act, server);
	if (!rc) {
		rc = pthread_create(&server->thread, NULL, serve, server);
		if (rc)
			stop_threads(server, false, true);
	}
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
	struct stat there;

	/* What is no socket is somebody's. */
	if (fstatat(directory, server->address.name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISSOCK(there.st_mode))
		return -ENOTSOCK;
	if (listen(server->listener, SOMAXCONN) < 0 ||
	    fstatat(directory, name, &server->node, AT_SYMLINK_NOFOLLOW) < 0 ||
	    renameat(directory, name, directory, server->address.name) < 0)
		return -errno;
	return 0;
}

static int make_listener(struct control_server *server)
{
	server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The mode of a socket that is not bound yet is that of its name later. */
	return server->listener < 0 || fchmod(server->listener, 0600) < 0 ? -errno : 0;
}

static int bind_to_own_name(struct control_server *server)
{
	char name[sizeof(server->own_name)];
	int rc;

	snprintf(name, sizeof(name), ".remapfs-%d-%d.sock", getpid(), server->listener);
	rc = bind_to(server, name);
	if (rc == -EADDRINUSE) {
		/* A process of our number died between bind and rename. */
		unlinkat(server->address.directory, name, 0);
		rc = bind_to(server, name);
	}
	if (!rc)
		memcpy(server->own_name, name, sizeof(name));
	return rc;
}

/* A socket is bound once: where only the known name is taken, it keeps its own for the next try. */
static int open_listener(struct control_server *server)
{
	int rc = server->own_name[0] ? 0 : bind_to_own_name(server);

	rc = rc ? rc : publish(server, server->own_name);
	if (!rc)
		server->own_name[0] = 0;
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
	if (server->own_name[0])
		unlinkat(server->address.directory, server->own_name, 0);
	for (size_t i = 0; i < CLIENTS; i++)
		if (server->clients[i].fd >= 0)
			drop(&server->clients[i]);
	if (server->listener >= 0)
		close(server->listener);
	if (server->wake >= 0)
		close(server->wake);
	free_orders(server->orders);
	free_orders(server->done);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->work);
	control_address_release(&server->address);
	free(server->volume);
	free(server);
}

/* ---- the contract ----------------------------------------------------------- */

static int explain(const char *volume_path, int code, struct error *err)
{
	char name[FILE_SYSTEM_NAME];

	if (code == EBUSY)
		return error_set(
		    err, code, "another daemon answers at %.200s.sock; end it with fusermount3 -u, or "
		    "remove a socket that is no daemon's",
		    volume_path);
	if (code == ENOTSOCK)
		return error_set(err, EEXIST, "%.200s.sock is in the way; move it away",
				 volume_path);
	if (code == EPERM || code == EOPNOTSUPP)
		return error_set(err, code, "volume '%.200s' cannot be used on %s, which has no "
				 "sockets; move it to another file system, such as ext4, xfs or "
				 "btrfs", volume_path, file_system_name(volume_path, name));
	return error_set(err, code,
			 "cannot make the control socket %.200s.sock: %s; put the volume in a "
			 "folder that can hold it",
			 volume_path, strerror(code));
}

static int make(struct control_server *server)
{
	int rc = make_listener(server);

	if (!rc && (server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0)
		rc = -errno;
	return rc;
}

int control_prepare(const char *volume_path, struct control_server **ret, struct error *err)
{
	struct control_server *server = calloc(1, sizeof(*server));
	int rc;

	if (!server || !(server->volume = strdup(volume_path))) {
		free(server);
		return error_set(err, ENOMEM, "not enough memory; end other programs first");
	}
	server->listener = server->wake = -1;
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->work, NULL);
	for (size_t i = 0; i < CLIENTS; i++)
		server->clients[i].fd = server->clients[i].passed = -1;
	rc = control_address_find(volume_path, &server->address, err);
	if (rc) {
		server->address.directory = -1;
		release(server);
		return rc;
	}
	rc = make(server);
	if (rc) {
		release(server);
		return explain(volume_path, -rc, err);
	}
	*ret = server;
	rc = check_name_is_free(server);
	return rc ? explain(volume_path, -rc, err) : 0;
}

int control_start(struct control_server *server, const struct control_handler *handler,
		  struct error *err)
{
	int rc;

	if (server->started)
		return 0;
	/* Anew, for who tries again: it may be elsewhere by now. */
	control_address_release(&server->address);
	rc = control_address_find(server->volume, &server->address, err);
	if (rc)
		return rc;
	server->handler = *handler;
	rc = open_listener(server);
	rc = rc ? rc : start_threads(server);
	server->started = !rc;
	return rc ? explain(server->volume, -rc, err) : 0;
}

int control_serve(const char *volume_path, const struct control_handler *handler,
		  struct control_server **ret, struct error *err)
{
	struct control_server *server = NULL;
	int rc = control_prepare(volume_path, &server, err);

	rc = rc ? rc : control_start(server, handler, err);
	if (rc)
		control_stop(server);
	else
		*ret = server;
	return rc;
}

void control_stop(struct control_server *server)
{
	if (!server)
		return;
	if (server->started)
		stop_threads(server, true, true);
	release(server);
}
