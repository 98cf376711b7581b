/*
 * Reading lists: what the formats have in common.
 *
 * Everything is read before anything is done with it: a mistake in the last
 * line must not be found when half of the list was carried out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lists/lists.h"
#include "remapfs/cleanup.h"

static const char *const names[] = {
	[LIST_BADBLOCKS] = "badblocks",
	[LIST_DDRESCUE] = "ddrescue",
	[LIST_JSON] = "json",
	[LIST_CSV] = "csv",
};

int list_format_of(const char *name, enum list_format *ret, struct error *err)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (strcmp(name, names[i]) != 0)
			continue;
		*ret = (enum list_format)i;
		return 0;
	}
	return error_set(err, EINVAL, "'%.60s' is no format of a list; use badblocks, ddrescue, json "
			 "or csv", name);
}

/* ---- lines ------------------------------------------------------------------------ */

int reader_refuse(struct reader *r, const char *format, ...)
{
	char text[sizeof(r->err->text)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return error_set(r->err, EINVAL, "%.100s, line %zu: %s", r->name, r->line, text);
}

static char *bare(char *text)
{
	char *end;

	text += strspn(text, " \t\r");
	end = text + strlen(text);
	while (end > text && strchr(" \t\r", end[-1]))
		*--end = 0;
	return text;
}

int reader_line(struct reader *r)
{
	size_t length = 0;
	char *text;
	int c;

	r->line++;
	while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
		if (c == 0 || length + 1 == LIST_LINE)
			return reader_refuse(r, "this is no list but something else; give the right "
					     "file");
		r->text[length++] = (char)c;
	}
	r->text[length] = 0;
	if (ferror(r->file))
		return reader_refuse(r, "%s; give a file that can be read", strerror(errno));
	text = bare(r->text);
	memmove(r->text, text, strlen(text) + 1);
	return c != EOF || length > 0;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

int reader_number(const char **text, bool any_base, uint64_t *ret)
{
	const char *at = *text;
	uint64_t number = 0;
	bool overflow = false;
	int base = 10;

	if (any_base && at[0] == '0' && (at[1] == 'x' || at[1] == 'X')) {
		base = 16;
		at += 2;
	} else if (any_base && at[0] == '0') {
		base = 8;
	}
	if (digit_of(*at) >= base)
		return -EINVAL;
	for (; digit_of(*at) < base; at++) {
		overflow |= __builtin_mul_overflow(number, (uint64_t)base, &number);
		overflow |= __builtin_add_overflow(number, (uint64_t)digit_of(*at), &number);
	}
	*text = at;
	*ret = number;
	return overflow ? -ERANGE : 0;
}

/* ---- ranges ----------------------------------------------------------------------- */

static int make_room(struct reader *r)
{
	size_t room = r->room ? r->room * 2 : 64;
	struct sector_range *larger;

	if (r->count < r->room)
		return 0;
	r->count = merge_ranges(r->ranges, r->count);
	if (r->room && r->count <= r->room / 2)
		return 0;
	if (r->count >= LIST_RANGES_MAX)
		return reader_refuse(r, "the list has more than %u separate pieces; split it",
				     LIST_RANGES_MAX);
	larger = reallocarray(r->ranges, room, sizeof(*larger));
	if (!larger)
		return error_set(r->err, ENOMEM, "the list needs more memory than there is; split it");
	r->ranges = larger;
	r->room = room;
	return 0;
}

int reader_add(struct reader *r, uint64_t start, uint64_t count)
{
	struct sector_range *last = r->count ? &r->ranges[r->count - 1] : NULL;
	int rc;

	/* As most lists are in order, most neighbours are found here. */
	if (last && last->start + last->count == start) {
		last->count += count;
		return 0;
	}
	rc = make_room(r);
	if (rc == 0)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the analyser takes &a[i] for NULL */
		r->ranges[r->count++] = (struct sector_range){start, count};
	return rc;
}

int reader_check_size(struct reader *r, uint64_t size)
{
	if (size >= 512 && size <= 65536 && (size & (size - 1)) == 0)
		return 0;
	return reader_refuse(r, "no disk has sectors of %" PRIu64 " bytes; write 512 or 4096", size);
}

int reader_add_sectors(struct reader *r, uint64_t sector, uint64_t count, uint64_t size)
{
	uint64_t sectors = r->disk->sectors * r->disk->sector_size / size;

	if (count == 0 || sector >= sectors || count > sectors - sector)
		return reader_refuse(r, "%" PRIu64 " sectors from %" PRIu64 " on are not on main, which "
				     "has %" PRIu64 "; give the list of this disk", count, sector,
				     sectors);
	return reader_add(r, sector * size, count * size);
}

/*
 * From bytes to sectors: a disk loses whole ones. Neighbours were joined before,
 * since eight sectors of one disk may be one of another.
 */
static int to_sectors(struct reader *r, const char *remedy)
{
	uint32_t size = r->disk->sector_size;

	for (size_t i = 0; i < r->count; i++) {
		struct sector_range *range = &r->ranges[i];
		uint64_t end = range->start + range->count;

		if ((range->start % size || end % size) && !r->disk->round)
			return error_set(r->err, EINVAL, "%.100s: bytes %" PRIu64 " to %" PRIu64
					 " are bad, which is not a whole number of sectors of %" PRIu32
					 " bytes; %s", r->name, range->start, end - 1, size, remedy);
		range->start /= size;
		range->count = (end + size - 1) / size - range->start;
	}
	r->count = merge_ranges(r->ranges, r->count);
	return 0;
}

int list_read(enum list_format format, FILE *file, const char *name, const struct list_disk *disk,
	      struct sector_range **ret_ranges, size_t *ret_count, struct error *warning,
	      struct error *err)
{
	static const struct {
		int (*read)(struct reader *);
		const char *remedy; /* where ranges are not of whole sectors */
	} formats[] = {
		[LIST_BADBLOCKS] = {read_badblocks, "correct the block size (-b) or where the "
						    "list counts from (--offset), or take the "
						    "whole sectors with --round"},
		[LIST_DDRESCUE] = {read_ddrescue, "correct where the mapfile counts from "
						  "(--offset), or take the whole sectors with "
						  "--round"},
		[LIST_JSON] = {read_json, "take the whole sectors with --round"},
		[LIST_CSV] = {read_csv, "take the whole sectors with --round"},
	};
	CLEANUP_FREE struct reader *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	*r = (struct reader){.file = file, .name = name, .disk = disk, .warning = warning,
			     .err = err};
	warning->text[0] = 0;
	rc = formats[format].read(r);
	if (rc == 0) {
		r->count = merge_ranges(r->ranges, r->count);
		rc = to_sectors(r, formats[format].remedy);
	}
	if (rc < 0) {
		free(r->ranges);
		return rc;
	}
	*ret_ranges = r->ranges;
	*ret_count = r->count;
	return 0;
}
