/*
 * Storage that is taken for as long as it is open, so that others meet it. Internal to
 * device/.
 *
 * Every remapfs locks the bytes that it uses on the lowest devices and files
 * (storage.h), by locks of open file descriptions: so they meet whatever name each of
 * them was given. Other programs meet the kernel's claim on a block device (O_EXCL),
 * which has one holder. One process holds it once for all regions of a device; the next
 * process that wants another region of it sees by a lock that the holder is a remapfs,
 * and goes without.
 */
#ifndef DEVICE_CLAIM_H
#define DEVICE_CLAIM_H

#include "remapfs/error.h"
#include "remapfs/storage.h"

struct claim_options {
	const char *role, *path; /* for messages */
	bool read_only;          /* readers share */
	unsigned wait_ms;        /* for another holder to end */
};

/* Locks [start, end) of an open file or device. -EBUSY; err has the line. */
int claim_range(int fd, uint64_t start, uint64_t end, const struct claim_options *,
		struct error *err);

struct claim {
	int *fds;
	size_t count;
};

/*
 * The same on all that the storage is, but for what `own` (a descriptor that has been
 * locked) is itself. What it may be in, below a device that cannot be looked into, is
 * locked as by a reader: others may be in it as well, but none can have it. Of a device
 * that is also the storage for certain, only those bytes are locked. What cannot be
 * opened is left out: whoever asks by that name does not meet this claim. -EBUSY,
 * -ENOMEM; err has the line, *ret is empty.
 */
int claim_storage(const struct storage *, int own, const struct claim_options *,
		  struct claim *ret, struct error *err);
void claim_release(struct claim *);

/*
 * The kernel's claim on a block device, for regions of it: held until the last
 * claim_leave of this process. -EBUSY: somebody has it who is no remapfs; or what
 * open(2) said.
 */
int claim_device(const char *path, dev_t device);
void claim_leave(dev_t device);
/* The descriptor that has it, which stays this file's; -1: another remapfs has it. */
int claim_descriptor(dev_t device);

/*
 * Whether the kernel's claim is held by a remapfs, for other regions, and nothing else
 * is known to use the device as a whole. To be asked when open(2) said EBUSY.
 */
bool claim_is_ours(dev_t device);

#endif
