#include "spare/format.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "remapfs/cleanup.h"

#define FORMAT_VERSION 2u
#define MAGIC "REMAPFS\n"

/* As on disk. The rest of the block is zero. */
struct superblock {
	char magic[8];
	uint32_t version;
	uint32_t sector_size;
	uint8_t volume[16];
	uint8_t spare[16];
	uint32_t spare_id;
	uint16_t spares; /* the greatest number in the volume; 0: not known */
	uint16_t in_use; /* how many have not been retired; 0: all */
	uint64_t main_sectors;
	uint64_t slots;
	uint64_t bytes;     /* of the region */
	uint64_t confirmed; /* descriptors up to this sequence are committed or cleared */
	uint64_t stamp;
	uint32_t everywhere; /* 1: all spares in use have the stamp */
	uint32_t reserved;
	uint64_t checksum;  /* XXH3 of all bytes before it */
} __attribute__((packed));

struct raw_descriptor {
	uint64_t sector;
	uint64_t sequence;
	uint32_t data_sum;
	uint32_t revoked;  /* 1: it is */
	uint64_t checksum; /* XXH3 of all bytes before it, seeded with the slot */
} __attribute__((packed));

_Static_assert(sizeof(struct raw_descriptor) == DESCRIPTOR_BYTES, "on-disk format");

/* ---- layout ------------------------------------------------------------------ */

static uint64_t round_up(uint64_t bytes)
{
	return (bytes + SPARE_BLOCK - 1) / SPARE_BLOCK * SPARE_BLOCK;
}

static uint64_t table_bytes(slot_t slots)
{
	return round_up(slots * DESCRIPTOR_BYTES);
}

struct spare_layout spare_layout(uint64_t bytes, uint32_t sector_size)
{
	struct spare_layout l = {.table_offset = SPARE_BLOCK};
	uint64_t room;

	bytes -= bytes % SPARE_BLOCK;
	if (bytes < 3 * SPARE_BLOCK)
		return l;
	room = bytes - 2 * SPARE_BLOCK;
	l.slots = room / (sector_size + DESCRIPTOR_BYTES);
	while (l.slots > 0 && table_bytes(l.slots) + round_up(l.slots * sector_size) > room)
		l.slots--;
	if (l.slots > SLOT_MAX)
		l.slots = SLOT_MAX;
	l.slots_offset = SPARE_BLOCK + table_bytes(l.slots);
	l.backup_offset = bytes - SPARE_BLOCK;
	return l;
}

uint64_t spare_bytes_min(uint32_t sector_size)
{
	return 2 * SPARE_BLOCK + table_bytes(SPARE_SLOTS_MIN) +
	       round_up((uint64_t)SPARE_SLOTS_MIN * sector_size);
}

/* ---- superblocks --------------------------------------------------------------- */

static uint64_t superblock_sum(const struct superblock *s)
{
	return XXH3_64bits(s, offsetof(struct superblock, checksum));
}

static void superblock_encode(void *block, const struct spare_identity *id, uint64_t bytes,
			      uint64_t confirmed, struct spare_stamp stamp)
{
	struct superblock s = {
		.magic = {0},
		.version = htole32(FORMAT_VERSION),
		.sector_size = htole32(id->sector_size),
		.spare_id = htole32(id->id),
		.spares = htole16((uint16_t)id->spares),
		.in_use = htole16((uint16_t)id->in_use),
		.main_sectors = htole64(id->main_sectors),
		.slots = htole64(spare_layout(bytes, id->sector_size).slots),
		.bytes = htole64(bytes),
		.confirmed = htole64(confirmed),
		.stamp = htole64(stamp.number),
		.everywhere = htole32(stamp.everywhere),
	};

	memcpy(s.magic, MAGIC, sizeof(s.magic));
	memcpy(s.volume, id->volume, sizeof(s.volume));
	memcpy(s.spare, id->spare, sizeof(s.spare));
	s.checksum = htole64(superblock_sum(&s));
	memset(block, 0, SPARE_BLOCK);
	memcpy(block, &s, sizeof(s));
}

/* Else what is worked out from it would go wrong: whoever made it meant harm. */
static bool is_possible(const struct spare_identity *id)
{
	return (id->sector_size == 512 || id->sector_size == 4096) && id->id >= 1 &&
	       id->id <= SPARE_ID_MAX && id->spares <= SPARE_ID_MAX && id->main_sectors >= 1 &&
	       id->main_sectors <= SECTOR_MAX;
}

static int superblock_decode(const void *block, uint64_t bytes, struct spare_copy *copy)
{
	struct spare_identity *ret = &copy->identity;
	struct superblock s;

	memcpy(&s, block, sizeof(s));
	if (memcmp(s.magic, MAGIC, sizeof(s.magic)) != 0)
		return -ENOENT;
	/* A newer version may checksum differently: its number comes first. */
	if (le32toh(s.version) > FORMAT_VERSION)
		return -EPROTO;
	if (le64toh(s.checksum) != superblock_sum(&s) || le64toh(s.bytes) != bytes)
		return -ENOENT;
	ret->sector_size = le32toh(s.sector_size);
	ret->id = le32toh(s.spare_id);
	ret->spares = le16toh(s.spares);
	ret->in_use = le16toh(s.in_use);
	ret->main_sectors = le64toh(s.main_sectors);
	memcpy(ret->volume, s.volume, sizeof(s.volume));
	memcpy(ret->spare, s.spare, sizeof(s.spare));
	copy->confirmed = le64toh(s.confirmed);
	copy->stamp = (struct spare_stamp){le64toh(s.stamp), s.everywhere != 0};
	return is_possible(ret) ? 0 : -ENOENT;
}

_Static_assert(sizeof(struct superblock) <= 512, "found in one sector");

int superblock_find(const void *block, uint64_t *ret_bytes, struct spare_copy *ret)
{
	struct superblock s;

	if (memcmp(block, MAGIC, sizeof(s.magic)) != 0)
		return -ENOENT;
	memcpy(&s, block, sizeof(s));
	*ret_bytes = le64toh(s.bytes);
	return superblock_decode(block, *ret_bytes, ret);
}

/* Into block, SPARE_BLOCK aligned bytes of the caller's. */
static int read_block(struct device *d, uint64_t offset, void *block, struct spare_copy *ret)
{
	int rc = device_read(d, block, SPARE_BLOCK, offset);

	*ret = (struct spare_copy){0};
	ret->error = rc < 0 ? rc : superblock_decode(block, d->geometry.size, ret);
	return ret->error;
}

int superblock_write(struct device *d, uint64_t offset, const struct spare_identity *id,
		     uint64_t confirmed, struct spare_stamp stamp)
{
	CLEANUP_FREE void *block = NULL;

	if (posix_memalign(&block, SPARE_BLOCK, SPARE_BLOCK) != 0)
		return -ENOMEM;
	superblock_encode(block, id, d->geometry.size, confirmed, stamp);
	return device_write(d, block, SPARE_BLOCK, offset);
}

int superblock_check(struct device *d, uint64_t offset, bool writing)
{
	CLEANUP_FREE void *block = NULL;
	struct spare_copy found;
	int rc;

	if (posix_memalign(&block, SPARE_BLOCK, SPARE_BLOCK) != 0)
		return -ENOMEM;
	rc = read_block(d, offset, block, &found);
	return rc == 0 && writing ? device_write(d, block, SPARE_BLOCK, offset) : rc;
}

int spare_inspect(struct device *d, struct spare_copy ret[2])
{
	uint64_t backup = spare_layout(d->geometry.size, 512).backup_offset;
	CLEANUP_FREE void *block = NULL;

	if (backup == 0)
		return -ENOENT;
	if (posix_memalign(&block, SPARE_BLOCK, SPARE_BLOCK) != 0)
		return -ENOMEM;
	read_block(d, 0, block, &ret[0]);
	read_block(d, backup, block, &ret[1]);
	return 0;
}

int spare_probe(struct device *d, struct spare_identity *ret)
{
	struct spare_copy copies[2];
	int rc = spare_inspect(d, copies);

	if (rc < 0)
		return rc;
	if ((copies[0].error != 0 && copies[0].error != -EPROTO) ||
	    (copies[1].error == 0 && copies[1].confirmed > copies[0].confirmed))
		copies[0] = copies[1];
	if (copies[0].error == 0)
		*ret = copies[0].identity;
	return copies[0].error;
}

int superblocks_wipe(struct device *d)
{
	uint64_t backup = spare_layout(d->geometry.size, 512).backup_offset;
	CLEANUP_FREE void *block = NULL;
	int rc;

	if (posix_memalign(&block, SPARE_BLOCK, SPARE_BLOCK) != 0)
		return -ENOMEM;
	memset(block, 0, SPARE_BLOCK);
	rc = device_write(d, block, SPARE_BLOCK, 0);
	rc = rc < 0 ? rc : device_write(d, block, SPARE_BLOCK, backup);
	return rc < 0 ? rc : device_flush(d);
}

/* The table is cleared first: a spare is one of ours only when it is whole. */
int spare_format(struct device *d, const struct spare_identity *id)
{
	struct spare_layout l = spare_layout(d->geometry.size, id->sector_size);
	CLEANUP_FREE void *block = NULL;
	int rc = 0;

	if (posix_memalign(&block, SPARE_BLOCK, SPARE_BLOCK) != 0)
		return -ENOMEM;
	memset(block, 0, SPARE_BLOCK);
	for (uint64_t at = l.table_offset; rc == 0 && at < l.slots_offset; at += SPARE_BLOCK)
		rc = device_write(d, block, SPARE_BLOCK, at);
	rc = rc < 0 ? rc : device_flush(d);
	superblock_encode(block, id, d->geometry.size, 0, (struct spare_stamp){0});
	rc = rc < 0 ? rc : device_write(d, block, SPARE_BLOCK, 0);
	rc = rc < 0 ? rc : device_write(d, block, SPARE_BLOCK, l.backup_offset);
	return rc < 0 ? rc : device_flush(d);
}

int spare_write_superblocks(struct device *d, const struct spare_identity *id, uint64_t confirmed,
			    uint64_t stamp)
{
	uint64_t backup = spare_layout(d->geometry.size, id->sector_size).backup_offset;
	const struct spare_stamp s = {.number = stamp};
	int rc = superblock_write(d, 0, id, confirmed, s);

	return rc < 0 ? rc : superblock_write(d, backup, id, confirmed, s);
}

/* ---- descriptors ----------------------------------------------------------------- */

uint32_t spare_data_sum(const void *sector, uint32_t sector_size)
{
	return (uint32_t)XXH3_64bits(sector, sector_size);
}

/* The spare's own id is part of the sum: a table copied from elsewhere is wrong. */
static uint64_t descriptor_sum(const struct raw_descriptor *r, const struct spare_identity *id,
			       slot_t slot)
{
	uint64_t seed = XXH3_64bits_withSeed(id->spare, sizeof(id->spare), slot);

	return XXH3_64bits_withSeed(r, offsetof(struct raw_descriptor, checksum), seed);
}

void descriptor_encode(void *to, const struct spare_identity *id, slot_t slot,
		       const struct descriptor *d)
{
	struct raw_descriptor r = {
		.sector = htole64(d->sector),
		.sequence = htole64(d->sequence),
		.data_sum = htole32(d->data_sum),
		.revoked = htole32(d->revoked),
	};

	r.checksum = htole64(descriptor_sum(&r, id, slot));
	memcpy(to, &r, sizeof(r));
}

int descriptor_decode(const void *from, const struct spare_identity *id, slot_t slot,
		      struct descriptor *ret)
{
	static const struct raw_descriptor free_slot;
	struct raw_descriptor r;

	memcpy(&r, from, sizeof(r));
	if (memcmp(&r, &free_slot, sizeof(r)) == 0)
		return -ENOENT;
	if (le64toh(r.checksum) != descriptor_sum(&r, id, slot))
		return -EBADMSG;
	ret->sector = le64toh(r.sector);
	ret->sequence = le64toh(r.sequence);
	ret->data_sum = le32toh(r.data_sum);
	ret->revoked = r.revoked != 0;
	return ret->revoked ? -ECANCELED : 0;
}
