/*
 * Reading what people type. strtoull and strtod are not used: they take signs,
 * blanks, hexadecimal, "nan" and the decimal comma of a locale, and none of
 * that is a size or a sector.
 */
#include "remapfs/parse.h"

#include "remapfs/cleanup.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The longest line of a sector file: longer is no list that someone made. */
#define LINE_ROOM 65536

/* Hostile values are quoted in messages up to this length: the remedy still fits. */
#define QUOTED "'%.60s'"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Takes the digits at *text and moves *text past them. */
static int take_number(const char **text, uint64_t *ret)
{
	const char *at = *text;
	uint64_t number = 0;
	bool overflow = false;

	for (; is_digit(*at); at++) {
		overflow |= __builtin_mul_overflow(number, 10, &number);
		overflow |= __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number);
	}
	if (at == *text)
		return -EINVAL;
	*text = at;
	*ret = number;
	return overflow ? -ERANGE : 0;
}

/* ---- sizes and numbers ------------------------------------------------------ */

/* The factor that suffix stands for, or 0. */
static uint64_t size_factor(const char *suffix)
{
	static const char letters[] = "KMGTP";
	uint64_t base = 1024, factor = 1;
	const char *letter;

	if (!*suffix)
		return 1;
	letter = strchr(letters, toupper((unsigned char)*suffix));
	if (!letter)
		return 0;
	if (strcmp(suffix + 1, "B") == 0)
		base = 1000;
	else if (suffix[1] && strcmp(suffix + 1, "iB") != 0)
		return 0;
	for (const char *l = letters; l <= letter; l++)
		factor *= base;
	return factor;
}

int parse_size(const char *text, uint64_t *ret_bytes, struct error *err)
{
	const char *at = text;
	uint64_t number = 0, factor, bytes;
	int rc = take_number(&at, &number);

	factor = size_factor(at);
	if (rc == -EINVAL || !factor)
		return error_set(err, EINVAL,
				 QUOTED " is no size; write a number of bytes, or one with K, M, "
					"G, T or P, such as 50M",
				 text);
	if (rc || __builtin_mul_overflow(number, factor, &bytes) || bytes > INT64_MAX)
		return error_set(err, ERANGE, QUOTED " is too large; sizes end below 8192P", text);
	*ret_bytes = bytes;
	return 0;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct error *err)
{
	const char *at = text;
	uint64_t number = 0;
	int rc = take_number(&at, &number);

	if (rc == -EINVAL || *at)
		return error_set(err, EINVAL,
				 QUOTED " is no number; give one from %" PRIu64 " to %" PRIu64,
				 text, min, max);
	if (rc || number < min || number > max)
		return error_set(err, ERANGE,
				 QUOTED " is out of range; give a number from %" PRIu64
					" to %" PRIu64,
				 text, min, max);
	*ret = number;
	return 0;
}

/* Digits with at most one point among them, after which digits must follow. */
static bool is_decimal(const char *text)
{
	size_t whole = strspn(text, "0123456789");
	const char *rest = text + whole;

	if (!whole || !*rest)
		return whole;
	return *rest == '.' && rest[1] && !rest[1 + strspn(rest + 1, "0123456789")];
}

int parse_percent(const char *text, double *ret, struct error *err)
{
	double percent = 0, weight = 1;

	if (!is_decimal(text))
		return error_set(err, EINVAL,
				 QUOTED " is no percentage; give a number above 0 and up to 100, "
					"such as 0.5",
				 text);
	for (const char *at = text; is_digit(*at); at++)
		percent = percent * 10 + (*at - '0');
	text += strspn(text, "0123456789");
	for (const char *at = *text ? text + 1 : text; *at; at++)
		percent += (*at - '0') * (weight /= 10);
	if (!(percent > 0 && percent <= 100))
		return error_set(err, ERANGE,
				 "a percentage must be above 0 and not above 100; such as 0.5");
	*ret = percent;
	return 0;
}

/* ---- sector lists ----------------------------------------------------------- */

struct range_list {
	struct sector_range *ranges;
	size_t count, room;
};

static int compare_ranges(const void *a, const void *b)
{
	const struct sector_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

size_t merge_ranges(struct sector_range *ranges, size_t count)
{
	size_t kept = 0;

	if (!count)
		return 0;
	qsort(ranges, count, sizeof(*ranges), compare_ranges);
	for (size_t i = 1; i < count; i++) {
		struct sector_range *last = &ranges[kept];
		uint64_t gap = ranges[i].start - last->start;

		if (gap > last->count)
			ranges[++kept] = ranges[i];
		else if (gap + ranges[i].count > last->count)
			last->count = gap + ranges[i].count;
	}
	return kept + 1;
}

/* Merging before growing bounds the memory that a list full of repeats takes. */
static int make_room(struct range_list *list)
{
	size_t room = list->room ? list->room * 2 : 64;
	struct sector_range *larger;

	if (list->count < list->room)
		return 0;
	list->count = merge_ranges(list->ranges, list->count);
	if (list->room && list->count <= list->room / 2)
		return 0;
	larger = reallocarray(list->ranges, room, sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	list->ranges = larger;
	list->room = room;
	return 0;
}

static int beyond(sector_t limit, const char *item, int length, struct error *err)
{
	if (!limit)
		return error_set(err, ERANGE, "'%.*s' is beyond the end; there are no sectors",
				 length, item);
	return error_set(err, ERANGE, "'%.*s' is beyond the end; the last sector is %" PRIu64,
			 length, item, limit - 1);
}

/* Takes one "N" or "N-M", which a comma or the end of the text follows. */
static int take_range(const char **text, sector_t limit, struct sector_range *ret,
		      struct error *err)
{
	const char *item = *text;
	size_t whole = strcspn(item, ",");
	int length = whole < 60 ? (int)whole : 60;
	uint64_t first = 0, last = 0;
	int rc_first = take_number(text, &first), rc_last = rc_first;

	last = first;
	if (rc_first != -EINVAL && **text == '-') {
		++*text;
		rc_last = take_number(text, &last);
	}
	if (rc_first == -EINVAL || rc_last == -EINVAL || *text != item + whole)
		return error_set(err, EINVAL,
				 "'%.*s' is no sector or range of sectors; write them as in "
				 "0,2,5000-5004",
				 length, item);
	if (rc_first || rc_last || first >= limit || last >= limit)
		return beyond(limit, item, length, err);
	if (last < first)
		return error_set(err, EINVAL,
				 "range '%.*s' runs backwards; write the lower "
				 "sector first",
				 length, item);
	*ret = (struct sector_range){.start = first, .count = last - first + 1};
	return 0;
}

static int take_list(const char *text, sector_t limit, struct range_list *list, struct error *err)
{
	for (;; text++) {
		int rc = make_room(list);

		if (rc)
			return error_set(err, -rc,
					 "the list needs more memory than there is; "
					 "give a shorter one");
		rc = take_range(&text, limit, &list->ranges[list->count], err);
		if (rc)
			return rc;
		list->count++;
		if (!*text)
			return 0;
	}
}

static void hand_over(struct range_list *list, struct sector_range **ret_ranges, size_t *ret_count)
{
	*ret_count = merge_ranges(list->ranges, list->count);
	*ret_ranges = list->ranges;
}

int parse_sectors(const char *text, sector_t limit, struct sector_range **ret_ranges,
		  size_t *ret_count, struct error *err)
{
	struct range_list list = {0};
	int rc = take_list(text, limit, &list, err);

	if (rc) {
		free(list.ranges);
		return rc;
	}
	hand_over(&list, ret_ranges, ret_count);
	return 0;
}

/* ---- sector files ----------------------------------------------------------- */

/* 1: a line without its end is in line; 0: no more; -EINVAL: this is no text. */
static int read_line(FILE *file, char *line)
{
	size_t length = 0;
	int c;

	while ((c = getc_unlocked(file)) != EOF && c != '\n') {
		if (c == 0 || length + 1 == LINE_ROOM)
			return -EINVAL;
		line[length++] = (char)c;
	}
	line[length] = 0;
	return c != EOF || length > 0;
}

/* The line without comment and blanks around it. */
static char *bare_line(char *line)
{
	char *end;

	line[strcspn(line, "#")] = 0;
	line += strspn(line, " \t\r");
	end = line + strlen(line);
	while (end > line && strchr(" \t\r", end[-1]))
		*--end = 0;
	return line;
}

static int read_list(FILE *file, sector_t limit, struct range_list *list, struct error *err)
{
	CLEANUP_FREE char *line = malloc(LINE_ROOM);
	size_t number = 0;
	int rc;

	if (!line)
		return error_set(err, ENOMEM, "not enough memory; end other programs first");
	while ((rc = read_line(file, line)) > 0) {
		const char *text = bare_line(line);

		number++;
		rc = *text ? take_list(text, limit, list, err) : 0;
		if (rc) {
			error_prefix(err, "line %zu", number);
			return rc;
		}
	}
	if (rc)
		return error_set(err, EINVAL,
				 "line %zu is no text; write one sector or range a "
				 "line",
				 number + 1);
	if (ferror(file))
		return error_set(err, EINVAL, "%s; give a file that can be read", strerror(errno));
	if (!list->count)
		return error_set(err, EINVAL,
				 "there is no sector in it; write one sector or "
				 "range a line");
	return 0;
}

int parse_sector_file(const char *path, sector_t limit, struct sector_range **ret_ranges,
		      size_t *ret_count, struct error *err)
{
	bool standard = strcmp(path, "-") == 0;
	FILE *file = standard ? stdin : fopen(path, "re");
	struct range_list list = {0};
	int rc;

	if (!file)
		return error_set(err, EINVAL,
				 "sector list " QUOTED ": %s; give a file that can "
				 "be read",
				 path, strerror(errno));
	rc = read_list(file, limit, &list, err);
	if (!standard)
		fclose(file);
	if (rc) {
		error_prefix(err, "sector list '%.60s'", path);
		free(list.ranges);
		return rc;
	}
	hand_over(&list, ret_ranges, ret_count);
	return 0;
}

/* ---- the other way ---------------------------------------------------------- */

char *format_size(char *buf, uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t scale = 1, tenths;

	/* The last unit in which the rounded number stays below 1024. */
	while (unit < 6 && bytes / scale >= 1023 && (double)bytes / (double)scale >= 1023.95) {
		scale *= 1024;
		unit++;
	}
	tenths = (uint64_t)((double)bytes / (double)scale * 10 + 0.5);
	if (bytes % scale)
		snprintf(buf, 32, "%" PRIu64 ".%" PRIu64 " %s", tenths / 10, tenths % 10,
			 units[unit]);
	else
		snprintf(buf, 32, "%" PRIu64 " %s", bytes / scale, units[unit]);
	return buf;
}
