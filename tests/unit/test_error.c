/* include/remapfs/error.h */
#include "fixture.h"

#include "remapfs/error.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

static void set_formats_and_returns_the_code(void **state)
{
	struct error err = {""};

	(void)state;
	assert_int_equal(error_set(&err, ENOENT, "%s is missing: make %d", "x", 7), -ENOENT);
	assert_string_equal(err.text, "x is missing: make 7");
}

static void set_keeps_errno_and_allows_null(void **state)
{
	struct error err;

	(void)state;
	errno = EXDEV;
	assert_int_equal(error_set(NULL, EBUSY, "nobody reads this"), -EBUSY);
	assert_int_equal(error_set(&err, EBUSY, "%d", 1), -EBUSY);
	assert_int_equal(errno, EXDEV);
	error_prefix(NULL, "nothing");
}

static void hostile_names_stay_on_one_line(void **state)
{
	struct error err;

	(void)state;
	error_set(&err, EINVAL, "%s", "a\nb\rc\033[2Jd\te\177f");
	assert_string_equal(err.text, "a?b?c?[2Jd?e?f");
	error_set(&err, EINVAL, "%s", "g\302\233h\342\200\256i\377");
	assert_string_equal(err.text, "g?h?i?");
	error_set(&err, EINVAL, "%s", "a\nb\rc\033[2Jd\te\177f");
	error_prefix(&err, "%s", "p\nq");
	assert_string_equal(err.text, "p?q: a?b?c?[2Jd?e?f");
}

static void utf8_is_left_alone(void **state)
{
	struct error err;

	(void)state;
	error_set(&err, EINVAL, "%s", "Größe");
	assert_string_equal(err.text, "Größe");
}

static void long_lines_are_cut(void **state)
{
	struct error err;
	char text[2000];

	(void)state;
	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	error_set(&err, EINVAL, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	error_prefix(&err, "%s", text);
	assert_true(strlen(err.text) < sizeof(err.text));
	assert_memory_equal(err.text, text, 200);
	error_set(&err, EINVAL, "end");
	error_prefix(&err, "start");
	assert_string_equal(err.text, "start: end");
}

static void names_go_both_ways(void **state)
{
	static const int codes[] = {EIO, ENODATA, EREMOTEIO, EILSEQ, ENOSPC, ETIMEDOUT, EPERM};

	(void)state;
	assert_string_equal(errno_name(EIO), "EIO");
	assert_string_equal(errno_name(ENODATA), "ENODATA");
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
		assert_int_equal(errno_from_name(errno_name(codes[i])), codes[i]);
	assert_int_equal(errno_from_name("EWHAT"), 0);
	assert_int_equal(errno_from_name(""), 0);
	assert_int_equal(errno_from_name("eio"), 0);
}

static void *other_name(void *name)
{
	assert_string_equal(errno_name(9002), "E9002");
	return name;
}

static void unknown_numbers_have_names_per_thread(void **state)
{
	const char *name = errno_name(9001);
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, other_name, NULL), 0);
	pthread_join(thread, NULL);
	assert_string_equal(name, "E9001");
}

/* Contract 7 hangs on this list: nothing else may ever move a sector. */
static void only_five_errors_are_media_errors(void **state)
{
	(void)state;
	for (int code = 0; code < 200; code++) {
		_Bool media = code == EIO || code == ENODATA || code == EREMOTEIO ||
			      code == EILSEQ || code == ETIME;

		assert_int_equal(errno_is_media(code), media);
	}
	assert_false(errno_is_media(-EIO));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_formats_and_returns_the_code),
		cmocka_unit_test(set_keeps_errno_and_allows_null),
		cmocka_unit_test(hostile_names_stay_on_one_line),
		cmocka_unit_test(utf8_is_left_alone),
		cmocka_unit_test(long_lines_are_cut),
		cmocka_unit_test(names_go_both_ways),
		cmocka_unit_test(unknown_numbers_have_names_per_thread),
		cmocka_unit_test(only_five_errors_are_media_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
