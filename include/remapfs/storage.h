/*
 * Whose storage it is: contract 12.
 *
 * A path and a region are reduced to ranges of bytes on the lowest block devices, or
 * in the lowest files, that can be named. Two names that lead to the same bytes have
 * ranges that overlap: a loop device and its file, a partition and its disk, a hard
 * link, a device-mapper device and what it maps. Comparing opens and waits for nothing:
 * what is known comes from stat(2) and sysfs. The backing file of a loop device is
 * never opened, and not even asked for its inode where it is on a FUSE or network file
 * system: it may be on a mount that the caller is about to serve.
 *
 * Devices whose mapping is not known (md, dm-crypt, dm-raid, ...) are named themselves.
 * What lies below them is added as ranges that the storage may be in: see `through`.
 */
#ifndef REMAPFS_STORAGE_H
#define REMAPFS_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct storage_range {
	dev_t device; /* the block device, or the file system that the file is on */
	bool is_file;
	ino_t inode;  /* of a file; 0: not known, the path counts */
	char *path;   /* of a file, absolute; NULL for a block device */
	uint64_t start, end; /* bytes; end UINT64_MAX: up to the end, wherever that is */
	/*
	 * 0: all these bytes are the storage. Otherwise some of them may be: they are
	 * below this device, which cannot be looked into.
	 */
	dev_t through;
};

/* What the bytes below a layer are. */
enum storage_kind {
	STORAGE_END,       /* a file, or a device with nothing known below it */
	STORAGE_PARTITION, /* of a disk: one range of it, as also of */
	STORAGE_LOOP,      /* a loop device: of a file or another device */
	STORAGE_MAPPED,    /* dm, md and the like: many ranges, or not known */
};

/* The storage as one of the devices or files that it was found through. */
struct storage_layer {
	struct storage_range range;
	enum storage_kind kind;
};

struct storage {
	struct storage_range *ranges;
	size_t count;
	/* In the order of finding: first what was named; up to the first of another kind
	 * than PARTITION and LOOP each one is the next layer of the one before. */
	struct storage_layer *layers;
	size_t layer_count;
};

/*
 * Finds the ranges of `length` bytes (0: all) from offset on of a file or block device.
 * A file that does not exist is named by its path. -ENOMEM is the only error; then
 * *ret is empty. The caller calls storage_free in either case.
 */
int storage_find(const char *path, uint64_t offset, uint64_t length, struct storage *ret);
/* The same of a block device by its number. */
int storage_find_device(dev_t device, struct storage *ret);
void storage_free(struct storage *);

enum storage_shared {
	STORAGE_APART,
	STORAGE_UNKNOWN, /* they may overlap: a device between them cannot be looked into */
	STORAGE_SHARED,
};

/* *ret (may be NULL) is what they share, valid as long as a. */
enum storage_shared storage_compare(const struct storage *a, const struct storage *b,
				    struct storage_range *ret);

/*
 * Opens the device or file of a range with open(2)'s flags. -1: it cannot be opened, is
 * no longer what was found, or opening it might wait for somebody.
 */
int storage_open(const struct storage_range *, int flags);

/* "bytes 0 to 1048575 of '/data/disk.img'", or "... of /dev/sdb". Returns text. */
char *storage_describe(const struct storage_range *, char *text, size_t size);

/* The name of a block device below /dev, "8:16" where it has none. Returns text. */
char *storage_device_name(dev_t device, char *text, size_t size);

/*
 * Whether somebody else uses the same bytes by another name: a loop device that is
 * attached to them, or a device above or beside them that is mounted, swapped to, or
 * part of another device. *ret is that device; *ret_why a word for how it is used
 * ("attached", "mounted", "swapped to", "part of another device").
 */
bool storage_in_use(const struct storage *, dev_t *ret, const char **ret_why);

#endif
