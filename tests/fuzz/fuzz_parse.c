/*
 * What people type: the first byte chooses what is read, the rest is the text.
 * Readers of further formats have their place in `readers`.
 */
#include "fuzz.h"

#include "remapfs/parse.h"

/* The text is NUL-terminated; size is without that. */
typedef void reader(const char *text, size_t size, uint64_t limit);

static void read_size(const char *text, size_t size, uint64_t limit)
{
	struct error err = {""};
	uint64_t bytes = 0;
	char shown[32];

	(void)size, (void)limit;
	if (parse_size(text, &bytes, &err) < 0) {
		PROMISE(err.text[0]);
		return;
	}
	PROMISE(bytes <= INT64_MAX && text[0] >= '0' && text[0] <= '9');
	format_size(shown, bytes);
}

static void read_number(const char *text, size_t size, uint64_t limit)
{
	struct error err = {""};
	uint64_t number = 0;

	(void)size;
	if (parse_number(text, limit / 2, limit, &number, &err) == 0)
		PROMISE(number >= limit / 2 && number <= limit);
}

static void read_percent(const char *text, size_t size, uint64_t limit)
{
	struct error err = {""};
	double percent = 0;

	(void)size, (void)limit;
	if (parse_percent(text, &percent, &err) == 0)
		PROMISE(percent > 0 && percent <= 100);
}

/* Sorted, apart from each other, below the limit. */
static void check_ranges(const struct sector_range *ranges, size_t count, uint64_t limit)
{
	PROMISE(count > 0);
	for (size_t i = 0; i < count; i++) {
		PROMISE(ranges[i].count > 0 && ranges[i].start < limit);
		PROMISE(ranges[i].count <= limit - ranges[i].start);
		PROMISE(!i || ranges[i].start > ranges[i - 1].start + ranges[i - 1].count);
	}
}

static void read_sectors(const char *text, size_t size, uint64_t limit)
{
	struct sector_range *ranges;
	struct error err = {""};
	size_t count;

	(void)size;
	if (parse_sectors(text, limit, &ranges, &count, &err) < 0) {
		PROMISE(err.text[0] && !strchr(err.text, '\n'));
		return;
	}
	check_ranges(ranges, count, limit);
	free(ranges);
}

static void read_sector_file(const char *text, size_t size, uint64_t limit)
{
	const char *path = scratch("list");
	struct sector_range *ranges;
	struct error err = {""};
	size_t count;

	put_file(path, text, size);
	if (parse_sector_file(path, limit, &ranges, &count, &err) < 0) {
		PROMISE(err.text[0] && !strchr(err.text, '\n'));
		return;
	}
	check_ranges(ranges, count, limit);
	free(ranges);
}

static reader *const readers[] = {
	read_size, read_number, read_percent, read_sectors, read_sector_file,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t limits[] = {1, 256, SECTOR_MAX, UINT64_MAX};
	struct input in = {data, size};
	uint8_t which = take_8(&in);
	char *text = malloc(in.left + 1);

	PROMISE(text);
	memcpy(text, in.at, in.left);
	text[in.left] = 0;
	readers[which % SIZE(readers)](text, in.left, limits[which / 64]);
	free(text);
	return 0;
}
