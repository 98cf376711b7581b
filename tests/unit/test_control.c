/* The control socket: include/remapfs/control.h, promise by promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/address.h"
#include "remapfs/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* cmocka's own has another name in its version 2. */
static void assert_between(int64_t value, int64_t least, int64_t most)
{
	if (value < least || value > most)
		fail_msg("%lld is not in %lld to %lld", (long long)value, (long long)least,
			 (long long)most);
}

static char folder[] = "/tmp/test-control-XXXXXX";
static char volume[512], socket_path[600];

static json_t *look(void *context, const char *word)
{
	atomic_int *asked = context;

	if (strcmp(word, "act") == 0)
		return NULL;
	if (asked)
		atomic_fetch_add(asked, 1);
	if (strcmp(word, "status") == 0)
		return json_pack("{s:b, s:i, s:s}", "ok", 1, "pid", getpid(), "image",
				 "/mnt/disk.img");
	if (strcmp(word, "plain") == 0)
		return json_pack("{s:i}", "value", 7);
	if (strcmp(word, "refuse") == 0)
		return json_pack("{s:b, s:s}", "ok", 0, "error", "not\ntoday");
	if (strcmp(word, "large") == 0) {
		char *text = calloc(1, 700000);
		json_t *object;

		memset(text, 'a', 699999);
		object = json_pack("{s:b, s:s}", "ok", 1, "text", text);
		free(text);
		return object;
	}
	return NULL;
}

/* What it leads to, which the client knows; 0: none was passed. */
static json_t *tell_descriptor(const json_t *request)
{
	const json_t *passed = json_object_get(request, "descriptor");
	struct stat st = {0};

	if (passed && fstat((int)json_integer_value(passed), &st) < 0)
		return json_pack("{s:b, s:s}", "ok", 0, "error", "there is none of that number");
	return json_pack("{s:I}", "inode", (json_int_t)st.st_ino);
}

/* Takes as long as it is told, and says how many came before. */
static json_t *act(void *context, const char *command, json_t *request)
{
	static atomic_int acted;
	json_int_t ms = json_integer_value(json_object_get(request, "ms"));

	(void)context;
	if (strcmp(command, "tell-descriptor") == 0)
		return tell_descriptor(request);
	if (strcmp(command, "act") != 0)
		return NULL;
	poll(NULL, 0, (int)ms);
	return json_pack("{s:i, s:O}", "acted", atomic_fetch_add(&acted, 1), "said",
			 json_object_get(request, "ms"));
}

static const struct control_handler handler = {.look = look, .act = act};

static struct control_server *serve(atomic_int *asked)
{
	struct control_handler counting = handler;
	struct control_server *server = NULL;
	struct error err = {0};

	counting.context = asked;
	assert_int_equal(control_serve(volume, &counting, &server, &err), 0);
	assert_non_null(server);
	return server;
}

static int make_folder(void **state)
{
	FILE *file;

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(volume, sizeof(volume), "%s/v.db", folder);
	snprintf(socket_path, sizeof(socket_path), "%s.sock", volume);
	file = fopen(volume, "we");
	return file ? fclose(file) : -1;
}

static int remove_folder(void **state)
{
	char command[600];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command);
}

/* A connection as a stranger would make it; nothing is sent. */
static int dial(void)
{
	struct control_address address;
	int fd;

	assert_int_equal(control_address_find(volume, &address, NULL), 0);
	fd = control_connect(&address, control_now() + 1000);
	control_address_release(&address);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
	return fd;
}

/* What comes back for raw bytes, up to the end of the connection. */
static const char *say(const char *bytes, size_t length)
{
	static char text[4096];
	size_t got = 0;
	ssize_t n;
	int fd = dial();

	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
	while ((n = recv(fd, text + got, sizeof(text) - 1 - got, 0)) > 0)
		got += (size_t)n;
	text[got] = 0;
	close(fd);
	return text;
}

/* ---- asking ----------------------------------------------------------------- */

static void test_question_and_answer(void **state)
{
	struct control_server *server = serve(NULL);
	json_t *got = NULL;

	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(got, "pid")), getpid());
	json_decref(got);
	assert_int_equal(control_ask(volume, "plain", &got, NULL), 0);
	assert_true(json_is_true(json_object_get(got, "ok")));
	json_decref(got);
	assert_int_equal(control_ask(volume, "large", &got, NULL), 0);
	assert_int_equal(json_string_length(json_object_get(got, "text")), 699999);
	json_decref(got);
	control_stop(server);
	control_stop(NULL);
	(void)state;
}

static void test_refusals(void **state)
{
	struct control_server *server = serve(NULL);
	json_t *got = NULL;
	struct error err = {0};

	assert_int_equal(control_ask(volume, "refuse", &got, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "not?today"));
	assert_int_equal(control_ask(volume, "nonsense", &got, &err), -EREMOTEIO);
	assert_non_null(strstr(err.text, "no such request"));
	assert_null(got);
	control_stop(server);
	(void)state;
}

static void test_nobody_there(void **state)
{
	json_t *got = NULL;
	struct error err = {0};

	assert_int_equal(control_ask(volume, "status", &got, &err), -ENOENT);
	assert_non_null(strstr(err.text, "mount it"));
	assert_int_equal(control_ask("/nowhere/v.db", "status", &got, &err), -ENOENT);
	assert_int_equal(control_ask("", "status", &got, &err), -ENOENT);
	assert_null(got);
	(void)state;
}

static void test_requests_that_are_none(void **state)
{
	static char longest[CONTROL_REQUEST_MAX + 2];
	static const char *const texts[] = {
	    "\n", "status\n", "\"status\"\n", "[\"status\"]\n", "{}\n", "{\"command\": 1}\n",
	    "{\"command\": \"sta\\u0000tus\"}\n", "{\"command\": \"\xff\"}\n",
	    "{\"command\": \"status\"} x\n", "{\"command\": \"status\"\n}\n",
	    "{\"command\": \"status\", \"command\": \"status\"}\n"};
	atomic_int asked = 0;
	struct control_server *server = serve(&asked);
	json_t *got = NULL, *request;

	memset(longest, 'a', sizeof(longest) - 1);
	request = json_pack("{s:s, s:s}", "command", "status", "more", longest);
	assert_int_equal(control_request(volume, request, 1000, &got, NULL), -EMSGSIZE);
	json_decref(request);
	assert_non_null(strstr(say(longest, CONTROL_REQUEST_MAX + 1), "no such request"));
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_non_null(strstr(say(texts[i], strlen(texts[i])), "no such request"));
	assert_non_null(strstr(say("{\"command\": \"sta\0tus\"}\n", 24), "no such request"));
	assert_int_equal(atomic_load(&asked), 0);
	assert_non_null(strstr(say("{\"command\": \"status\"}\nmore", 27), "\"pid\""));
	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	json_decref(got);
	control_stop(server);
	(void)state;
}

/* ---- descriptors that are passed ---------------------------------------------- */

static ino_t ask_for_inode(int descriptor)
{
	json_t *request = json_pack("{s:s, s:i}", "command", "tell-descriptor", "descriptor", 0);
	json_t *got = NULL;
	ino_t inode;

	assert_int_equal(control_request_with(volume, request, descriptor, 1000, &got, NULL), 0);
	inode = (ino_t)json_integer_value(json_object_get(got, "inode"));
	json_decref(request);
	json_decref(got);
	return inode;
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void test_a_descriptor_is_passed(void **state)
{
	struct control_server *server = serve(NULL);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned before;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ask_for_inode(fd), st.st_ino);
	/* One of the server's own is not had by its number. */
	assert_int_equal(ask_for_inode(-1), 0);
	before = open_descriptors();
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(ask_for_inode(fd), st.st_ino);
	control_stop(server);
	assert_between(open_descriptors(), 1, before);
	close(fd);
	(void)state;
}

/* Two at a time, again and again, by who then says nothing. */
static void test_too_many_descriptors(void **state)
{
	struct control_server *server = serve(NULL);
	unsigned before = open_descriptors();
	int fd = dial(), passed[2] = {0, 1};
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(passed))];
	} control = {0};
	char byte = ' ';
	struct iovec one = {&byte, 1};
	struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control.room)};

	control.header = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
					  .cmsg_len = CMSG_LEN(sizeof(passed))};
	memcpy(CMSG_DATA(&control.header), passed, sizeof(passed));
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), 1);
	poll(NULL, 0, 200);
	/* Both ends of the connection, and the one that is kept. */
	assert_between(open_descriptors(), before, before + 3);
	close(fd);
	control_stop(server);
	(void)state;
}

/* ---- what takes its time ------------------------------------------------------ */

static json_t *ask_to_act(int ms, unsigned wait_ms, int expected)
{
	json_t *request = json_pack("{s:s, s:i}", "command", "act", "ms", ms), *got = NULL;

	assert_int_equal(control_request(volume, request, wait_ms, &got, NULL), expected);
	json_decref(request);
	return got;
}

/* dial() and a request that is not waited for. */
static int begin_to_act(int ms)
{
	char text[64];
	int fd = dial();

	snprintf(text, sizeof(text), "{\"command\": \"act\", \"ms\": %d}\n", ms);
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	return fd;
}

static void test_acting_holds_up_nobody_who_looks(void **state)
{
	struct control_server *server = serve(NULL);
	int64_t began = control_now();
	int fds[20];
	json_t *got = NULL;

	/* Of so many most are refused, and status has a place all the same. */
	for (size_t i = 0; i < 20; i++)
		fds[i] = begin_to_act(700);
	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	json_decref(got);
	assert_true(control_now() - began < 700);
	for (size_t i = 0; i < 20; i++)
		close(fds[i]);
	control_stop(server);
	(void)state;
}

static json_t *receive(int fd)
{
	char text[4096] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_WAITALL);

	close(fd);
	return n > 0 ? json_loads(text, 0, NULL) : NULL;
}

static void test_acts_come_one_after_the_other(void **state)
{
	struct control_server *server = serve(NULL);
	int64_t began = control_now();
	int first = begin_to_act(300), second;
	json_t *a, *b;

	poll(NULL, 0, 100);
	second = begin_to_act(1);
	b = receive(second);
	assert_true(control_now() - began >= 300);
	a = receive(first);
	assert_int_equal(json_integer_value(json_object_get(a, "said")), 300);
	assert_int_equal(json_integer_value(json_object_get(b, "said")), 1);
	assert_true(json_integer_value(json_object_get(a, "acted")) <
		    json_integer_value(json_object_get(b, "acted")));
	json_decref(a);
	json_decref(b);
	control_stop(server);
	(void)state;
}

/* Longer than a client that stalls is borne with. */
static void test_acting_may_take_long(void **state)
{
	struct control_server *server = serve(NULL);
	json_t *got = ask_to_act(CONTROL_WAIT_MS + 500, 20000, 0);

	assert_true(json_is_true(json_object_get(got, "ok")));
	json_decref(got);
	assert_null(ask_to_act(500, 100, -ETIMEDOUT));
	control_stop(server);
	(void)state;
}

static void test_the_end_waits_for_what_is_carried_out(void **state)
{
	struct control_server *server = serve(NULL);
	int fd = begin_to_act(300);
	json_t *got;

	poll(NULL, 0, 100);
	control_stop(server);
	got = receive(fd);
	assert_true(json_is_true(json_object_get(got, "ok")));
	json_decref(got);
	(void)state;
}

/* What was cut off is not answered as if whole. */
static void test_a_request_cut_off(void **state)
{
	atomic_int asked = 0;
	struct control_server *server = serve(&asked);
	char text[256] = "";
	int fd = dial();

	assert_int_equal(send(fd, "{\"command\": \"status\"}", 21, MSG_NOSIGNAL), 21);
	shutdown(fd, SHUT_WR);
	assert_true(recv(fd, text, sizeof(text) - 1, MSG_WAITALL) > 0);
	assert_non_null(strstr(text, "\"ok\":false"));
	close(fd);
	assert_int_equal(atomic_load(&asked), 0);
	control_stop(server);
	(void)state;
}

/* ---- the socket ------------------------------------------------------------- */

static void test_socket_mode_and_end(void **state)
{
	mode_t before = umask(0);
	struct control_server *server = serve(NULL);
	struct stat st;

	umask(before);
	assert_int_equal(lstat(socket_path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0600);
	control_stop(server);
	assert_int_equal(lstat(socket_path, &st), -1);
	(void)state;
}

static void test_two_daemons(void **state)
{
	struct control_server *first = serve(NULL), *second = NULL;
	struct error err = {0};
	json_t *got = NULL;

	assert_int_equal(control_serve(volume, &handler, &second, &err), -EBUSY);
	assert_null(second);
	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	json_decref(got);
	control_stop(first);
	(void)state;
}

/* What kill -9 leaves behind is a socket that nobody listens on. */
static void test_stale_socket(void **state)
{
	pid_t child = fork();
	struct control_server *server;
	json_t *got = NULL;
	struct stat st;
	int status;

	if (child == 0) {
		control_serve(volume, &handler, &server, NULL);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(lstat(socket_path, &st), 0);
	assert_int_equal(control_ask(volume, "status", &got, NULL), -ECONNREFUSED);
	server = serve(NULL);
	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	assert_int_equal(json_integer_value(json_object_get(got, "pid")), getpid());
	json_decref(got);
	control_stop(server);
	(void)state;
}

static void test_something_else_has_the_name(void **state)
{
	struct control_server *server = NULL;
	struct error err = {0};
	json_t *got = NULL;
	char target[600];
	struct stat st;

	snprintf(target, sizeof(target), "%s/precious", folder);
	assert_int_equal(close(open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
	assert_int_equal(symlink(target, socket_path), 0);
	assert_int_equal(control_serve(volume, &handler, &server, &err), -EEXIST);
	assert_non_null(strstr(err.text, "move it away"));
	assert_int_equal(control_ask(volume, "status", &got, &err), -EPROTO);
	assert_int_equal(lstat(socket_path, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(unlink(socket_path), 0);
	assert_int_equal(unlink(target), 0);
	(void)state;
}

/* A daemon that comes later must not lose its socket to the end of this one. */
static void test_a_socket_that_is_not_ours_stays(void **state)
{
	struct control_server *first = serve(NULL), *second;
	json_t *got = NULL;

	assert_int_equal(unlink(socket_path), 0);
	second = serve(NULL);
	control_stop(first);
	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	json_decref(got);
	control_stop(second);
	(void)state;
}

static void test_every_name_leads_to_one_socket(void **state)
{
	struct control_server *server = serve(NULL);
	char link_path[600];
	json_t *got = NULL;

	snprintf(link_path, sizeof(link_path), "%s/alias", folder);
	assert_int_equal(symlink(volume, link_path), 0);
	assert_int_equal(control_ask(link_path, "status", &got, NULL), 0);
	json_decref(got);
	assert_int_equal(unlink(link_path), 0);
	control_stop(server);
	(void)state;
}

static void test_long_paths(void **state)
{
	char path[4000];
	size_t used = (size_t)snprintf(path, sizeof(path), "%s", folder);
	struct control_server *server = NULL;
	json_t *got = NULL;

	for (int i = 0; i < 12; i++) {
		used += (size_t)snprintf(path + used, sizeof(path) - used, "/%0200d", i);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	snprintf(path + used, sizeof(path) - used, "/%0240d", 1);
	assert_int_equal(control_ask(path, "status", &got, NULL), -ENOENT);
	assert_int_equal(control_serve(path, &handler, &server, NULL), 0);
	assert_int_equal(control_ask(path, "status", &got, NULL), 0);
	json_decref(got);
	control_stop(server);
	snprintf(path + used, sizeof(path) - used, "/%0252d", 1);
	assert_int_equal(control_serve(path, &handler, &server, NULL), -ENAMETOOLONG);
	assert_int_equal(control_ask(path, "status", &got, NULL), -ENAMETOOLONG);
	(void)state;
}

/* ---- clients that do not behave ---------------------------------------------- */

/* This process holds both ends. */
static void allow_descriptors(rlim_t count)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < count)
		limit.rlim_cur = limit.rlim_max < count ? limit.rlim_max : count;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* More than there are places for, too: whoever asks has an answer before they are dropped. */
static void test_stalled_clients_hold_up_nobody(void **state)
{
	static const size_t counts[] = {16, 64, 1000};
	struct control_server *server = serve(NULL);
	static int idle[1000];
	json_t *got = NULL;

	allow_descriptors(2048);
	for (size_t n = 0; n < 3; n++) {
		int64_t began, took;

		for (size_t i = 0; i < counts[n]; i++)
			idle[i] = dial();
		began = control_now();
		assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
		took = control_now() - began;
		json_decref(got);
		print_message("%zu idle clients: an answer after %lld ms\n", counts[n],
			      (long long)took);
		assert_between(took, 0, 2000);
		for (size_t i = 0; i < counts[n]; i++)
			close(idle[i]);
	}
	control_stop(server);
	(void)state;
}

/* Nobody wants their places: they are dropped after 5 s, and it goes on. */
static void test_stalled_clients_are_dropped(void **state)
{
	struct control_server *server = serve(NULL);
	int64_t began = control_now();
	int idle[16];
	char byte;
	json_t *got = NULL;

	for (size_t i = 0; i < 16; i++)
		idle[i] = dial();
	assert_int_equal(recv(idle[0], &byte, 1, 0), 0);
	assert_between(control_now() - began, 4000, 6500);
	assert_int_equal(control_ask(volume, "status", &got, NULL), 0);
	json_decref(got);
	for (size_t i = 0; i < 16; i++)
		close(idle[i]);
	control_stop(server);
	(void)state;
}

#define LARGE "{\"command\": \"large\"}\n"

/*
 * One that asks and goes, or never reads, must not raise SIGPIPE or block. To make all
 * those answers for nobody may take a slow machine, or a sanitizer, some seconds.
 */
static void test_clients_that_leave(void **state)
{
	struct control_server *server = serve(NULL);
	json_t *request = json_pack("{s:s}", "command", "status"), *got = NULL;
	int slow;

	for (int i = 0; i < 50; i++) {
		int fd = dial();

		assert_int_equal(send(fd, LARGE, strlen(LARGE), MSG_NOSIGNAL),
				 strlen(LARGE));
		close(fd);
	}
	slow = dial();
	assert_int_equal(send(slow, LARGE, strlen(LARGE), MSG_NOSIGNAL), strlen(LARGE));
	assert_int_equal(control_request(volume, request, 12 * CONTROL_WAIT_MS, &got, NULL), 0);
	json_decref(got);
	json_decref(request);
	close(slow);
	control_stop(server);
	(void)state;
}

static void *ask_again_and_again(void *answered)
{
	for (unsigned i = 0; i < 20; i++) {
		json_t *got = NULL;

		if (control_ask(volume, "status", &got, NULL) == 0)
			atomic_fetch_add((atomic_uint *)answered, 1);
		json_decref(got);
	}
	return NULL;
}

/* Four times as many as there are places: each waits its turn and gets it. */
static void test_many_clients(void **state)
{
	struct control_server *server = serve(NULL);
	atomic_uint answered = 0;
	pthread_t threads[64];

	for (size_t i = 0; i < 64; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_again_and_again, &answered), 0);
	for (size_t i = 0; i < 64; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(atomic_load(&answered), 64 * 20);
	control_stop(server);
	(void)state;
}

static void test_the_end_is_prompt(void **state)
{
	struct control_server *server = serve(NULL);
	int idle = dial();
	int64_t began = control_now();

	control_stop(server);
	assert_true(control_now() - began < 500);
	close(idle);
	(void)state;
}

/* ---- daemons that do not behave ---------------------------------------------- */

/* Listens where the daemon would, and says `text` to whoever connects. */
static pid_t impostor(const char *text)
{
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un {
		sa_family_t family;
		char path[108];
	} at = {.family = AF_UNIX};
	pid_t child;

	snprintf(at.path, sizeof(at.path), "%.100s", socket_path);
	assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(listener, 1), 0);
	child = fork();
	if (child == 0) {
		int fd = accept(listener, NULL, NULL);

		if (text && send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0)
			shutdown(fd, SHUT_RDWR);
		pause();
	}
	close(listener);
	return child;
}

static void end(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	unlink(socket_path);
}

static void test_answers_that_are_none(void **state)
{
	static const char *const texts[] = {
	    "", "no\n", "{}", "[1]", "{\"ok\": 1}", "{\"ok\": true", "{\"ok\": true} {}"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		pid_t child = impostor(texts[i]);
		struct error err = {0};
		json_t *got = NULL;

		assert_int_equal(control_ask(volume, "status", &got, &err), -EPROTO);
		assert_null(got);
		assert_true(err.text[0]);
		end(child);
	}
	(void)state;
}

static void test_a_daemon_that_hangs(void **state)
{
	pid_t child = impostor(NULL);
	int64_t began = control_now();
	struct error err = {0};
	json_t *got = NULL;

	assert_int_equal(control_ask(volume, "status", &got, &err), -ETIMEDOUT);
	assert_between(control_now() - began, 4500, 7000);
	assert_non_null(strstr(err.text, "within 5 s"));
	end(child);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_question_and_answer),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_nobody_there),
	    cmocka_unit_test(test_requests_that_are_none),
	    cmocka_unit_test(test_a_descriptor_is_passed),
	    cmocka_unit_test(test_too_many_descriptors),
	    cmocka_unit_test(test_acting_holds_up_nobody_who_looks),
	    cmocka_unit_test(test_acts_come_one_after_the_other),
	    cmocka_unit_test(test_acting_may_take_long),
	    cmocka_unit_test(test_the_end_waits_for_what_is_carried_out),
	    cmocka_unit_test(test_a_request_cut_off),
	    cmocka_unit_test(test_socket_mode_and_end),
	    cmocka_unit_test(test_two_daemons),
	    cmocka_unit_test(test_stale_socket),
	    cmocka_unit_test(test_something_else_has_the_name),
	    cmocka_unit_test(test_a_socket_that_is_not_ours_stays),
	    cmocka_unit_test(test_every_name_leads_to_one_socket),
	    cmocka_unit_test(test_long_paths),
	    cmocka_unit_test(test_stalled_clients_hold_up_nobody),
	    cmocka_unit_test(test_stalled_clients_are_dropped),
	    cmocka_unit_test(test_clients_that_leave),
	    cmocka_unit_test(test_many_clients),
	    cmocka_unit_test(test_the_end_is_prompt),
	    cmocka_unit_test(test_answers_that_are_none),
	    cmocka_unit_test(test_a_daemon_that_hangs),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
