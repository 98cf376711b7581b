/*
 * The file of the database, bit by bit: bytes of a valid one are overwritten,
 * inserted or cut off, and a log, its index or a journal is laid beside it. Whatever comes of it is
 * opened, as the daemon and as remapctl do, and used.
 */
#include <errno.h>
#include <unistd.h>

#include "box.h"
#include "fuzz.h"

#define ROOM (256 * 1024)
#define PAGE 512 /* as box.c makes them */

struct file {
	uint8_t bytes[ROOM];
	size_t size;
};

/* Overwrites up to 16 bytes, or a number, somewhere. */
static void overwrite(struct input *in, struct file *f, size_t at)
{
	uint8_t raw[16], n = take_8(in) % sizeof(raw);

	take(in, raw, n);
	for (size_t i = 0; i < n && at + i < f->size; i++)
		f->bytes[at + i] = raw[i];
}

static void flip(struct input *in, struct file *f, size_t at)
{
	if (at < f->size)
		f->bytes[at] ^= (uint8_t)(1u << take_8(in) % 8);
}

static void copy_page(struct input *in, struct file *f, size_t at)
{
	size_t to = at / PAGE * PAGE, from = take_8(in) * (size_t)PAGE;

	if (to + PAGE <= f->size && from + PAGE <= f->size)
		memmove(f->bytes + to, f->bytes + from, PAGE);
}

static void change(struct input *in, struct file *f)
{
	uint8_t what = take_8(in);
	/* The first page, the beginning of a page, or anywhere. */
	size_t at = what & 0x80 ? take_8(in) : what & 0x40 ? take_8(in) * (size_t)PAGE + take_8(in) % 16
						      : take_16(in) % f->size;

	switch (what % 4) {
	case 0:
		overwrite(in, f, at);
		break;
	case 1:
		flip(in, f, at);
		break;
	case 2:
		copy_page(in, f, at);
		break;
	default:
		if (at > PAGE && what & 0x20)
			f->size = at;
	}
}

static int see_row(void *context, const char *const *values)
{
	(void)context;
	(void)values;
	return 0;
}

static int see_extent(void *context, const struct extent *e)
{
	(void)context, (void)e;
	return 0;
}

static void see_line(void *context, const char *line)
{
	(void)context;
	PROMISE(line[0]);
}

/* As remapctl, beside a daemon or without one. */
static void look_at(void)
{
	struct store_filter all = {0};
	struct store_totals totals;
	struct error err = {""};
	struct fault *faults;
	struct store *s;
	size_t count;

	if (store_open(box_path(), STORE_READ, &s, &err) < 0) {
		PROMISE(err.text[0] && !strchr(err.text, '\n'));
		return;
	}
	store_check(s, see_line, NULL);
	store_totals(s, &totals);
	for (int table = STORE_REMAPS; table <= STORE_FAULTS; table++)
		store_query(s, (enum store_table)table, &all, see_row, NULL, &err);
	store_each_extent(s, see_extent, NULL);
	if (store_load_faults(s, &faults, &count) == 0)
		free(faults);
	store_close(s);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	box_prepare();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const beside[] = {"volume-wal", "volume-wal", "volume-journal", "volume-shm"};
	static struct file f;
	struct input in = {data, size};
	const uint8_t *valid = box_database(&f.size);
	uint8_t first = take_8(&in);
	unsigned changes = first % 16;
	struct volume *v;
	struct box box;

	PROMISE(f.size <= ROOM);
	memcpy(f.bytes, valid, f.size);
	for (unsigned i = 0; i < changes && in.left; i++)
		change(&in, &f);
	box_reset(&box);
	put_file(box_path(), f.bytes, f.size);
	if (in.left)
		put_file(scratch(beside[first >> 4 & 3]), in.at, in.left);
	look_at();
	if (box_open(&box, &v) == 0)
		box_use(v);
	box_free(&box);
	return 0;
}
