/*
 * The on-spare format, version 2. All numbers are little-endian; see
 * docs/format.md. Internal to spare/.
 */
#ifndef SPARE_FORMAT_H
#define SPARE_FORMAT_H

#include "remapfs/spare.h"

#define SPARE_BLOCK 4096u /* superblocks and alignment, bytes */
#define DESCRIPTOR_BYTES 32u

/* One slot. All zeros: free. */
struct descriptor {
	uint64_t sector;
	uint64_t sequence; /* > 0; the greatest one of a sector holds it */
	uint32_t data_sum; /* of the data first written */
	bool revoked;      /* it does not hold any more, and only says that it once did */
};

/* Encodes into (decodes from) DESCRIPTOR_BYTES at to (from). */
void descriptor_encode(void *to, const struct spare_identity *, slot_t slot,
		       const struct descriptor *);
/*
 * 0, -ENOENT: free, -ECANCELED: revoked (*ret is set), -EBADMSG: none of these, or
 * of another slot.
 */
int descriptor_decode(const void *from, const struct spare_identity *, slot_t slot,
		      struct descriptor *ret);

/* Reads one, and writes it again as it is if asked. The errors of struct spare_copy. */
int superblock_check(struct device *, uint64_t offset, bool writing);

/*
 * Whether a superblock of any spare stands at block (512 bytes): 0, and in *ret_bytes how
 * long its region is; or as spare_copy.error.
 */
int superblock_find(const void *block, uint64_t *ret_bytes, struct spare_copy *ret);

/* Overwrites both with zeros, durably. -ENOMEM, or an error of the device. */
int superblocks_wipe(struct device *);

/* Replaces one. Not durable before a flush. -ENOMEM, or those of the device. */
int superblock_write(struct device *, uint64_t offset, const struct spare_identity *,
		     uint64_t confirmed, struct spare_stamp);

#endif
