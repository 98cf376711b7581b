/* What people type: include/remapfs/parse.h, promise by promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "remapfs/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNTOUCHED UINT64_C(0xdeadbeef)

static void assert_reason(const struct error *err)
{
	assert_true(err->text[0]);
	assert_null(strchr(err->text, '\n'));
	/* A cause and a remedy. */
	assert_non_null(strchr(err->text, ';'));
}

/* ---- sizes ------------------------------------------------------------------ */

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
	    {"0", 0},
	    {"1", 1},
	    {"512", 512},
	    {"007", 7},
	    {"1K", 1024},
	    {"1k", 1024},
	    {"1KiB", 1024},
	    {"1KB", 1000},
	    {"50M", 50u << 20},
	    {"50MiB", 50u << 20},
	    {"50MB", 50000000},
	    {"3G", UINT64_C(3) << 30},
	    {"3GB", UINT64_C(3000000000)},
	    {"2T", UINT64_C(2) << 40},
	    {"8191P", UINT64_C(8191) << 50},
	    {"1PB", UINT64_C(1000000000000000)},
	    {"9223372036854775807", INT64_MAX},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		uint64_t bytes = UNTOUCHED;

		assert_int_equal(parse_size(good[i].text, &bytes, NULL), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	(void)state;
}

static void test_bad_sizes(void **state)
{
	static const struct {
		const char *text;
		int code;
	} bad[] = {
	    {"", EINVAL},
	    {" ", EINVAL},
	    {"K", EINVAL},
	    {"-1", EINVAL},
	    {"+1", EINVAL},
	    {" 1", EINVAL},
	    {"1 ", EINVAL},
	    {"1 K", EINVAL},
	    {"0x10", EINVAL},
	    {"1.5G", EINVAL},
	    {"1e3", EINVAL},
	    {"nan", EINVAL},
	    {"1KK", EINVAL},
	    {"1Ki", EINVAL},
	    {"1KIB", EINVAL},
	    {"1kb", EINVAL},
	    {"1B", EINVAL},
	    {"1E", EINVAL},
	    {"1Z", EINVAL},
	    {"1\n", EINVAL},
	    {"\n", EINVAL},
	    {"8192P", ERANGE},
	    {"9223372036854775808", ERANGE},
	    {"18446744073709551616", ERANGE},
	    {"99999999999999999999999999999999P", ERANGE},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		uint64_t bytes = UNTOUCHED;
		struct error err = {0};

		assert_int_equal(parse_size(bad[i].text, &bytes, &err), -bad[i].code);
		assert_int_equal(bytes, UNTOUCHED);
		assert_reason(&err);
	}
	(void)state;
}

static void test_a_long_value_leaves_room_for_the_remedy(void **state)
{
	static char text[100000];
	struct error err = {0};
	uint64_t bytes = UNTOUCHED;

	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(parse_size(text, &bytes, &err), -EINVAL);
	assert_non_null(strstr(err.text, "such as 50M"));
	(void)state;
}

static void test_format_size(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {
	    {0, "0 B"},
	    {1, "1 B"},
	    {512, "512 B"},
	    {1023, "1023 B"},
	    {1024, "1 KiB"},
	    {1536, "1.5 KiB"},
	    {50u << 20, "50 MiB"},
	    {1023 * 1024, "1023 KiB"},
	    {(1u << 20) - 1, "1.0 MiB"},
	    {(50u << 20) + 1, "50.0 MiB"},
	    {UINT64_C(1) << 62, "4 EiB"},
	    {UINT64_MAX, "16.0 EiB"},
	};
	char buf[32];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_ptr_equal(format_size(buf, sizes[i].bytes), buf);
		assert_string_equal(buf, sizes[i].text);
	}
	(void)state;
}

/* ---- numbers ---------------------------------------------------------------- */

static void test_numbers(void **state)
{
	uint64_t n = UNTOUCHED;
	struct error err = {0};

	assert_int_equal(parse_number("0", 0, 0, &n, NULL), 0);
	assert_int_equal(n, 0);
	assert_int_equal(parse_number("18446744073709551615", 0, UINT64_MAX, &n, NULL), 0);
	assert_true(n == UINT64_MAX);
	n = UNTOUCHED;
	assert_int_equal(parse_number("0", 1, 9, &n, &err), -ERANGE);
	assert_reason(&err);
	assert_int_equal(parse_number("10", 1, 9, &n, NULL), -ERANGE);
	assert_int_equal(parse_number("18446744073709551616", 0, UINT64_MAX, &n, NULL), -ERANGE);
	for (const char *const *bad =
		 (const char *const[]){"", "-1", "+1", "1x", " 1", "1.0", "1\n", "x", NULL};
	     *bad; bad++)
		assert_int_equal(parse_number(*bad, 0, 9, &n, &err), -EINVAL);
	assert_reason(&err);
	assert_int_equal(n, UNTOUCHED);
	(void)state;
}

static void test_percentages(void **state)
{
	double p = -1;
	struct error err = {0};

	assert_int_equal(parse_percent("100", &p, NULL), 0);
	assert_true(p == 100);
	assert_int_equal(parse_percent("0.5", &p, NULL), 0);
	assert_true(p == 0.5);
	assert_int_equal(parse_percent("12.25", &p, NULL), 0);
	assert_true(p > 12.2499 && p < 12.2501);
	p = -1;
	for (const char *const *bad =
		 (const char *const[]){"0", "0.0", "100.1", "101", "99999999999999999999999", NULL};
	     *bad; bad++)
		assert_int_equal(parse_percent(*bad, &p, &err), -ERANGE);
	assert_reason(&err);
	for (const char *const *bad =
		 (const char *const[]){"", "-1", "5%", ".5", "5.", ".", "1.2.3", "1,5", "nan",
				       "inf", "0x5", "1e1", " 5", "5 ", NULL};
	     *bad; bad++)
		assert_int_equal(parse_percent(*bad, &p, &err), -EINVAL);
	assert_reason(&err);
	assert_true(p == -1);
	(void)state;
}

/* ---- sector lists ----------------------------------------------------------- */

static void assert_ranges(const struct sector_range *ranges, size_t count, const char *expected)
{
	char text[256] = "";
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%" PRIu64 "+%" PRIu64,
					 i ? " " : "", ranges[i].start, ranges[i].count);
	assert_string_equal(text, expected);
}

static void test_sector_lists(void **state)
{
	static const struct {
		const char *text, *ranges;
	} good[] = {
	    {"0", "0+1"},
	    {"9999", "9999+1"},
	    {"0,2,5000-5004", "0+1 2+1 5000+5"},
	    {"5,3,4", "3+3"},
	    {"7-7", "7+1"},
	    {"10-20,15-30", "10+21"},
	    {"10-30,15-20", "10+21"},
	    {"0-9999", "0+10000"},
	    {"1,1,1", "1+1"},
	    {"4-5,0-1,2-3", "0+6"},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct sector_range *ranges = NULL;
		size_t count = 0;

		assert_int_equal(parse_sectors(good[i].text, 10000, &ranges, &count, NULL), 0);
		assert_ranges(ranges, count, good[i].ranges);
		free(ranges);
	}
	(void)state;
}

static void test_bad_sector_lists(void **state)
{
	static const struct {
		const char *text;
		int code;
	} bad[] = {
	    {"", EINVAL},
	    {",", EINVAL},
	    {"1,", EINVAL},
	    {",1", EINVAL},
	    {"1,,2", EINVAL},
	    {"-", EINVAL},
	    {"-5", EINVAL},
	    {"5-", EINVAL},
	    {"1-2-3", EINVAL},
	    {"5-3", EINVAL},
	    {"x", EINVAL},
	    {"1;2", EINVAL},
	    {"1 2", EINVAL},
	    {"1, 2", EINVAL},
	    {"0x1", EINVAL},
	    {"1\n", EINVAL},
	    {"10000", ERANGE},
	    {"0-10000", ERANGE},
	    {"18446744073709551616", ERANGE},
	    {"0-18446744073709551615", ERANGE},
	    {"0-99999999999999999999999", ERANGE},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct sector_range *ranges = NULL;
		size_t count = UNTOUCHED;
		struct error err = {0};

		assert_int_equal(parse_sectors(bad[i].text, 10000, &ranges, &count, &err),
				 -bad[i].code);
		assert_null(ranges);
		assert_int_equal(count, UNTOUCHED);
		assert_reason(&err);
	}
	(void)state;
}

static void test_the_end_of_all_numbers(void **state)
{
	struct sector_range *ranges = NULL;
	size_t count = 0;
	struct error err = {0};

	assert_int_equal(parse_sectors("0-18446744073709551614", UINT64_MAX, &ranges, &count, NULL),
			 0);
	assert_int_equal(count, 1);
	assert_true(ranges[0].start == 0 && ranges[0].count == UINT64_MAX);
	free(ranges);
	assert_int_equal(parse_sectors("0", 0, &ranges, &count, &err), -ERANGE);
	assert_reason(&err);
	(void)state;
}

static void test_merging(void **state)
{
	struct sector_range ranges[] = {{8, 2}, {0, 4}, {4, 1}, {2, 1}, {20, 5}, {10, 1}};

	assert_int_equal(merge_ranges(ranges, 0), 0);
	assert_int_equal(merge_ranges(ranges, 6), 3);
	assert_ranges(ranges, 3, "0+5 8+3 20+5");
	(void)state;
}

/* ---- sector files ----------------------------------------------------------- */

static char list_path[] = "/tmp/test-parse-XXXXXX";

static int make_list(void **state)
{
	int fd = mkstemp(list_path);

	(void)state;
	return fd < 0 ? -1 : close(fd);
}

static int remove_list(void **state)
{
	(void)state;
	return unlink(list_path);
}

static int parse_content(const char *content, size_t length, struct sector_range **ranges,
			 size_t *count, struct error *err)
{
	FILE *file = fopen(list_path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(content, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
	return parse_sector_file(list_path, 10000, ranges, count, err);
}

static void test_sector_files(void **state)
{
	static const struct {
		const char *content, *ranges;
	} good[] = {
	    {"0\n2\n5000-5004\n", "0+1 2+1 5000+5"},
	    {"# from badblocks\n\n  7\t# why\r\n\t8 \n", "7+2"},
	    {"3,1\n2", "1+3"},
	    {"#\n5", "5+1"},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		struct sector_range *ranges = NULL;
		size_t count = 0;

		assert_int_equal(
		    parse_content(good[i].content, strlen(good[i].content), &ranges, &count, NULL),
		    0);
		assert_ranges(ranges, count, good[i].ranges);
		free(ranges);
	}
	(void)state;
}

static void assert_bad_content(const char *content, size_t length, int code, const char *hint)
{
	struct sector_range *ranges = NULL;
	size_t count = UNTOUCHED;
	struct error err = {0};

	assert_int_equal(parse_content(content, length, &ranges, &count, &err), -code);
	assert_null(ranges);
	assert_int_equal(count, UNTOUCHED);
	assert_reason(&err);
	assert_non_null(strstr(err.text, hint));
	assert_non_null(strstr(err.text, list_path));
}

static void test_bad_sector_files(void **state)
{
	static char longest[70000];

	memset(longest, '1', sizeof(longest));
	assert_bad_content("", 0, EINVAL, "no sector in it");
	assert_bad_content("# only\n\n", 8, EINVAL, "no sector in it");
	assert_bad_content("1\n2\nx\n", 6, EINVAL, "line 3");
	assert_bad_content("1\n\n10000\n", 9, ERANGE, "line 3");
	assert_bad_content("1 2\n", 4, EINVAL, "line 1");
	assert_bad_content("1\n\0\n", 4, EINVAL, "line 2");
	assert_bad_content(longest, sizeof(longest), EINVAL, "line 1");
	(void)state;
}

static void test_files_that_cannot_be_read(void **state)
{
	struct sector_range *ranges = NULL;
	size_t count = UNTOUCHED;
	struct error err = {0};

	assert_int_equal(parse_sector_file("/nowhere/list", 10, &ranges, &count, &err), -EINVAL);
	assert_reason(&err);
	assert_int_equal(parse_sector_file("/", 10, &ranges, &count, &err), -EINVAL);
	assert_reason(&err);
	assert_int_equal(parse_sector_file("", 10, &ranges, &count, &err), -EINVAL);
	assert_reason(&err);
	assert_int_equal(parse_sector_file("/dev/zero", 10, &ranges, &count, &err), -EINVAL);
	assert_reason(&err);
	assert_null(ranges);
	(void)state;
}

/* Memory follows the sectors named, not the length of the list. */
static void test_many_repeats(void **state)
{
	FILE *file = fopen(list_path, "we");
	struct sector_range *ranges = NULL;
	size_t count = 0;

	for (unsigned i = 0; i < 200000; i++)
		fprintf(file, "%u\n", i * 7919u % 10000u);
	fclose(file);
	assert_int_equal(parse_sector_file(list_path, 10000, &ranges, &count, NULL), 0);
	assert_ranges(ranges, count, "0+10000");
	free(ranges);
	(void)state;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes),
	    cmocka_unit_test(test_bad_sizes),
	    cmocka_unit_test(test_a_long_value_leaves_room_for_the_remedy),
	    cmocka_unit_test(test_format_size),
	    cmocka_unit_test(test_numbers),
	    cmocka_unit_test(test_percentages),
	    cmocka_unit_test(test_sector_lists),
	    cmocka_unit_test(test_bad_sector_lists),
	    cmocka_unit_test(test_the_end_of_all_numbers),
	    cmocka_unit_test(test_merging),
	    cmocka_unit_test(test_sector_files),
	    cmocka_unit_test(test_bad_sector_files),
	    cmocka_unit_test(test_files_that_cannot_be_read),
	    cmocka_unit_test(test_many_repeats),
	};

	return cmocka_run_group_tests(tests, make_list, remove_list);
}
