#include "sim.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"
#include "memory.h"

static struct sim *current;
static int64_t now;

void sim_use(struct sim *s)
{
	current = s;
}

void sim_reset(void)
{
	now = 1000000;
	sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 1, NULL);
}

struct sim *sim_current(void)
{
	return current;
}

void sim_end(struct sim *s)
{
	for (size_t i = 0; i < sizeof(s->shared) / sizeof(s->shared[0]); i++)
		free(s->shared[i]);
	journal_clear(&s->journal);
	*s = (struct sim){0};
}

int sim_call(struct sim *s, bool changes, bool database)
{
	if (s->cut)
		return EIO;
	if (s->quiet || (s->fail_changes && !changes) || (s->fail_database && !database))
		return 0;
	s->calls++;
	if (s->fail_at == 0 || s->calls < s->fail_at || s->calls >= s->fail_at + s->fail_count)
		return 0;
	if (!s->failed)
		s->failed_at = s->journal.count;
	s->failed = true;
	return s->fail_error;
}

void sim_step(struct sim *s, struct step step, const void *data)
{
	memory_spare(true);
	if (data && s->recording) {
		step.data = must(malloc(step.length));
		memcpy(step.data, data, step.length);
		disk_apply(s->disk, &step);
	} else {
		/* Not changed by disk_apply, and not kept. */
		memcpy(&step.data, &data, sizeof(data));
		disk_apply(s->disk, &step);
	}
	if (s->recording)
		journal_add(&s->journal, step);
	memory_spare(false);
}

int64_t sim_now_ms(void)
{
	return now++;
}

/* ---- devices ---------------------------------------------------------------------- */

struct sim_device {
	struct device device;
	enum file file;
};

static enum file file_of(struct device *d)
{
	return ((struct sim_device *)d)->file;
}

/* One request, and what of it is left to do. */
struct request {
	struct device *device;
	enum defect defect; /* what makes it fail */
	uint64_t offset, end;
	int error; /* 0 or negative */
};

/* Where the first block begins that has the defect; its end when none has. */
static uint64_t first_bad(const struct request *r)
{
	const uint8_t *defects = current->disk->files[file_of(r->device)].defects;

	for (uint64_t at = r->offset; at < r->end; at += UNIT)
		if (defects[at / UNIT] & r->defect)
			return at - at % r->device->geometry.block_size;
	return r->end;
}

/*
 * Real disks differ in what they do of a request that fails, and in its error
 * (see docs/real-kernels.md); here both hang on the place of the first bad block.
 */
static void meet(struct request *r, uint64_t bad)
{
	static const int errors[] = {EIO, ENODATA, EREMOTEIO};
	uint64_t block = bad / r->device->geometry.block_size;
	enum fault_way way = (enum fault_way)(block % 3);

	r->error = -errors[block / 3 % 3];
	if (way == FAULT_DOES_UP_TO)
		r->end = bad;
	else if (way == FAULT_DOES_NOTHING)
		r->end = r->offset;
}

/* The length of the next part that is done, from *ret_offset on; 0: that was all. */
static uint64_t next_part(struct request *r, uint64_t *ret_offset)
{
	while (r->offset < r->end) {
		uint64_t bad = first_bad(r), length;

		if (bad < r->end && !r->error)
			meet(r, bad);
		*ret_offset = r->offset;
		length = (bad < r->end ? bad : r->end) - r->offset;
		r->offset = bad < r->end ? bad + r->device->geometry.block_size : r->end;
		if (length)
			return length;
	}
	return 0;
}

static int device_sim_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	struct request r = {d, DEFECT_READ, offset, offset + length, 0};
	int error = sim_call(current, false, false);
	uint64_t at, part;

	if (error)
		return -error;
	while ((part = next_part(&r, &at)) > 0)
		memcpy((char *)buf + (at - offset), current->disk->files[file_of(d)].data + at,
		       part);
	return r.error;
}

static int change(struct device *d, enum step_kind kind, const void *buf, uint64_t length,
		  uint64_t offset)
{
	struct request r = {d, DEFECT_WRITE, offset, offset + length, 0};
	int error = sim_call(current, true, false);
	uint64_t at, part;

	if (error)
		return -error;
	while ((part = next_part(&r, &at)) > 0)
		sim_step(current, (struct step){.kind = kind, .file = file_of(d), .offset = at,
						.length = part},
			 buf ? (const char *)buf + (at - offset) : NULL);
	return r.error;
}

static int device_sim_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	return change(d, STEP_WRITE, buf, length, offset);
}

static int device_sim_zero(struct device *d, uint64_t offset, uint64_t length)
{
	return change(d, STEP_ZERO, NULL, length, offset);
}

static int device_sim_flush(struct device *d)
{
	struct sim *s = current;
	int error = sim_call(s, true, false);

	if (error)
		return -error;
	if (file_of(d) == FILE_MAIN && s->fail_main_flush)
		return -EIO;
	if (file_of(d) == FILE_MAIN && s->skip_main_flush)
		return 0;
	sim_step(s, (struct step){.kind = STEP_FLUSH, .file = file_of(d)}, NULL);
	return 0;
}

static int device_sim_next_data(struct device *d, uint64_t offset, uint64_t *ret_start,
				uint64_t *ret_end)
{
	*ret_start = offset;
	*ret_end = d->geometry.size;
	return offset < d->geometry.size ? 0 : -ENXIO;
}

static void device_sim_close(struct device *d)
{
	free(d);
}

static const struct device_ops ops = {
	.read = device_sim_read,
	.write = device_sim_write,
	.flush = device_sim_flush,
	.discard = device_sim_zero,
	.zero = device_sim_zero,
	.next_data = device_sim_next_data,
	.close = device_sim_close,
};

/* Files are known by their names alone: "main", "spare1", "spare2", "spare3". */
static int open_device(void *context, const char *path, const struct file_device_options *o,
		       struct device **ret, struct error *err)
{
	const char *name = strrchr(path, '/');
	struct sim_device *d;
	int error = sim_call(current, false, false);

	(void)context, (void)o;
	if (error)
		return error_set(err, error, "simulated");
	d = calloc(1, sizeof(*d));
	if (!d)
		return error_set(err, ENOMEM, "out of memory");
	d->file = strcmp(name, "/main") == 0 ? FILE_MAIN
					     : (enum file)(FILE_MAIN + name[strlen("/spare")] - '0');
	d->device.ops = &ops;
	d->device.geometry = (struct geometry){
		.size = current->disk->files[d->file].size,
		.block_size = current->sector_size,
		.direct = true,
	};
	*ret = &d->device;
	return 0;
}

const struct volume_parts sim_parts = {.open_device = open_device, .vfs = SIM_VFS};
