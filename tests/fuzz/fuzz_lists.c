/*
 * Lists of bad sectors as badblocks, ddrescue and others write them. The first
 * bytes choose format and disk, the rest is the file. What is taken lies on the
 * disk, and is the same after it was written and read again, in every format.
 */
#include "fuzz.h"

#include <errno.h>

#include "remapfs/lists.h"

struct ranges {
	struct sector_range *at;
	size_t count;
};

static bool read_list(enum list_format format, const char *text, size_t size,
		      const struct list_disk *disk, struct ranges *ret)
{
	struct error err = {""}, warning = {""};
	FILE *file = fmemopen((void *)(uintptr_t)text, size, "r");
	int rc;

	PROMISE(file);
	rc = list_read(format, file, "list", disk, &ret->at, &ret->count, &warning, &err);
	fclose(file);
	PROMISE(!strchr(warning.text, '\n'));
	if (rc < 0)
		PROMISE(rc == -EINVAL && err.text[0] && !strchr(err.text, '\n'));
	return rc == 0;
}

/* Sorted, apart from each other, on the disk. */
static void check(const struct ranges *r, const struct list_disk *disk)
{
	for (size_t i = 0; i < r->count; i++) {
		PROMISE(r->at[i].count > 0 && r->at[i].start < disk->sectors);
		PROMISE(r->at[i].count <= disk->sectors - r->at[i].start);
		PROMISE(!i || r->at[i].start > r->at[i - 1].start + r->at[i - 1].count);
	}
}

static void write_and_read(enum list_format format, const struct ranges *r,
			   const struct list_disk *disk)
{
	/* All of it, counted from its beginning, in blocks that are sectors. */
	const struct list_disk whole = {disk->sector_size, disk->sectors, disk->sector_size, 0,
					false, "-", false};
	struct list_writer writer;
	struct ranges again;
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	PROMISE(file);
	list_begin(&writer, file, format, &whole);
	for (size_t i = 0; i < r->count; i++)
		list_add(&writer, &(struct extent){.start = r->at[i].start, .count = r->at[i].count,
						   .state = SECTOR_PENDING});
	list_end(&writer);
	PROMISE(fclose(file) == 0);
	PROMISE(read_list(format, text, size, &whole, &again));
	PROMISE(again.count == r->count);
	for (size_t i = 0; i < r->count; i++)
		PROMISE(again.at[i].start == r->at[i].start && again.at[i].count == r->at[i].count);
	free(again.at);
	free(text);
}

/* badblocks has a line for each: a list of a few bytes may be one of 2^43 lines. */
static bool is_long(const struct ranges *r)
{
	for (size_t i = 0; i < r->count; i++)
		if (r->at[i].count > 1000)
			return true;
	return false;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const types[] = {"-", "-*/", "?*/-", ""};
	static const sector_t sizes[] = {1, 2048, 2049, SECTOR_MAX};
	struct input in = {data, size};
	uint8_t what = take_8(&in), how = take_8(&in);
	struct list_disk disk = {
		.sector_size = what & 4 ? 4096 : 512,
		.sectors = sizes[what >> 3 & 3],
		/* From 512 bytes to a mebibyte: remapctl takes no others. */
		.block_size = 512u << how % 12,
		.offset = what & 0x20 ? take_hostile(&in) : 0,
		.part = what & 0x40,
		.round = what & 0x80,
		.types = types[how >> 6],
	};
	struct ranges ranges;

	if (!read_list((enum list_format)(what & 3), (const char *)in.at, in.left, &disk, &ranges))
		return 0;
	check(&ranges, &disk);
	for (int format = LIST_BADBLOCKS; format <= LIST_CSV; format++)
		if (format != LIST_BADBLOCKS || !is_long(&ranges))
			write_and_read((enum list_format)format, &ranges, &disk);
	free(ranges.at);
	return 0;
}
