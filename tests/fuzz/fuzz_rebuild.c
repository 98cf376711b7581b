/*
 * The database made anew from two hostile spares. What comes of it must be a
 * volume that opens, or be refused.
 */
#include "hostile_spare.h"

#include <unistd.h>

#include "remapfs/rebuild.h"
#include "remapfs/store.h"

static int see_extent(void *context, const struct extent *e)
{
	uint64_t *sectors = context;

	PROMISE(e->start < HOSTILE_SPARE_SECTORS * 8 && e->count > 0);
	*sectors += e->count;
	return 0;
}

static void look_at(const char *path, const struct rebuild_result *result)
{
	struct error err = {""};
	uint64_t sectors = 0;
	struct store *s;

	if (store_open(path, STORE_WRITE, &s, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	PROMISE(!err.text[0]);
	PROMISE(store_each_extent(s, see_extent, &sectors) == 0);
	PROMISE(sectors == result->remapped + result->pending);
	store_close(s);
}

/* Keeps the file where it is on the disk: the engine opens it by name. */
static void spill(const char *path, const struct disk *disk)
{
	put_file(path, disk->data, disk->size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t zeros[HOSTILE_SPARE_SECTORS * 512];

	(void)argc, (void)argv;
	put_file(scratch("main"), zeros, sizeof(zeros));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t flags = take_8(&in);
	struct part_spec spares[2] = {{.path = scratch("spare1")}, {.path = scratch("spare2")}};
	struct rebuild_options o = {.path = scratch("volume"), .main = {.path = scratch("main")},
				    .spares = spares, .spare_count = 1 + (flags & 1),
				    .partial = flags & 2};
	struct rebuild_result result = {0};
	struct error err = {""};

	for (uint32_t i = 0; i < o.spare_count; i++) {
		struct spare_identity id;
		struct disk disk;

		disk_new(&disk, HOSTILE_SPARE_BYTES);
		make_hostile_spare(&in, &disk, i + 1, (uint32_t)o.spare_count, &id);
		spill(spares[i].path, &disk);
		free(disk.data);
	}
	if (volume_rebuild(&o, &result, &err) == 0)
		look_at(o.path, &result);
	else
		PROMISE(err.text[0] && access(o.path, F_OK) < 0);
	unlink(o.path);
	return 0;
}
