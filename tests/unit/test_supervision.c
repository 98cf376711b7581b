/* src/fuse: supervision.h, members.h, worker_log.h: what supervisor and worker share. */
#include "fixture.h"

#include "fuse/deaths.h"
#include "fuse/members.h"
#include "fuse/supervision.h"
#include "fuse/worker_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void inheritance_comes_back(void **state)
{
	struct volume_member members[] = {{ON_MAIN, 8}, {1, 9}, {SPARE_ID_MAX, 10}};
	struct volume_member claims[] = {{ON_MAIN, 12}, {1, 13}, {1, 14}};
	const struct inheritance given = {3, 4, 5, 6, 7, 11, members, 3, claims, 3};
	char *text = inheritance_write(&given);
	struct inheritance seen;

	(void)state;
	assert_non_null(text);
	assert_true(inheritance_read(text, &seen));
	assert_memory_equal(&seen, &given, 6 * sizeof(int));
	assert_int_equal(seen.count, 3);
	assert_memory_equal(seen.members, members, sizeof(members));
	assert_int_equal(seen.claim_count, 3);
	assert_memory_equal(seen.claims, claims, sizeof(claims));
	inheritance_clear(&seen);
	free(text);
}

static void inheritance_of_another_version(void **state)
{
	struct inheritance seen;

	(void)state;
	/* What is not known is left alone. */
	assert_true(inheritance_read("fuse=3,later=12,shared=4,volume=5,folder=11,ready=6,up=7,main=8", &seen));
	assert_int_equal(seen.count, 1);
	inheritance_clear(&seen);
	assert_false(inheritance_read("", &seen));
	assert_false(inheritance_read("3:4:5:6", &seen));
	assert_false(inheritance_read("fuse=3,shared=4,volume=5,folder=11,ready=6,up=7", &seen));
	assert_false(inheritance_read("fuse=3,shared=4,volume=5,folder=11,ready=6,main=8", &seen));
	assert_false(inheritance_read("fuse=-3,shared=4,volume=5,folder=11,ready=6,up=7,main=8", &seen));
	assert_false(inheritance_read("fuse=3,shared=4x,volume=5,folder=11,ready=6,up=7,main=8", &seen));
}

/* ---- one worker at a time ----------------------------------------------------------- */

/* ThreadSanitizer cannot live with a thread of another process in its memory. */
#ifndef __SANITIZE_THREAD__
static int wait_for_end(void *context)
{
	struct pollfd end = {.fd = *(int *)context, .events = POLLIN};

	/* Also where a test that failed does not say so. */
	poll(&end, 1, 20000);
	return 0;
}

static void whoever_holds_the_memory_is_waited_for(void **state)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct supervision own, *shared;
	int fd = supervision_create(&own, &shared), end[2], holder[2], status;
	pid_t worker, other = 0;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pipe(end), 0);
	assert_int_equal(pipe(holder), 0);
	worker = fork();
	if (worker == 0) {
		/* As a debugger, it has the memory of the worker for longer than that lives. */
		if (!supervision_map(fd, 0))
			_exit(1);
		other = clone(wait_for_end, stack + sizeof(stack), CLONE_VM, end);
		_exit(write(holder[1], &other, sizeof(other)) == sizeof(other) ? 0 : 1);
	}
	assert_int_equal(waitpid(worker, &status, 0), worker);
	assert_int_equal(status, 0);
	assert_int_equal(read(holder[0], &other, sizeof(other)), sizeof(other));
	assert_null(supervision_map(fd, 50));
	assert_int_equal(errno, EWOULDBLOCK);
	assert_int_equal(write(end[1], "e", 1), 1);
	assert_non_null(supervision_map(fd, 10000));
	close(fd);
}
#endif

/* ---- a worker that was taken over ---------------------------------------------------- */

/* A supervisor that touches memory beyond the end of its file dies of SIGBUS. */
static void the_memory_keeps_its_size(void **state)
{
	struct supervision own, *shared;
	int fd = supervision_create(&own, &shared);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 2 * sizeof(own)), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_int_equal(errno, EPERM);
	close(fd);
}

/* What it left there reaches no successor, but for what is the workers'. */
static void the_supervisor_keeps_its_own(void **state)
{
	struct supervision own, *shared;
	int fd = supervision_create(&own, &shared);

	(void)state;
	assert_true(fd >= 0);
	snprintf(own.former, sizeof(own.former), "handed over");
	own.upgrades_refused = 2;
	memset(shared, 0xff, sizeof(*shared));
	atomic_store(&shared->flush_failed, true);
	supervision_publish(shared, &own);
	assert_int_equal(shared->layout, SUPERVISION_LAYOUT);
	assert_int_equal(shared->bytes, sizeof(own));
	assert_int_equal(shared->init_bytes, 0);
	assert_int_equal(shared->former_end, FORMER_NONE);
	assert_string_equal(shared->former, "handed over");
	assert_string_equal(shared->upgrade_error, "");
	assert_int_equal(shared->deaths, 0);
	assert_int_equal(atomic_load(&shared->upgrades_refused), 2);
	assert_true(atomic_load(&shared->flush_failed));
	assert_true(supervision_fits(fd));
	close(fd);
}

static unsigned count_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* As the supervisor has room for one, two would be left open each time. */
static void descriptors_do_not_pile_up(void **state)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				.cmsg_len = CMSG_LEN(2 * sizeof(int))}};
	struct iovec data = {.iov_base = (char[]){"x"}, .iov_len = 1};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	const int passed[] = {STDIN_FILENO, STDERR_FILENO};
	int fds[2];
	unsigned before;

	(void)state;
	assert_int_equal(members_socket(fds), 0);
	memcpy(CMSG_DATA(&control.header), passed, sizeof(passed));
	before = count_descriptors();
	assert_int_equal(sendmsg(fds[1], &message, 0), 1);
	assert_true(members_serve(fds[0], NULL));
	assert_int_equal(count_descriptors(), before);
	close(fds[0]);
	close(fds[1]);
}

/* ---- what a worker says ----------------------------------------------------------------- */

static char said[65536];

/* The log's lines for what a worker writes. */
static void hear(struct worker_log *l, int end, const char *text)
{
	int kept = dup(STDERR_FILENO);
	FILE *file = tmpfile();
	size_t n;

	assert_non_null(file);
	assert_int_equal(write(end, text, strlen(text)), strlen(text));
	dup2(fileno(file), STDERR_FILENO);
	worker_log_pass(l);
	dup2(kept, STDERR_FILENO);
	close(kept);
	rewind(file);
	n = fread(said, 1, sizeof(said) - 1, file);
	said[n] = 0;
	fclose(file);
}

static void lines_are_passed_on(void **state)
{
	struct worker_log l;
	int end = worker_log_begin(&l, LOG_LEVEL_WARNING, false);
	char text[1501];

	(void)state;
	assert_true(end >= 0);
	hear(&l, end, "<3>bad; mend it\n<7>debug\nmalloc(): corrupted\n<9>odd\n\n<4>hal");
	assert_string_equal(said, "remapfs: bad; mend it\nremapfs: malloc(): corrupted\n"
			    "remapfs: odd\n");
	hear(&l, end, "f\n");
	assert_string_equal(said, "remapfs: half\n");
	/* Too long a line is several. */
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	hear(&l, end, text);
	assert_int_equal(strlen(said), strlen("remapfs: \n") + sizeof(l.line) - 1);
	close(end);
	worker_log_end(&l);
	assert_int_equal(l.fd, -1);
}

/* A request that has something to say does not wait for who reads it. */
static void a_full_pipe_is_no_reason_to_wait(void **state)
{
	struct worker_log l;
	int end = worker_log_begin(&l, LOG_LEVEL_WARNING, false);
	char text[4096];

	(void)state;
	assert_true(end >= 0);
	memset(text, 'x', sizeof(text));
	while (write(end, text, sizeof(text)) > 0)
		;
	assert_int_equal(errno, EAGAIN);
	close(end);
	close(l.fd);
}

/* ---- those that die ------------------------------------------------------------------ */

/* How many die, `lives` ms after they began to serve or without (-1), until the mount is given up. */
static unsigned deaths_until_the_end(int64_t lives, bool killed, int64_t *ret_ms)
{
	struct deaths d = {.unserved_since = 1000};
	int64_t now = 1000;
	unsigned count = 0;
	int pause = 0;

	while (pause >= 0 && count < 5000) {
		now += pause;
		d.served_since = now;
		now += lives > 0 ? lives : 0;
		pause = deaths_note(&d, lives >= 0, killed, now);
		count++;
	}
	*ret_ms = now - 1000;
	return count;
}

static void a_worker_that_dies_gets_another_one(void **state)
{
	int64_t ms;

	(void)state;
	/* What cannot start is given up, after a while in which what it lacks may come back. */
	assert_int_equal(deaths_until_the_end(-1, false, &ms), 34);
	assert_in_range(ms, 20000, 40000);
	/* What dies of each request, too; what serves for a while in between is not. */
	assert_int_equal(deaths_until_the_end(0, false, &ms), 200);
	assert_int_equal(deaths_until_the_end(10000, false, &ms), 5000);
	/* Somebody kills them: that is no fault, but when nobody has served for long. */
	assert_int_equal(deaths_until_the_end(0, true, &ms), 5000);
	assert_in_range(deaths_until_the_end(-1, true, &ms), 30, 1000);
	assert_in_range(ms, 10 * 60 * 1000, 10 * 60 * 1000 + 1000);
}

/* Each unborn one waits longer than the one before, up to a second; one that served begins anew. */
static void the_next_one_is_not_hurried(void **state)
{
	struct deaths d = {0};
	int last = 0, pause;

	(void)state;
	for (int i = 0; i < 10; i++, last = pause) {
		pause = deaths_note(&d, false, true, i);
		assert_true(pause >= last && pause > 0 && pause <= 1000);
	}
	assert_int_equal(last, 1000);
	assert_int_equal(deaths_note(&d, true, true, 20), 0);
}

/* ---- spares that join ---------------------------------------------------------------- */

static void only_messages_are_believed(void **state)
{
	struct inheritance inherited = {.up = -1};
	char path[] = "/spare";
	const struct store_spare spare = {.id = 1, .path = path};
	struct error err = {""};
	int fds[2], rest[2];

	(void)state;
	assert_int_equal(members_socket(fds), 0);
	inherited.up = fds[1];
	/* None is there, and what is none. */
	assert_true(members_serve(fds[0], NULL));
	assert_int_equal(send(fds[1], "nonsense", 8, 0), 8);
	assert_true(members_serve(fds[0], NULL));
	assert_true(recv(fds[1], rest, sizeof(rest), MSG_DONTWAIT | MSG_TRUNC) > 0);
	close(fds[0]);
	assert_true(members_joined(&inherited, &spare, -1, &err) < 0);
	assert_true(err.text[0] != 0);
	close(fds[1]);
}

/* As the supervisor, for one message. */
static void *serve_one(void *context)
{
	struct pollfd asked = {.fd = *(int *)context, .events = POLLIN};

	if (poll(&asked, 1, 20000) == 1)
		members_serve(asked.fd, NULL);
	return NULL;
}

/* Of a spare that was refused, when one that has left is told. */
static void a_late_answer_is_to_no_question(void **state)
{
	const struct timeval soon = {.tv_usec = 50000}, later = {.tv_sec = 20};
	struct inheritance inherited = {.up = -1};
	char path[] = "/spare";
	const struct store_spare main = {.id = ON_MAIN, .path = path}, other = {.id = 1, .path = path};
	struct error err = {""};
	pthread_t supervisor;
	int fds[2];

	(void)state;
	assert_int_equal(members_socket(fds), 0);
	inherited.up = fds[1];
	setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &soon, sizeof(soon));
	assert_int_equal(members_joined(&inherited, &other, -1, &err), -EPIPE);
	assert_true(members_serve(fds[0], NULL));
	setsockopt(fds[1], SOL_SOCKET, SO_RCVTIMEO, &later, sizeof(later));
	assert_int_equal(pthread_create(&supervisor, NULL, serve_one, fds), 0);
	err.text[0] = 0;
	assert_int_equal(members_joined(&inherited, &main, -1, &err), -EINVAL);
	assert_non_null(strstr(err.text, "main stays"));
	assert_int_equal(pthread_join(supervisor, NULL), 0);
	close(fds[0]);
	close(fds[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(inheritance_comes_back),
		TEST(inheritance_of_another_version),
#ifndef __SANITIZE_THREAD__
		TEST(whoever_holds_the_memory_is_waited_for),
#endif
		TEST(the_memory_keeps_its_size),
		TEST(the_supervisor_keeps_its_own),
		TEST(descriptors_do_not_pile_up),
		TEST(lines_are_passed_on),
		TEST(a_full_pipe_is_no_reason_to_wait),
		TEST(a_worker_that_dies_gets_another_one),
		TEST(the_next_one_is_not_hurried),
		TEST(only_messages_are_believed),
		TEST(a_late_answer_is_to_no_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
