/*
 * The control socket: what a client may send, in pieces, and answers that are
 * no answers to one who asks. The first byte chooses.
 */
#include "fuzz.h"

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "remapfs/control.h"

static struct control_server *server;

/* ---- a hostile client ------------------------------------------------------------ */

static json_t *look(void *context, const char *command)
{
	(void)context;
	return strcmp(command, "status") == 0 ? json_pack("{s:i}", "pid", 1) : NULL;
}

/* Takes the request apart as remapfs does. */
static json_t *act(void *context, const char *command, json_t *request)
{
	json_int_t id, offset, length;
	const char *uuid, *path;
	int lost;

	(void)context;
	if (strcmp(command, "add-spare") == 0 &&
	    json_unpack(request, "{s:I, s:s, s:s, s:I, s:I}", "id", &id, "uuid", &uuid, "path",
			&path, "offset", &offset, "length", &length) == 0)
		return json_pack("{s:s, s:s}", "uuid", uuid, "path", path);
	if (strcmp(command, "retire-spare") == 0 &&
	    json_unpack(request, "{s:I, s:b}", "id", &id, "lost", &lost) == 0)
		return json_pack("{s:I}", "id", id);
	return NULL;
}

static int call(const char *name)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", scratch(name));
	PROMISE(fd >= 0);
	PROMISE(connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0);
	return fd;
}

/* One line, an object that says whether it was done; or nothing at all. */
static void check_answer(int fd)
{
	static char answer[1 << 20];
	size_t length = 0;
	json_t *object, *ok;
	ssize_t n;

	while ((n = recv(fd, answer + length, sizeof(answer) - length, 0)) > 0)
		length += (size_t)n;
	if (!length)
		return;
	PROMISE(!memchr(answer, '\n', length - 1));
	object = json_loadb(answer, length, 0, NULL);
	ok = json_object_get(object, "ok");
	PROMISE(json_is_boolean(ok));
	PROMISE(json_is_true(ok) || json_is_string(json_object_get(object, "error")));
	json_decref(object);
}

static void send_in_pieces(struct input *in)
{
	size_t piece = 1 + take_16(in);
	int fd = call("volume.sock");

	while (in->left) {
		size_t n = in->left < piece ? in->left : piece;

		if (send(fd, in->at, n, MSG_NOSIGNAL) < 0)
			break;
		in->at += n;
		in->left -= n;
	}
	shutdown(fd, SHUT_WR);
	check_answer(fd);
	close(fd);
}

/* ---- a hostile daemon -------------------------------------------------------------- */

static int listener;

struct lie {
	const uint8_t *data;
	size_t size;
};

static void *lie(void *context)
{
	const struct lie *l = context;
	int fd = accept(listener, NULL, NULL);
	char request[64];

	PROMISE(fd >= 0);
	PROMISE(recv(fd, request, sizeof(request), 0) > 0);
	send(fd, l->data, l->size, MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void ask_a_liar(struct input *in)
{
	struct lie l = {in->at, in->left};
	struct error err = {""};
	json_t *answer = NULL;
	pthread_t thread;
	int rc;

	PROMISE(pthread_create(&thread, NULL, lie, &l) == 0);
	rc = control_ask(scratch("liar"), "status", &answer, &err);
	pthread_join(thread, NULL);
	PROMISE((rc == 0) == (answer != NULL));
	PROMISE(rc == 0 ? json_is_object(answer) : err.text[0] && !strchr(err.text, '\n'));
	json_decref(answer);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const struct control_handler handler = {.look = look, .act = act};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct error err = {""};

	(void)argc, (void)argv;
	put_file(scratch("volume"), "", 0);
	put_file(scratch("liar"), "", 0);
	PROMISE(control_serve(scratch("volume"), &handler, &server, &err) == 0);
	snprintf(at.sun_path, sizeof(at.sun_path), "%s", scratch("liar.sock"));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	PROMISE(bind(listener, (struct sockaddr *)&at, sizeof(at)) == 0);
	PROMISE(listen(listener, 4) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (take_8(&in) & 1)
		ask_a_liar(&in);
	else
		send_in_pieces(&in);
	return 0;
}
