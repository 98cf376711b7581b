#include "disk.h"

#include <errno.h>

#include "fuzz.h"

struct disk_device {
	struct device device;
	struct disk *disk;
	uint64_t from; /* of the region */
};

static const struct disk_device *opened(struct device *d)
{
	return (const struct disk_device *)d;
}

static int meet(struct device *d, enum fault_on on, uint64_t offset, uint64_t length)
{
	const struct disk *disk = opened(d)->disk;

	/* The engine must have asked only for what there is. */
	PROMISE(offset <= d->geometry.size && length <= d->geometry.size - offset);
	PROMISE(offset % d->geometry.block_size == 0 && length % d->geometry.block_size == 0);
	offset += opened(d)->from;
	for (unsigned i = 0; i < disk->bad_count; i++)
		if (disk->bad[i].on & on && disk->bad[i].from < offset + length &&
		    offset < disk->bad[i].to)
			return -EIO;
	return 0;
}

static uint8_t *place(struct device *d, uint64_t offset)
{
	return opened(d)->disk->data + opened(d)->from + offset;
}

static int disk_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	int rc = meet(d, FAULT_ON_READ, offset, length);

	if (!rc)
		memcpy(buf, place(d, offset), length);
	return rc;
}

static int disk_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	int rc = meet(d, FAULT_ON_WRITE, offset, length);

	if (!rc)
		memcpy(place(d, offset), buf, length);
	return rc;
}

static int disk_flush(struct device *d)
{
	(void)d;
	return 0;
}

static int disk_zero(struct device *d, uint64_t offset, uint64_t length)
{
	int rc = meet(d, FAULT_ON_WRITE, offset, length);

	if (!rc)
		memset(place(d, offset), 0, length);
	return rc;
}

static int disk_next_data(struct device *d, uint64_t offset, uint64_t *ret_start,
			  uint64_t *ret_end)
{
	PROMISE(offset < d->geometry.size);
	*ret_start = offset;
	*ret_end = d->geometry.size;
	return 0;
}

static void disk_close(struct device *d)
{
	free(d);
}

void disk_new(struct disk *disk, uint64_t size)
{
	*disk = (struct disk){.data = calloc(1, size), .size = size};
	PROMISE(disk->data);
}

void disk_damage(struct disk *disk, uint64_t sector, uint64_t count, enum fault_on on)
{
	unsigned i = disk->bad_count;

	if (i == DISK_BAD_MAX)
		return;
	disk->bad[i].from = sector * 512;
	disk->bad[i].to = (sector + count) * 512;
	disk->bad[i].on = on;
	disk->bad_count++;
}

int disk_open(struct disk *disk, const struct file_device_options *o, struct device **ret,
	      struct error *err)
{
	static const struct device_ops ops = {
		.read = disk_read,
		.write = disk_write,
		.flush = disk_flush,
		.discard = disk_zero,
		.zero = disk_zero,
		.next_data = disk_next_data,
		.close = disk_close,
	};
	uint64_t length = o->length ? o->length : disk->size - o->offset;
	struct disk_device *d;

	if (o->offset > disk->size || length > disk->size - o->offset || length == 0 ||
	    o->offset % 512 || length % 512)
		return error_set(err, EINVAL, "the region is not on the disk");
	d = calloc(1, sizeof(*d));
	PROMISE(d);
	d->device.ops = &ops;
	d->device.geometry = (struct geometry){.size = length, .block_size = 512, .direct = true};
	d->disk = disk;
	d->from = o->offset;
	*ret = &d->device;
	return 0;
}
