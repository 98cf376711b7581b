/*
 * A device that keeps in memory what is written to it.
 *
 * Blocks that were written stand in a hash table by their number, and are laid over
 * what the device below is read as. They are few: the tables of a spare, never what
 * users write.
 */
#include "remapfs/device.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"

#define BUCKETS 1024

struct block {
	struct block *next;
	uint64_t number;
	unsigned char content[]; /* block_size bytes */
};

struct overlay {
	struct device device;
	struct device *below;
	pthread_mutex_t lock; /* guards the blocks */
	struct block *blocks[BUCKETS];
};

static struct overlay *overlay_of(struct device *d)
{
	return (struct overlay *)d;
}

/* Where the block stands, or where it is to be put. The lock is held. */
static struct block **find_block(struct overlay *o, uint64_t number)
{
	struct block **at = &o->blocks[number % BUCKETS];

	while (*at && (*at)->number != number)
		at = &(*at)->next;
	return at;
}

static int overlay_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	struct overlay *o = overlay_of(d);
	size_t size = d->geometry.block_size;
	int rc = device_read(o->below, buf, length, offset);

	if (rc < 0)
		return rc;
	HOLD_LOCK(&o->lock);
	for (size_t done = 0; done < length; done += size) {
		struct block *block = *find_block(o, (offset + done) / size);

		if (block)
			memcpy((char *)buf + done, block->content, size);
	}
	return 0;
}

/* The lock is held. */
static int write_block(struct overlay *o, uint64_t number, const void *content)
{
	size_t size = o->device.geometry.block_size;
	struct block **at = find_block(o, number);

	if (!*at) {
		*at = malloc(sizeof(**at) + size);
		if (!*at)
			return -ENOMEM;
		**at = (struct block){.number = number};
	}
	memcpy((*at)->content, content, size);
	return 0;
}

static int overlay_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	struct overlay *o = overlay_of(d);
	size_t size = d->geometry.block_size;
	HOLD_LOCK(&o->lock);
	int rc = 0;

	for (size_t done = 0; rc == 0 && done < length; done += size)
		rc = write_block(o, (offset + done) / size, (const char *)buf + done);
	return rc;
}

static int overlay_flush(struct device *d)
{
	(void)d;
	return 0;
}

static int overlay_cannot(struct device *d, uint64_t offset, uint64_t length)
{
	(void)d, (void)offset, (void)length;
	return -EOPNOTSUPP;
}

/* A hole may have been written to: nothing is told to be one. */
static int overlay_next_data(struct device *d, uint64_t offset, uint64_t *ret_start,
			     uint64_t *ret_end)
{
	if (offset >= d->geometry.size)
		return -ENXIO;
	*ret_start = offset;
	*ret_end = d->geometry.size;
	return 0;
}

static int overlay_present(struct device *d)
{
	return device_present(overlay_of(d)->below);
}

static void overlay_close(struct device *d)
{
	struct overlay *o = overlay_of(d);

	for (size_t i = 0; i < BUCKETS; i++)
		while (o->blocks[i]) {
			struct block *block = o->blocks[i];

			o->blocks[i] = block->next;
			free(block);
		}
	device_close(o->below);
	pthread_mutex_destroy(&o->lock);
	free(o);
}

static const struct device_ops overlay_ops = {
	.read = overlay_read,
	.write = overlay_write,
	.flush = overlay_flush,
	.discard = overlay_cannot,
	.zero = overlay_cannot,
	.next_data = overlay_next_data,
	.close = overlay_close,
	.present = overlay_present,
};

int overlay_device_wrap(struct device *below, struct device **ret)
{
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->device.ops = &overlay_ops;
	o->device.geometry = below->geometry;
	o->below = below;
	pthread_mutex_init(&o->lock, NULL);
	*ret = &o->device;
	return 0;
}
