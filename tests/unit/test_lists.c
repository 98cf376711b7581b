/* include/remapfs/lists.h: what is read and refused, and that what is written is read again. */
#include "fixture.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/lists.h"

/* 1 MiB and a half block. */
#define SECTORS 2049

static struct error err, warning;
static struct list_disk disk;

static int setup(void **state)
{
	(void)state;
	disk = (struct list_disk){512, SECTORS, LIST_BLOCK_SIZE, 0, false, "-", false};
	return 0;
}

/* As "100+2 300+1"; NULL: refused. */
static const char *read_bytes(enum list_format format, const char *text, size_t length)
{
	static char result[1000];
	struct sector_range *ranges = NULL;
	size_t count = 0;
	FILE *file = tmpfile();
	int rc;

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	rewind(file);
	err.text[0] = 0;
	rc = list_read(format, file, "the list", &disk, &ranges, &count, &warning, &err);
	fclose(file);
	if (rc < 0) {
		assert_int_equal(rc, -EINVAL);
		return NULL;
	}
	result[0] = 0;
	for (size_t i = 0; i < count; i++)
		snprintf(result + strlen(result), sizeof(result) - strlen(result), "%s%" PRIu64 "+%"
			 PRIu64, i ? " " : "", ranges[i].start, ranges[i].count);
	free(ranges);
	return result;
}

static void reads(enum list_format format, const char *text, const char *expected)
{
	const char *got = read_bytes(format, text, strlen(text));

	if (!got)
		fail_msg("'%.60s' is refused: %s", text, err.text);
	assert_string_equal(got, expected);
}

/* One line, with the file, the line number, the cause (word) and a remedy. */
static void refuses(enum list_format format, const char *text, unsigned line, const char *word)
{
	char place[40];

	if (read_bytes(format, text, strlen(text)))
		fail_msg("'%.60s' is taken", text);
	snprintf(place, sizeof(place), line ? "the list, line %u: " : "the list: ", line);
	if (strncmp(err.text, place, strlen(place)) != 0 || !strstr(err.text, word) ||
	    !strchr(err.text, ';') || strchr(err.text, '\n'))
		fail_msg("'%.60s': '%s' is not at %s and about '%s'", text, err.text, place, word);
}

/* ---- badblocks ------------------------------------------------------------------------ */

static void blocks(void **state)
{
	(void)state;
	reads(LIST_BADBLOCKS, "\n", "");
	reads(LIST_BADBLOCKS, "# nothing\n\n", "");
	reads(LIST_BADBLOCKS, "3\n", "6+2");
	reads(LIST_BADBLOCKS, "3", "6+2");
	reads(LIST_BADBLOCKS, "7\r\n 3 \r\n4\t\n3\n", "6+4 14+2");
	/* Half of the last block is there. */
	reads(LIST_BADBLOCKS, "1024\n", "2048+1");
	disk.offset = 1024 * 10;
	reads(LIST_BADBLOCKS, "0\n1", "20+4");
	disk.offset = 512;
	reads(LIST_BADBLOCKS, "0\n", "1+2");
}

static void blocks_of_other_sizes(void **state)
{
	(void)state;
	disk.block_size = 4096;
	reads(LIST_BADBLOCKS, "1\n", "8+8");
	refuses(LIST_BADBLOCKS, "1\n\n300\n", 3, "outside main, which has 256");
	disk.block_size = 512;
	reads(LIST_BADBLOCKS, "1\n2048\n", "1+1 2048+1");
	/* A sector of 4096 bytes fails whole. */
	disk.sector_size = 4096;
	disk.sectors = 256;
	reads(LIST_BADBLOCKS, "8\n9\n10\n11\n12\n13\n15\n14\n", "1+1");
	refuses(LIST_BADBLOCKS, "8\n9\n10\n", 0, "not a whole number of sectors of 4096");
	refuses(LIST_BADBLOCKS, "9\n10\n11\n12\n13\n14\n15\n16\n", 0, "(-b)");
	disk.round = true;
	reads(LIST_BADBLOCKS, "8\n9\n10\n", "1+1");
	reads(LIST_BADBLOCKS, "15\n16\n2047\n", "1+2 255+1");
	disk.round = false;
	disk.block_size = 4096;
	reads(LIST_BADBLOCKS, "2\n", "2+1");
	disk.offset = 512;
	refuses(LIST_BADBLOCKS, "2\n", 0, "(--offset)");
}

static void what_are_no_blocks(void **state)
{
	(void)state;
	refuses(LIST_BADBLOCKS, "1\n-2\n", 2, "'-2' is no number");
	refuses(LIST_BADBLOCKS, "1\n2 3\n", 2, "no number");
	refuses(LIST_BADBLOCKS, "1\n0x2\n", 2, "no number");
	refuses(LIST_BADBLOCKS, "+1\n", 1, "no number");
	refuses(LIST_BADBLOCKS, "1.5\n", 1, "no number");
	refuses(LIST_BADBLOCKS, "0x00000000  0x00100200  +\n", 1, "the right --format");
	refuses(LIST_BADBLOCKS, "1025\n", 1, "outside main");
	refuses(LIST_BADBLOCKS, "18014398509481984\n", 1, "outside main");
	refuses(LIST_BADBLOCKS, "18446744073709551616\n", 1, "outside main");
	refuses(LIST_BADBLOCKS, "99999999999999999999999999\n", 1, "outside main");
	disk.offset = UINT64_C(1) << 62;
	refuses(LIST_BADBLOCKS, "1\n", 1, "without --offset");
	disk.offset = 0;
	assert_null(read_bytes(LIST_BADBLOCKS, "1\n2\0\n", 5));
	assert_non_null(strstr(err.text, "the list, line 2: this is no list"));
}

static void a_line_without_end(void **state)
{
	char *text = malloc(100000);

	(void)state;
	memset(text, '1', 100000);
	text[99999] = 0;
	refuses(LIST_BADBLOCKS, text, 1, "this is no list");
	refuses(LIST_DDRESCUE, text, 1, "this is no list");
	refuses(LIST_CSV, text, 1, "this is no list");
	refuses(LIST_JSON, text, 1, "no JSON");
	free(text);
}

/* Each block apart from the next: half a million ranges, most of them out of order. */
static void a_long_list(void **state)
{
	enum { BLOCKS = 500000 };
	struct sector_range *ranges;
	size_t count;
	FILE *file = tmpfile();

	(void)state;
	disk.sectors = BLOCKS * 4 + 4;
	for (unsigned i = 0; i < BLOCKS; i++)
		fprintf(file, "%" PRIu64 "\n", (uint64_t)i * 77777 % BLOCKS * 2);
	rewind(file);
	assert_int_equal(list_read(LIST_BADBLOCKS, file, "it", &disk, &ranges, &count, &warning,
				   &err), 0);
	fclose(file);
	assert_int_equal(count, BLOCKS);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(ranges[i].start, i * 4);
		assert_int_equal(ranges[i].count, 2);
	}
	free(ranges);
}

/* ---- ddrescue -------------------------------------------------------------------------- */

#define HEAD "# Mapfile. Created by GNU ddrescue version 1.27\n" \
	     "# current_pos  current_status  current_pass\n" \
	     "0x00000000     +               1\n" \
	     "#      pos        size  status\n"

static void maps(void **state)
{
	(void)state;
	reads(LIST_DDRESCUE, HEAD "0x00000000  0x00100200  +\n", "");
	reads(LIST_DDRESCUE, HEAD "0x00000000  0x00001000  +\n0x00001000  0x00000400  -\n"
				  "0x00001400  0x000FEE00  +\n", "8+2");
	/* CRLF, decimal and octal, as C has them; without a pass, as old ones. */
	reads(LIST_DDRESCUE, "0 ?\r\n0 4096 +\r\n4096 02000 -\r\n5120 1043968 ?\r\n", "8+2");
	assert_string_equal(warning.text, "");
	/* What was not scraped is not taken, but told. */
	reads(LIST_DDRESCUE, HEAD "0 1024 *\n1024 1024 /\n2048 1024 -\n3072 1046016 +\n", "4+2");
	assert_non_null(strstr(warning.text, "2 KiB"));
	disk.types = "*/-";
	reads(LIST_DDRESCUE, HEAD "0 1024 *\n1024 1024 /\n2048 1024 -\n3072 1046016 +\n", "0+6");
	assert_string_equal(warning.text, "");
}

static void maps_of_a_part(void **state)
{
	(void)state;
	refuses(LIST_DDRESCUE, HEAD "0 1024 -\n", 6, "is about bytes 0 to 1024");
	refuses(LIST_DDRESCUE, HEAD "512 1048576 -\n", 6, "is about bytes 512");
	disk.part = true;
	disk.offset = 5120;
	reads(LIST_DDRESCUE, HEAD "0 1024 -\n", "10+2");
	disk.offset = 5000;
	refuses(LIST_DDRESCUE, HEAD "0 1024 -\n", 0, "(--offset)");
}

/* As ddrescuelog -A writes them. */
static void maps_with_comments(void **state)
{
	(void)state;
	reads(LIST_DDRESCUE, "# x\n0x00000000     +               1\t#  0 B\n"
			     "0x00000000  0x00001000  +\t#         0 B      4096  $\n"
			     "  # nothing\n"
			     "0x00001000  0x00000400  -\t#      4096 B      1024 B\n"
			     "0x00001400  0x000FEE00  + #\n", "8+2");
	refuses(LIST_DDRESCUE, HEAD "0 1049088 +#1\n", 5, "no block");
}

/* ddrescue did not know how long its input was. */
static void maps_without_an_end(void **state)
{
	(void)state;
	disk.types = "?-";
	reads(LIST_DDRESCUE, HEAD "0 1024 -\n1024 0x7FFFFFFFFFFFFBFF ?\n", "0+2049");
	reads(LIST_DDRESCUE, HEAD "0 1024 +\n1024 0xFFFFFFFFFFFFFFFF ?\n", "2+2047");
	/* It read all of main, and found no end. */
	reads(LIST_DDRESCUE, HEAD "0 1049088 +\n1049088 0x7FFFFFFFFFEFFDFF ?\n", "");
	disk.types = "-";
	reads(LIST_DDRESCUE, HEAD "0 1024 -\n1024 0x7FFFFFFFFFFFFBFF ?\n", "0+2");
	refuses(LIST_DDRESCUE, HEAD "0 1024 -\n1024 0x7FFFFFFFFFFFFBFE ?\n", 6, "beyond main");
	refuses(LIST_DDRESCUE, HEAD "0 1024 -\n1024 0x7FFFFFFFFFFFFBFF +\n", 6, "beyond main");
	refuses(LIST_DDRESCUE, HEAD "0 1049600 +\n1049600 0x7FFFFFFFFFEFFBFF ?\n", 5,
		"beyond main");
	refuses(LIST_DDRESCUE, HEAD "0 1024 -\n1024 0x7FFFFFFFFFFFFBFF ?\n1049088 512 +\n", 7,
		"beyond main");
	disk.part = true;
	disk.offset = 1024;
	disk.types = "?";
	reads(LIST_DDRESCUE, HEAD "0 1024 -\n1024 0x7FFFFFFFFFFFFBFF ?\n", "4+2045");
}

/* The old disk had smaller sectors than the volume. */
static void maps_in_smaller_sectors(void **state)
{
	const char *pieces = HEAD "0 4096 +\n4096 512 -\n4608 3072 -\n7680 512 -\n"
			     "8192 1040384 +\n";
	const char *part = HEAD "0 4608 +\n4608 512 -\n5120 1043456 +\n";

	(void)state;
	disk.sector_size = 4096;
	disk.sectors = 256;
	reads(LIST_DDRESCUE, pieces, "1+1");
	refuses(LIST_DDRESCUE, part, 0, "--round");
	disk.round = true;
	reads(LIST_DDRESCUE, part, "1+1");
	reads(LIST_DDRESCUE, HEAD "0 4608 +\n4608 4096 -\n8704 1039872 +\n", "1+2");
}

static void what_are_no_maps(void **state)
{
	(void)state;
	refuses(LIST_DDRESCUE, "\n", 2, "before its first block");
	refuses(LIST_DDRESCUE, HEAD, 5, "before its first block");
	refuses(LIST_DDRESCUE, "12\n", 1, "first line of a mapfile");
	refuses(LIST_DDRESCUE, "0 + 1 2\n", 1, "first line of a mapfile");
	refuses(LIST_DDRESCUE, "0 1049088 +\n", 1, "first line of a mapfile");
	refuses(LIST_DDRESCUE, HEAD "0 1049088\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "0 1049088 x\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "0 1049088 + 1\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "0 0 +\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "-1 5 +\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "0 0xfffffffffffffffff +\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "0 09 +\n", 5, "no block");
	refuses(LIST_DDRESCUE, HEAD "0 1024 +\n2048 1047040 +\n", 6, "begins at 2048");
	refuses(LIST_DDRESCUE, HEAD "0 1024 +\n512 1048576 +\n", 6, "begins at 512");
	refuses(LIST_DDRESCUE, HEAD "0 1049089 +\n", 5, "beyond main");
	refuses(LIST_DDRESCUE, HEAD "0 512 +\n512 18446744073709551615 +\n", 6, "beyond main");
	refuses(LIST_DDRESCUE, HEAD "0 100 -\n100 1048988 +\n", 0, "whole number of sectors");
}

/* ---- json and csv ------------------------------------------------------------------------ */

static void objects(void **state)
{
	(void)state;
	reads(LIST_JSON, "{\"bad_sectors\": []}", "");
	reads(LIST_JSON, "{\"bad_sectors\":[{\"sector\":5},{\"sector\":7,\"sectors\":3}]}",
	      "5+1 7+3");
	reads(LIST_JSON, " {\r\n\"x\\\"y\": [1, {\"a\": null}, \"\\\\\"], \"sector_size\": 512,\n"
			 "\"main_sectors\":2049, \"bad_sectors\" : [ {\"state\": \"pending\", "
			 "\"sector\": 2048} ], \"more\": -1.5e3 } \n", "2048+1");
	reads(LIST_JSON, "{\"sector_size\":4096,\"bad_sectors\":[{\"sector\":2}]}", "16+8");
	disk.sector_size = 4096;
	disk.sectors = 256;
	reads(LIST_JSON, "{\"sector_size\":512,\"main_sectors\":2048,\"bad_sectors\":["
			 "{\"sector\":12,\"sectors\":4},{\"sector\":8,\"sectors\":4}]}", "1+1");
	refuses(LIST_JSON, "{\"sector_size\":512,\"bad_sectors\":[{\"sector\":8}]}", 0, "--round");
}

static void what_are_none(void **state)
{
	char deep[200];

	(void)state;
	refuses(LIST_JSON, "", 1, "an object");
	refuses(LIST_JSON, "[]", 1, "an object");
	refuses(LIST_JSON, "{}", 1, "\"bad_sectors\"");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1}]", 1, "missing");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1}]}}", 1, "the end");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1}]}\n\n5", 3, "the end");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1},\n]}", 2, "after a comma");
	refuses(LIST_JSON, "{\"bad_sectors\":[\n{\"sectors\":1}]}", 2, "\"sector\"");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":-1}]}", 1, "no number");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":\"1\"}]}", 1, "no number");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1.0}]}", 1, "no number");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":99999999999999999999}]}", 1, "no number");
	refuses(LIST_JSON, "{\"bad_sectors\":[\n\n{\"sector\":2049}]}", 3, "not on main");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1,\"sectors\":0}]}", 1, "not on main");
	refuses(LIST_JSON, "{\"bad_sectors\":[{\"sector\":1,\"sectors\":18446744073709551615}]}", 1,
		"not on main");
	refuses(LIST_JSON, "{\"sector_size\":500,\"bad_sectors\":[]}", 1, "sectors of 500");
	refuses(LIST_JSON, "{\"sector_size\":0,\"bad_sectors\":[]}", 1, "sectors of 0");
	refuses(LIST_JSON, "{\"bad_sectors\":[],\n\"sector_size\":4096}", 2, "write it first");
	refuses(LIST_JSON, "{\"main_sectors\":2049,\"sector_size\":4096}", 1, "write it first");
	refuses(LIST_JSON, "{\"sector_size\":4096,\"bad_sectors\":[{\"sector\":256}]}", 1,
		"not on main, which has 256");
	refuses(LIST_JSON, "{\"main_sectors\":5,\"bad_sectors\":[]}", 1, "a disk of 5 sectors");
	refuses(LIST_JSON, "{\"x\":yes}", 1, "a value");
	refuses(LIST_JSON, "{\"x", 1, "end of a string");
	assert_null(read_bytes(LIST_JSON, "{\"x\":\0 1}", 9));
	memset(deep, '[', sizeof(deep));
	memcpy(deep, "{\"x\":", 5);
	deep[199] = 0;
	refuses(LIST_JSON, deep, 1, "a value");
}

static void tables(void **state)
{
	(void)state;
	reads(LIST_CSV, "sector\n", "");
	reads(LIST_CSV, "sector,sectors,state,sector_size\n8,2,pending,512\n5,1,remapped,512\n",
	      "5+1 8+2");
	reads(LIST_CSV, "at, \"sectors\" ,sector\r\n\"2026\",\"3\", 7\r\n\r\n", "7+3");
	reads(LIST_CSV, "sector,sector_size\n1,4096\n16,512\n", "8+9");
	refuses(LIST_CSV, "sector,sector_size\n1,1000\n", 2, "sectors of 1000");
	refuses(LIST_CSV, "", 1, "empty");
	refuses(LIST_CSV, "7\n", 1, "no column is called 'sector'");
	refuses(LIST_CSV, "sector,sectors\n7\n", 2, "not the 2 fields");
	refuses(LIST_CSV, "sector,sectors\n7,1,1\n", 2, "not the 2 fields");
	refuses(LIST_CSV, "sector\n7\n-1\n", 3, "'-1' is no sector");
}

/* ---- there and back ------------------------------------------------------------------------ */

static void what_is_written_is_read(void **state)
{
	static const struct extent bad[] = {
		{0, 2, SECTOR_PENDING, ON_MAIN, 0},
		{2, 4, SECTOR_REMAPPED, 1, 5},
		{100, 2, SECTOR_REMAPPED, 1, 9},
		{2048, 1, SECTOR_PENDING, ON_MAIN, 0},
	};

	(void)state;
	for (int format = LIST_BADBLOCKS; format <= LIST_CSV; format++) {
		struct list_writer w;
		char *text = NULL;
		size_t size;
		FILE *file = open_memstream(&text, &size);

		list_begin(&w, file, (enum list_format)format, &disk);
		for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
			list_add(&w, &bad[i]);
		list_end(&w);
		fclose(file);
		reads((enum list_format)format, text, "0+6 100+2 2048+1");
		free(text);
	}
}

/* A block is listed once, and when any of it is bad. */
static void blocks_are_whole(void **state)
{
	struct list_writer w;
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	disk.block_size = 4096;
	list_begin(&w, file, LIST_BADBLOCKS, &disk);
	list_add(&w, &(struct extent){9, 1, SECTOR_PENDING, ON_MAIN, 0});
	list_add(&w, &(struct extent){11, 1, SECTOR_PENDING, ON_MAIN, 0});
	list_add(&w, &(struct extent){15, 2, SECTOR_PENDING, ON_MAIN, 0});
	list_end(&w);
	fclose(file);
	assert_string_equal(text, "1\n2\n");
	free(text);
}

static void formats(void **state)
{
	enum list_format format;

	(void)state;
	assert_int_equal(list_format_of("ddrescue", &format, &err), 0);
	assert_int_equal(format, LIST_DDRESCUE);
	assert_int_equal(list_format_of("", &format, &err), -EINVAL);
	assert_int_equal(list_format_of("xml", &format, &err), -EINVAL);
	assert_non_null(strstr(err.text, "badblocks"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		TEST(blocks),
		TEST(blocks_of_other_sizes),
		TEST(what_are_no_blocks),
		TEST(a_line_without_end),
		TEST(a_long_list),
		TEST(maps),
		TEST(maps_of_a_part),
		TEST(maps_with_comments),
		TEST(maps_without_an_end),
		TEST(maps_in_smaller_sectors),
		TEST(what_are_no_maps),
		TEST(objects),
		TEST(what_are_none),
		TEST(tables),
		TEST(what_is_written_is_read),
		TEST(blocks_are_whole),
		TEST(formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
