/*
 * A hostile spare: looked at, opened as what it says it is and as what it was,
 * its slot table gone through and written anew.
 */
#include "hostile_spare.h"

#include "remapfs/spare.h"

static int see_group(void *context, struct slot_group *g)
{
	const struct spare_layout *l = context;

	PROMISE(g->count > 0 && g->count <= SIZE(g->slots));
	PROMISE(g->first < l->slots && g->count <= l->slots - g->first);
	for (uint64_t i = 0; i < g->count; i++)
		PROMISE(!g->unreadable || g->slots[i].state == DESCRIPTOR_DAMAGED);
	return 0;
}

static int repair_group(void *context, struct slot_group *g)
{
	spare_write_group(context, g);
	return 0;
}

static void use(struct spare *s, const struct spare_identity *id)
{
	struct spare_layout l = spare_layout(HOSTILE_SPARE_BYTES, id->sector_size);
	struct spare_counts counts = spare_counts(s);
	uint32_t sum = 1;
	slot_t slot = 0;

	PROMISE(counts.slots == l.slots && counts.free == l.slots);
	spare_each_group(s, see_group, &l);
	PROMISE(spare_take(s, l.slots, 1) < 0 && spare_take(s, UINT64_MAX, 1) < 0);
	PROMISE(spare_take(s, 1, UINT64_MAX) < 0);
	if (l.slots && spare_allocate(s, 1, &slot) == 1) {
		spare_describe(s, slot, 1, 7, UINT64_MAX, &sum);
		spare_save_table(s);
		spare_clear_sequence(s, slot, 1, UINT64_MAX);
	}
	spare_confirm(s, UINT64_MAX - 1);
	spare_set_members(s, 2, 2);
	spare_each_group(s, repair_group, s);
	spare_alive(s, true);
	spare_flush(s);
}

static void open_as(struct disk *disk, const struct spare_identity *id)
{
	const struct file_device_options whole = {0};
	struct error err = {""};
	bool damaged = false;
	struct device *d;
	struct spare *s;

	PROMISE(disk_open(disk, &whole, &d, NULL) == 0);
	if (spare_open(d, id, &s, &damaged, &err) < 0) {
		PROMISE(err.text[0]);
		return;
	}
	use(s, id);
	spare_close(s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct file_device_options whole = {0};
	struct spare_identity made, found;
	struct input in = {data, size};
	struct spare_copy copies[2];
	struct disk disk;
	struct device *d;
	int rc;

	disk_new(&disk, HOSTILE_SPARE_BYTES);
	make_hostile_spare(&in, &disk, 1, 1, &made);
	PROMISE(disk_open(&disk, &whole, &d, NULL) == 0);
	PROMISE(spare_inspect(d, copies) == 0);
	rc = spare_probe(d, &found);
	device_close(d);
	if (rc == 0)
		open_as(&disk, &found);
	open_as(&disk, &made);
	free(disk.data);
	return 0;
}
