#include "hostile_spare.h"

#include <endian.h>
#include <xxhash.h>

#define BACKUP (HOSTILE_SPARE_BYTES - SPARE_BLOCK)

/* Makes the sum of a superblock right, whatever it says. See docs/format.md. */
static void sum_superblock(uint8_t *block)
{
	uint64_t sum = htole64(XXH3_64bits(block, 104));

	memcpy(block + 104, &sum, sizeof(sum));
}

/* Another number in one of the superblocks, or in both. */
static void put_field(struct input *in, uint8_t *bytes)
{
	static const struct {
		uint8_t at, size;
	} fields[] = {{8, 4}, {12, 4}, {16, 8}, {32, 8}, {48, 4}, {52, 2},
		      {54, 2}, {56, 8}, {64, 8}, {72, 8}, {80, 8}, {88, 8}, {96, 4}};
	size_t i = take_8(in) % SIZE(fields);
	uint8_t copies = take_8(in);
	uint64_t value = htole64(take_hostile(in));

	for (int copy = 0; copy < 2; copy++) {
		uint8_t *block = bytes + (copy ? BACKUP : 0);

		if (copies >> copy & 1)
			continue;
		memcpy(block + fields[i].at, &value, fields[i].size);
		sum_superblock(block);
	}
}

static void put_descriptor(struct input *in, uint8_t *bytes, const struct spare_identity *id)
{
	slot_t slot = take_8(in) % 112;
	uint8_t how = take_8(in);
	struct descriptor d = {.sector = take_8(in), .sequence = (uint64_t)1 << 40 | take_8(in)};

	if (how & 1)
		d.sector = take_hostile(in);
	if (how & 2)
		d.sequence = take_hostile(in);
	if (how & 4) /* as if its data were what the slot was first given: zeros */
		d.data_sum = spare_data_sum((const uint8_t[512]){0}, 512);
	d.revoked = how & 8;
	descriptor_encode(bytes + SPARE_BLOCK + slot * DESCRIPTOR_BYTES, id, slot, &d);
}

/* Anything, anywhere. */
static void put_bytes(struct input *in, uint8_t *bytes)
{
	uint8_t raw[16];
	uint16_t at = take_16(in);

	take(in, raw, sizeof(raw));
	memcpy(bytes + at % (HOSTILE_SPARE_BYTES - sizeof(raw)), raw, sizeof(raw));
}

static void damage(struct input *in, struct disk *disk)
{
	uint64_t sector = take_8(in) % (HOSTILE_SPARE_BYTES / 512);

	disk_damage(disk, sector, 1, FAULT_ON_READ);
}

static void change(struct input *in, struct disk *disk, const struct spare_identity *id)
{
	uint8_t what = take_8(in);

	switch (what % 8) {
	case 0:
		put_field(in, disk->data);
		break;
	case 1:
		put_bytes(in, disk->data);
		break;
	case 2:
		sum_superblock(disk->data + (what & 8 ? BACKUP : 0));
		break;
	case 3:
		damage(in, disk);
		break;
	default:
		put_descriptor(in, disk->data, id);
	}
}

void make_hostile_spare(struct input *in, struct disk *disk, uint32_t number, uint32_t of,
			struct spare_identity *ret)
{
	const struct file_device_options whole = {0};
	unsigned changes = take_8(in) % 32;
	struct device *d;

	*ret = (struct spare_identity){.id = number, .sector_size = 512, .spares = of,
				       .main_sectors = HOSTILE_SPARE_SECTORS};
	ret->spare[0] = (uint8_t)number;
	PROMISE(disk_open(disk, &whole, &d, NULL) == 0);
	PROMISE(spare_format(d, ret) == 0);
	device_close(d);
	for (unsigned i = 0; i < changes && in->left; i++)
		change(in, disk, ret);
}
