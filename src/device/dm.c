/*
 * The table of a device-mapper device, by the ioctl that dmsetup(8) uses. Only linear
 * targets say where each byte is; LVM makes plain logical volumes of those. Striped ones
 * are known to use a part of each device.
 */
#include "device/dm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include "remapfs/cleanup.h"

#define SECTOR 512ull
#define TABLE_MAX (1u << 20)

/* 0, -ENOSPC: the table is larger than size, or what the kernel said. */
static int ask(int control, dev_t device, struct dm_ioctl *io, size_t size)
{
	memset(io, 0, sizeof(*io));
	io->version[0] = DM_VERSION_MAJOR;
	io->data_size = (uint32_t)size;
	io->data_start = sizeof(*io);
	io->flags = DM_STATUS_TABLE_FLAG | DM_NOFLUSH_FLAG;
	io->dev = (minor(device) & 0xff) | (uint64_t)major(device) << 8 |
		  (uint64_t)(minor(device) & ~0xffu) << 12;
	if (ioctl(control, DM_TABLE_STATUS, io) < 0)
		return -errno;
	return io->flags & DM_BUFFER_FULL_FLAG ? -ENOSPC : 0;
}

static int read_table(dev_t device, struct dm_ioctl **ret)
{
	CLEANUP_CLOSE int control = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	int rc = control < 0 ? -errno : -ENOSPC;

	for (size_t size = 16384; rc == -ENOSPC && size <= TABLE_MAX; size *= 4) {
		struct dm_ioctl *io = calloc(1, size);

		rc = io ? ask(control, device, io, size) : -ENOMEM;
		if (rc == 0)
			*ret = io;
		else
			free(io);
	}
	return rc;
}

/* Reads "major:minor sector" and moves *text past it. */
static bool read_place(const char **text, struct dm_target *t)
{
	unsigned major_number, minor_number;
	unsigned long long offset;
	int length = 0;

	if (sscanf(*text, " %u:%u %llu%n", &major_number, &minor_number, &offset, &length) != 3)
		return false;
	*text += length;
	t->device = makedev(major_number, minor_number);
	t->offset = offset * SECTOR;
	return true;
}

/* "stripes chunk" and then a place for each. */
static int each_stripe(struct dm_target t, const char *text,
		       int (*fn)(void *context, const struct dm_target *), void *context)
{
	unsigned stripes = 0;
	int length = 0, rc = 0;

	if (sscanf(text, "%u %*u%n", &stripes, &length) != 1 || stripes == 0)
		return fn(context, &t);
	text += length;
	t.bytes = t.length / stripes;
	for (unsigned i = 0; rc == 0 && i < stripes; i++) {
		if (!read_place(&text, &t))
			t.device = 0;
		rc = fn(context, &t);
	}
	return rc;
}

static int tell_target(const struct dm_target_spec *spec, const char *text,
		       int (*fn)(void *context, const struct dm_target *), void *context)
{
	struct dm_target t = {.start = spec->sector_start * SECTOR, .length = spec->length * SECTOR};

	/* Nothing lies below these. */
	if (strcmp(spec->target_type, "error") == 0 || strcmp(spec->target_type, "zero") == 0)
		return 0;
	if (strcmp(spec->target_type, "striped") == 0)
		return each_stripe(t, text, fn, context);
	t.linear = strcmp(spec->target_type, "linear") == 0 && read_place(&text, &t);
	t.bytes = t.length;
	return fn(context, &t);
}

int dm_each_target(dev_t device, int (*fn)(void *context, const struct dm_target *), void *context)
{
	struct dm_ioctl *io = NULL;
	int rc = read_table(device, &io);
	const char *table = io ? (const char *)io + io->data_start : NULL;
	size_t at = 0;

	for (uint32_t i = 0; table && rc == 0 && i < io->target_count; i++) {
		struct dm_target_spec spec;

		memcpy(&spec, table + at, sizeof(spec));
		rc = tell_target(&spec, table + at + sizeof(spec), fn, context);
		at = spec.next;
	}
	free(io);
	return rc;
}
