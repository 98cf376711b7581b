/* include/remapfs/text.h */
#include "fixture.h"

#include "remapfs/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Each of these becomes as many '?' as it has characters. */
static const struct {
	const char *text, *clean;
} unsafe[] = {
	{"\n", "?"},
	{"\t\r\033\177", "????"},
	{"\302\200\302\233\302\237", "???"}, /* C1: U+0080, U+009B, U+009F */
	{"\330\234", "?"},		     /* U+061C */
	{"\342\200\216\342\200\217", "??"},  /* U+200E, U+200F */
	{"\342\200\250\342\200\256", "??"},  /* U+2028, U+202E */
	{"\342\201\246\342\201\257", "??"},  /* U+2066, U+206F */
	{"\357\273\277\357\277\271", "??"},  /* U+FEFF, U+FFF9 */
	{"\357\277\276\357\277\277", "??"},  /* U+FFFE, U+FFFF */
	{"\363\240\201\201", "?"},	     /* U+E0041 */
	{"\200\277\376\377", "????"},	     /* bytes that begin nothing */
	{"\300\257\340\200\257", "?????"},   /* '/', spelt too long */
	{"\355\240\200", "???"},	     /* half of a surrogate pair */
	{"\364\220\200\200", "????"},	     /* past U+10FFFF */
	{"\342\200", "??"},		     /* cut off */
	{"\342\200x", "??x"},
};

static const char *const safe[] = {
	"", "plain ~", "Gr\303\266\303\237e", "\302\240\302\255", "\342\200\213\342\200\257",
	"\357\277\275", "\360\237\222\276", "\364\217\277\275",
};

static void what_is_unsafe_becomes_question_marks(void **state)
{
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(*unsafe); i++) {
		snprintf(text, sizeof(text), "a%sb", unsafe[i].text);
		text_clean(text);
		assert_int_equal(text[0], 'a');
		assert_memory_equal(text + 1, unsafe[i].clean, strlen(unsafe[i].clean));
		assert_string_equal(text + 1 + strlen(unsafe[i].clean), "b");
	}
}

static void what_is_text_stays(void **state)
{
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof(safe) / sizeof(*safe); i++) {
		snprintf(text, sizeof(text), "%s", safe[i]);
		assert_string_equal(text_clean(text), safe[i]);
		assert_string_equal(text_make_utf8(text), safe[i]);
	}
}

static void utf8_keeps_what_json_can_escape(void **state)
{
	char text[] = "a\n\302\233\342\200\256\377b\342\200";

	(void)state;
	assert_string_equal(text_make_utf8(text), "a\n\302\233\342\200\256?b??");
}

static void json_loses_nothing(void **state)
{
	char *said = NULL;
	size_t size;
	FILE *to = open_memstream(&said, &size);

	(void)state;
	assert_non_null(to);
	text_put_json(to, "{\n\t\"a\": \"\177\302\233\342\200\256\363\240\201\201\303\274\377\"\n}");
	fclose(to);
	assert_string_equal(said, "{\n\t\"a\": \"\\u007f\\u009b\\u202e\\udb40\\udc41\303\274?\"\n}");
	free(said);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_unsafe_becomes_question_marks),
		cmocka_unit_test(what_is_text_stays),
		cmocka_unit_test(utf8_keeps_what_json_can_escape),
		cmocka_unit_test(json_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
