/*
 * Requests as a client may send them: any offset and any length. What is in the
 * image is compared with a copy; where sectors are lost, EIO is an answer too.
 */
#include <errno.h>

#include "box.h"
#include "fuzz.h"

#define IMAGE (BOX_SECTORS * 512u)

/* Larger than the image, so that a length past its end has its buffer. */
#define ROOM (2 * IMAGE)

struct run {
	struct box box;
	struct volume *volume;
};

static uint8_t known[IMAGE]; /* what the image must hold, where it was written or read */
static uint8_t sure[IMAGE];  /* for each byte: whether that is known */
static _Alignas(4096) uint8_t buf[ROOM + 4096];

static bool inside(uint64_t offset, uint64_t length)
{
	return offset <= IMAGE && length <= IMAGE - offset;
}

/* A length that there is no buffer for is only asked for where it must be refused. */
static bool askable(uint64_t offset, uint64_t length)
{
	return length <= ROOM || !inside(offset, length);
}

static void do_read(struct run *r, uint64_t offset, uint64_t length, unsigned shift)
{
	int rc;

	if (!askable(offset, length))
		return;
	rc = volume_read(r->volume, buf + shift, length, offset);
	if (!inside(offset, length)) {
		PROMISE(rc == -EINVAL);
		return;
	}
	PROMISE(rc == 0 || rc == -EIO);
	for (uint64_t i = 0; rc == 0 && i < length; i++) {
		PROMISE(!sure[offset + i] || known[offset + i] == buf[shift + i]);
		known[offset + i] = buf[shift + i];
		sure[offset + i] = 1;
	}
}

/* What a change that worked left; one that failed may have changed some of it. */
static void note_change(int rc, uint64_t offset, uint64_t length,
			const uint8_t *data)
{
	uint64_t from = offset, to = offset + length;

	if (rc < 0) {
		memset(sure + from, 0, to - from);
		return;
	}
	if (data)
		memcpy(known + offset, data, length);
	else
		memset(known + offset, 0, length);
	memset(sure + offset, 1, length);
}

static void do_write(struct run *r, uint64_t offset, uint64_t length, unsigned shift, uint8_t tag)
{
	int rc;

	if (!askable(offset, length))
		return;
	memset(buf, tag, length < ROOM ? length + 1 : 1);
	rc = volume_write(r->volume, buf + shift, length, offset);
	PROMISE(inside(offset, length) || rc == -EINVAL);
	if (inside(offset, length))
		note_change(rc, offset, length, buf + shift);
}

static void do_zero(struct run *r, uint64_t offset, uint64_t length, bool discard)
{
	int rc = discard ? volume_discard(r->volume, offset, length)
			 : volume_zero(r->volume, offset, length);

	PROMISE(inside(offset, length) || rc == -EINVAL);
	if (inside(offset, length) && rc != -EOPNOTSUPP)
		note_change(rc, offset, length, NULL);
}

static void do_next_data(struct run *r, uint64_t offset)
{
	uint64_t start, end;

	if (volume_next_data(r->volume, offset, &start, &end) == 0)
		PROMISE(start >= offset && start < end && end <= IMAGE);
}

static void request(struct run *r, struct input *in)
{
	uint8_t what = take_8(in), tag = take_8(in);
	uint64_t offset = take_hostile(in) * (what & 0x80 ? 512 : 1), length = take_hostile(in);

	if (what & 0x40)
		length *= 512;
	switch (what % 8) {
	case 0:
	case 1:
		do_read(r, offset, length, what & 0x20 ? 1 : 0);
		break;
	case 2:
	case 3:
		do_write(r, offset, length, what & 0x20 ? 1 : 0, tag);
		break;
	case 4:
		do_zero(r, offset, length, true);
		break;
	case 5:
		do_zero(r, offset, length, false);
		break;
	case 6:
		do_next_data(r, offset);
		break;
	default:
		disk_damage(&r->box.disks[tag % 3], offset % 256, 1 + length % 4,
			    1 + (what >> 3) % 3);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	box_prepare();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	struct run r;

	memset(sure, 0, sizeof(sure));
	box_reset(&r.box);
	PROMISE(box_open(&r.box, &r.volume) == 0);
	for (int i = 0; i < 64 && in.left; i++)
		request(&r, &in);
	volume_flush(r.volume);
	volume_close(r.volume);
	/* All that was acknowledged is there when it is opened again. */
	if (r.box.disks[0].bad_count < DISK_BAD_MAX && box_open(&r.box, &r.volume) == 0) {
		do_read(&r, 0, IMAGE, 0);
		for (uint64_t at = 0; at < IMAGE; at += 512)
			do_read(&r, at, 512, 0);
		volume_close(r.volume);
	}
	box_free(&r.box);
	return 0;
}
