/* src/fuse/supervision.h and members.h: what supervisor and worker share. */
#include "fixture.h"

#include "fuse/members.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void inheritance_comes_back(void **state)
{
	struct volume_member members[] = {{ON_MAIN, 8}, {1, 9}, {SPARE_ID_MAX, 10}};
	const struct inheritance given = {3, 4, 5, 6, 7, members, 3};
	char *text = inheritance_write(&given);
	struct inheritance seen;

	(void)state;
	assert_non_null(text);
	assert_true(inheritance_read(text, &seen));
	assert_memory_equal(&seen, &given, 5 * sizeof(int));
	assert_int_equal(seen.count, 3);
	assert_memory_equal(seen.members, members, sizeof(members));
	inheritance_clear(&seen);
	free(text);
}

static void inheritance_of_another_version(void **state)
{
	struct inheritance seen;

	(void)state;
	/* What is not known is left alone. */
	assert_true(inheritance_read("fuse=3,later=11,shared=4,volume=5,ready=6,up=7,main=8", &seen));
	assert_int_equal(seen.count, 1);
	inheritance_clear(&seen);
	assert_false(inheritance_read("", &seen));
	assert_false(inheritance_read("3:4:5:6", &seen));
	assert_false(inheritance_read("fuse=3,shared=4,volume=5,ready=6,up=7", &seen));
	assert_false(inheritance_read("fuse=3,shared=4,volume=5,ready=6,main=8", &seen));
	assert_false(inheritance_read("fuse=-3,shared=4,volume=5,ready=6,up=7,main=8", &seen));
	assert_false(inheritance_read("fuse=3,shared=4x,volume=5,ready=6,up=7,main=8", &seen));
}

/* ---- one worker at a time ----------------------------------------------------------- */

/* ThreadSanitizer does not know this thread of another process: nothing of its may run there. */
static __attribute__((no_sanitize("thread"))) int wait_for_end(void *context)
{
	struct pollfd end = {.fd = *(int *)context, .events = POLLIN};

	/* Also where a test that failed does not say so. */
	syscall(SYS_poll, &end, 1, 20000);
	return 0;
}

static void whoever_holds_the_memory_is_waited_for(void **state)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct supervision *shared;
	int fd = supervision_create(&shared), end[2], holder[2], status;
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(inheritance_comes_back),
		TEST(inheritance_of_another_version),
		TEST(whoever_holds_the_memory_is_waited_for),
		TEST(only_messages_are_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
