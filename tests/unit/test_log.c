/* include/remapfs/log.h */
#include "fixture.h"

#include "remapfs/log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The clock that the program under test sees. */
static time_t seconds = 1000;

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	(void)clock;
	*ret = (struct timespec){.tv_sec = seconds};
	return 0;
}

static char said[65536];
static int kept_stderr;

/* From here on stderr is a file. */
static void listen_to_stderr(void)
{
	int fd = open(at("stderr"), O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

	assert_true(fd >= 0);
	kept_stderr = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static void stop_listening(void)
{
	ssize_t n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);

	dup2(kept_stderr, STDERR_FILENO);
	close(kept_stderr);
	assert_true(n >= 0);
	said[n] = 0;
}

static unsigned lines_with(const char *what)
{
	unsigned count = 0;

	for (const char *next = said; (next = strstr(next, what)); next++)
		count++;
	return count;
}

static void fail_often(unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		log_error("sector %u is bad; replace the disk", i);
}

static void a_terminal_gets_the_name_of_the_program(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	listen_to_stderr();
	log_init("prog", LOG_LEVEL_WARNING);
	log_warning("%d of them", 3);
	log_notice("too much");
	stop_listening();
	assert_string_equal(said, "prog: 3 of them\n");
}

static void a_journal_gets_the_priority(void **state)
{
	struct stat st;
	char stream[64];

	(void)state;
	listen_to_stderr();
	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev,
		 (unsigned long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("prog", LOG_LEVEL_DEBUG);
	log_error("an error");
	log_warning("a warning");
	log_notice("a notice");
	log_debug("more");
	stop_listening();
	assert_string_equal(said, "<3>an error\n<4>a warning\n<5>a notice\n<7>more\n");
}

/* Inherited by a program whose stderr went elsewhere. */
/* A line of its own would have a priority of its own as well. */
static void a_hostile_name_makes_no_line(void **state)
{
	struct stat st;
	char stream[64];

	(void)state;
	listen_to_stderr();
	fstat(STDERR_FILENO, &st);
	snprintf(stream, sizeof(stream), "%lu:%lu", (unsigned long)st.st_dev,
		 (unsigned long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_init("prog", LOG_LEVEL_NOTICE);
	log_error("'%s' is gone", "a\n<0>b\033[2J\302\233c\342\200\256d\377e");
	stop_listening();
	assert_string_equal(said, "<3>'a?<0>b?[2J?c?d?e' is gone\n");
}

static void another_stream_is_no_journal(void **state)
{
	(void)state;
	setenv("JOURNAL_STREAM", "1:1", 1);
	listen_to_stderr();
	log_init("prog", LOG_LEVEL_DEBUG);
	log_error("an error of another kind");
	stop_listening();
	assert_string_equal(said, "prog: an error of another kind\n");
}

static void what_repeats_is_left_out(void **state)
{
	(void)state;
	listen_to_stderr();
	log_init("prog", LOG_LEVEL_NOTICE);
	fail_often(LOG_BURST + 990);
	log_notice("something else");
	seconds += LOG_INTERVAL_S - 1;
	fail_often(1);
	stop_listening();
	assert_int_equal(lines_with("is bad"), LOG_BURST);
	assert_int_equal(lines_with("something else"), 1);

	listen_to_stderr();
	seconds += 1;
	fail_often(2);
	stop_listening();
	assert_int_equal(lines_with("is bad"), 2);
	assert_int_equal(lines_with("991 messages like the next one were left out"), 1);
}

static void debug_messages_are_never_left_out(void **state)
{
	(void)state;
	listen_to_stderr();
	log_init("prog", LOG_LEVEL_DEBUG);
	for (int i = 0; i < 100; i++)
		log_debug("step %d", i);
	stop_listening();
	assert_int_equal(lines_with("step "), 100);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_terminal_gets_the_name_of_the_program),
		TEST(a_journal_gets_the_priority),
		TEST(a_hostile_name_makes_no_line),
		TEST(another_stream_is_no_journal),
		TEST(what_repeats_is_left_out),
		TEST(debug_messages_are_never_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
