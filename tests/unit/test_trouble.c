/* include/remapfs/trouble.h: the list of what is wrong, the gravest first. */
#include "fixture.h"

#include <stdio.h>
#include <string.h>

#include "remapfs/trouble.h"

static struct troubles list;

static int setup(void **state)
{
	(void)state;
	list = (struct troubles){0};
	return 0;
}

static void add(enum volume_state state, unsigned number)
{
	trouble_add(&list, state, number, "do something", "cause %u", number);
}

/* Their spares' numbers, in order. */
static const char *order(void)
{
	static char text[200];
	size_t used = 0;

	text[0] = 0;
	for (size_t i = 0; i < list.count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%u", i ? " " : "",
					 list.all[i].spare);
	return text;
}

static void states_have_names(void **state)
{
	static const char *const names[] = {"ok", "pending", "full", "failed"};

	(void)state;
	for (enum volume_state s = VOLUME_OK; s <= VOLUME_FAILED; s++) {
		assert_string_equal(volume_state_name(s), names[s]);
		assert_int_equal(volume_state_from_name(names[s]), s);
	}
	assert_int_equal(volume_state_from_name("fine"), VOLUME_FAILED);
	assert_int_equal(volume_state_from_name(""), VOLUME_FAILED);
	assert_int_equal(volume_state_from_name(NULL), VOLUME_FAILED);
}

static void nothing_wrong_is_ok(void **state)
{
	(void)state;
	assert_int_equal(troubles_state(&list), VOLUME_OK);
	assert_string_equal(trouble_text(&list, 0).text, "");
	/* For which no request fails yet. */
	add(VOLUME_OK, 1);
	assert_int_equal(troubles_state(&list), VOLUME_OK);
	assert_string_equal(trouble_text(&list, 0).text, "cause 1; do something");
	assert_string_equal(trouble_text(&list, 1).text, "");
}

static void the_gravest_comes_first(void **state)
{
	(void)state;
	add(VOLUME_PENDING, 1);
	assert_int_equal(troubles_state(&list), VOLUME_PENDING);
	add(VOLUME_FAILED, 2);
	assert_int_equal(troubles_state(&list), VOLUME_FAILED);
	add(VOLUME_OK, 3);
	add(VOLUME_FULL, 4);
	/* Of those as grave, the one that was added first. */
	add(VOLUME_FAILED, 5);
	add(VOLUME_PENDING, 6);
	assert_string_equal(order(), "2 5 4 1 6 3");
	assert_int_equal(troubles_state(&list), VOLUME_FAILED);
}

static void the_least_grave_are_left_out(void **state)
{
	(void)state;
	for (unsigned i = 0; i < TROUBLES_MAX + 3; i++)
		add(VOLUME_PENDING, i);
	assert_int_equal(list.count, TROUBLES_MAX);
	assert_int_equal(list.all[TROUBLES_MAX - 1].spare, TROUBLES_MAX - 1);
	add(VOLUME_OK, 100);
	assert_int_equal(list.all[TROUBLES_MAX - 1].spare, TROUBLES_MAX - 1);
	add(VOLUME_FAILED, 101);
	assert_int_equal(list.count, TROUBLES_MAX);
	assert_int_equal(list.all[0].spare, 101);
	assert_int_equal(list.all[1].spare, 0);
	assert_int_equal(list.all[TROUBLES_MAX - 1].spare, TROUBLES_MAX - 2);
	for (unsigned i = 0; i < TROUBLES_MAX; i++)
		add(VOLUME_FAILED, 200 + i);
	assert_int_equal(list.all[TROUBLES_MAX - 1].spare, 200 + TROUBLES_MAX - 2);
}

static void a_line_is_cause_and_remedy(void **state)
{
	(void)state;
	trouble_add_line(&list, VOLUME_FULL, 7, "it is full; make room; or add one");
	assert_string_equal(list.all[0].cause, "it is full");
	assert_string_equal(list.all[0].remedy, "make room; or add one");
	assert_int_equal(list.all[0].spare, 7);
	assert_string_equal(trouble_text(&list, 0).text, "it is full; make room; or add one");
	trouble_add_line(&list, VOLUME_FULL, ON_MAIN, "100% full;of something");
	assert_string_equal(list.all[1].cause, "100% full;of something");
	assert_string_equal(list.all[1].remedy, "");
	assert_string_equal(trouble_text(&list, 1).text, "100% full;of something");
}

static void long_ones_are_cut(void **state)
{
	char text[2000];

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = 0;
	trouble_add(&list, VOLUME_FULL, ON_MAIN, text, "%s", text);
	assert_int_equal(strlen(list.all[0].cause), sizeof(list.all[0].cause) - 1);
	assert_int_equal(strlen(list.all[0].remedy), sizeof(list.all[0].remedy) - 1);
	assert_int_equal(strlen(trouble_text(&list, 0).text),
			 sizeof(list.all[0].cause) + sizeof(list.all[0].remedy));
	text[400] = ';';
	text[401] = ' ';
	trouble_add_line(&list, VOLUME_FULL, ON_MAIN, text);
	assert_int_equal(strlen(list.all[1].cause), sizeof(list.all[1].cause) - 1);
	assert_int_equal(strlen(list.all[1].remedy), sizeof(list.all[1].remedy) - 1);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(states_have_names),
		TEST(nothing_wrong_is_ok),
		TEST(the_gravest_comes_first),
		TEST(the_least_grave_are_left_out),
		TEST(a_line_is_cause_and_remedy),
		TEST(long_ones_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
