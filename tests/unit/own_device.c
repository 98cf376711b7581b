#include "own_device.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/device.h"

struct own {
	struct device device;
	struct device *inner;
	const char *name;
};

static _Atomic(device_rule) rule;

static int refused(struct device *d, enum device_call call, size_t length, uint64_t offset)
{
	device_rule now = atomic_load(&rule);
	const struct own *o = (struct own *)d;

	return now ? now(o->name, call, offset / sector_size, length / sector_size) : 0;
}

static struct device *inner(struct device *d)
{
	return ((struct own *)d)->inner;
}

static int own_read(struct device *d, void *buf, size_t length, uint64_t offset)
{
	int rc = refused(d, CALL_READ, length, offset);

	return rc ? rc : device_read(inner(d), buf, length, offset);
}

static int own_write(struct device *d, const void *buf, size_t length, uint64_t offset)
{
	int rc = refused(d, CALL_WRITE, length, offset);

	return rc ? rc : device_write(inner(d), buf, length, offset);
}

static int own_flush(struct device *d)
{
	int rc = refused(d, CALL_FLUSH, 0, 0);

	return rc ? rc : device_flush(inner(d));
}

static int own_discard(struct device *d, uint64_t offset, uint64_t length)
{
	int rc = refused(d, CALL_WRITE, length, offset);

	return rc ? rc : device_discard(inner(d), offset, length);
}

static int own_zero(struct device *d, uint64_t offset, uint64_t length)
{
	int rc = refused(d, CALL_WRITE, length, offset);

	return rc ? rc : device_zero(inner(d), offset, length);
}

static int own_next_data(struct device *d, uint64_t offset, uint64_t *ret_start, uint64_t *ret_end)
{
	return device_next_data(inner(d), offset, ret_start, ret_end);
}

static int own_present(struct device *d)
{
	int rc = refused(d, CALL_LOOK, 0, 0);

	return rc ? rc : device_present(inner(d));
}

static struct device_identity main_identity;
static bool main_is_told;

static void own_identify(struct device *d, struct device_identity *ret)
{
	if (main_is_told && strcmp(((struct own *)d)->name, "main") == 0)
		*ret = main_identity;
	else
		device_identify(inner(d), ret);
}

static void own_close(struct device *d)
{
	device_close(inner(d));
	free(d);
}

static const struct device_ops ops = {
	.read = own_read,
	.write = own_write,
	.flush = own_flush,
	.discard = own_discard,
	.zero = own_zero,
	.next_data = own_next_data,
	.close = own_close,
	.present = own_present,
	.identify = own_identify,
};

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return strcmp(slash, "/main") == 0 ? "main" : strcmp(slash, "/spare1") == 0 ? "spare1"
										   : "spare2";
}

static int open_device(void *context, const char *path, const struct file_device_options *o,
		       struct device **ret, struct error *err)
{
	struct own *own = calloc(1, sizeof(*own));
	int rc = own ? file_device_open(path, o, &own->inner, err) : -1;

	(void)context;
	if (rc < 0) {
		free(own);
		return rc;
	}
	own->device = (struct device){.ops = &ops, .geometry = own->inner->geometry};
	own->name = name_of(path);
	*ret = &own->device;
	return 0;
}

const struct volume_parts own_parts = {.open_device = open_device};

void set_main_identity(const struct device_identity *identity)
{
	main_is_told = identity != NULL;
	if (identity)
		main_identity = *identity;
}

void set_rule(device_rule r)
{
	atomic_store(&rule, r);
}

void open_with_rule(device_rule r, struct volume_options options)
{
	close_volume();
	set_rule(NULL);
	options.parts = &own_parts;
	open_volume_with(&options);
	set_rule(r);
}
