/*
 * The table of a device-mapper device, by the ioctl that dmsetup(8) uses. Only linear
 * targets say where their bytes are; LVM makes plain logical volumes of those.
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

static struct dm_target target_of(const struct dm_target_spec *spec)
{
	struct dm_target t = {.start = spec->sector_start * SECTOR, .length = spec->length * SECTOR};
	const char *arguments = (const char *)(spec + 1);
	unsigned major_number, minor_number;
	unsigned long long offset;

	if (strcmp(spec->target_type, "linear") == 0 &&
	    sscanf(arguments, "%u:%u %llu", &major_number, &minor_number, &offset) == 3) {
		t.linear = true;
		t.device = makedev(major_number, minor_number);
		t.offset = offset * SECTOR;
	}
	return t;
}

int dm_each_target(dev_t device, int (*fn)(void *context, const struct dm_target *), void *context)
{
	struct dm_ioctl *io = NULL;
	int rc = read_table(device, &io);
	const char *table = rc == 0 ? (const char *)io + io->data_start : NULL;
	size_t at = 0;

	for (uint32_t i = 0; rc == 0 && i < io->target_count; i++) {
		struct dm_target_spec spec_head;
		struct dm_target target;

		memcpy(&spec_head, table + at, sizeof(spec_head));
		target = target_of((const void *)(table + at));
		at = spec_head.next;
		rc = fn(context, &target);
	}
	free(io);
	return rc;
}
