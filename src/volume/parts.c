#include "volume/parts.h"

int parts_open_device(const struct volume_parts *parts, const char *path,
		      const struct file_device_options *o, struct device **ret, struct error *err)
{
	return parts ? parts->open_device(parts->context, path, o, ret, err)
		     : file_device_open(path, o, ret, err);
}

int parts_open_store(const struct volume_parts *parts, const char *path, enum store_mode mode,
		     struct store **ret, struct error *err)
{
	return parts ? store_open_on(parts->vfs, path, mode, ret, err)
		     : store_open(path, mode, ret, err);
}
