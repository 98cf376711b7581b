/*
 * Main and spares held open for the processes that serve, one after the other.
 *
 * Who holds them has opened them by their paths, once, and keeps the claims. A process
 * that serves gets the descriptors, and so what was mounted, whatever the names lead to
 * by then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/cleanup.h"
#include "volume/apart.h"
#include "volume/parts.h"
#include "volume/volume_impl.h"

#define HELD_MAX 256 /* descriptors of a process are few */

struct held {
	struct store_spare info; /* of main: id ON_MAIN, and its path */
	struct device *device;   /* NULL: not opened yet */
};

struct volume_hold {
	bool read_only; /* main; and spares, where they cannot be written */
	struct held *all;
	size_t count;
};

/* ---- opening ------------------------------------------------------------------------- */

int open_member(const struct volume_parts *parts, const struct store_spare *info,
		const struct file_device_options *o, struct device **ret, struct error *err)
{
	struct device *d = NULL;
	int rc = parts_open_device(parts, info->path, o, &d, err);

	if (rc == 0 && info->id == ON_MAIN && d->geometry.size != info->length) {
		rc = error_set(err, EBADMSG, "main '%s' has %llu bytes, the volume was made for "
			       "%llu; give the right file back its place, or tell the volume the path "
			       "that main has now with 'remapctl set-path --main'", info->path,
			       (unsigned long long)d->geometry.size,
			       (unsigned long long)info->length);
		device_close(d);
		return rc;
	}
	*ret = d;
	if (rc == -ENOENT && info->id == ON_MAIN)
		return error_set(err, ENOENT, "main '%s' is not there; give it back its place, or if it "
				 "has another path now tell the volume with 'remapctl set-path --main'",
				 info->path);
	if (rc == -ENOENT)
		return error_set(err, ENOENT, "spare %u '%s' is not there; give it back its place, "
				 "tell the volume the path that it has now with 'remapctl set-path "
				 "--spare', or if it is lost for ever give it up with 'remapctl "
				 "retire-spare --lost'", info->id, info->path);
	return rc;
}

static int append(struct volume_hold *h, const struct store_spare *info)
{
	struct held *more = reallocarray(h->all, h->count + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	h->all = more;
	more[h->count] = (struct held){.info = *info};
	more[h->count].info.path = strdup(info->path);
	if (!more[h->count].info.path)
		return -ENOMEM;
	h->count++;
	return 0;
}

static void drop_at(struct volume_hold *h, size_t i)
{
	device_close(h->all[i].device);
	free(h->all[i].info.path);
	h->all[i] = h->all[--h->count];
}

static int list_one(void *context, const struct store_spare *info)
{
	return append(context, info) < 0;
}

static int list(struct volume_hold *h, const char *path, struct error *err)
{
	int rc = store_each_member(path, list_one, h, err);

	return rc > 0 ? error_set(err, ENOMEM, "out of memory; end other programs") : rc;
}

static int check_apart(const struct volume_hold *h, const char *path, struct error *err)
{
	struct locations l = {0};
	int rc = locations_add(&l, "the database", ON_MAIN, path, 0, 0);

	for (size_t i = 0; rc == 0 && i < h->count; i++) {
		const struct store_spare *info = &h->all[i].info;

		rc = locations_add(&l, info->id == ON_MAIN ? "main" : "spare", info->id,
				   info->path, info->offset, info->length);
	}
	rc = rc < 0 ? error_set(err, ENOMEM, "out of memory; end other programs")
		    : locations_apart_still(&l, err);
	locations_free(&l);
	return rc;
}

/* fd: what another process opened; -1: the path is opened. */
static int hold_one(struct volume_hold *h, struct held *one, unsigned lock_wait_ms, int fd,
		    struct error *err)
{
	bool main = one->info.id == ON_MAIN;
	struct file_device_options o = {
		.role = main ? "main" : "spare",
		.offset = one->info.offset,
		.length = main ? 0 : one->info.length, /* a file that is longer is another one */
		.read_only = main && h->read_only,
		.lock_wait_ms = lock_wait_ms,
		.opened = fd >= 0,
		.fd = fd,
	};
	int rc;

	rc = open_member(NULL, &one->info, &o, &one->device, err);
	if (rc != -EROFS || !h->read_only || main)
		return rc;
	o.read_only = true;
	return open_member(NULL, &one->info, &o, &one->device, err);
}

int volume_hold_open(const char *path, bool read_only, unsigned lock_wait_ms,
		     struct volume_hold **ret, struct error *err)
{
	struct volume_hold *h = calloc(1, sizeof(*h));
	int rc;

	if (!h)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	h->read_only = read_only;
	rc = list(h, path, err);
	rc = rc < 0 ? rc : check_apart(h, path, err);
	for (size_t i = 0; rc == 0 && i < h->count; i++)
		rc = hold_one(h, &h->all[i], lock_wait_ms, -1, err);
	if (rc < 0)
		volume_hold_close(h);
	else
		*ret = h;
	return rc;
}

void volume_hold_close(struct volume_hold *h)
{
	while (h && h->count)
		drop_at(h, h->count - 1);
	if (h)
		free(h->all);
	free(h);
}

/* ---- what is held ---------------------------------------------------------------------- */

void volume_hold_drop(struct volume_hold *h, spare_id_t id)
{
	for (size_t i = 0; i < h->count; i++)
		if (h->all[i].info.id == id) {
			drop_at(h, i);
			return;
		}
}

int volume_hold_add(struct volume_hold *h, const struct store_spare *info, int fd,
		    struct error *err)
{
	int rc;

	if (info->id == ON_MAIN || info->id > SPARE_ID_MAX || fd < 0 || h->count > HELD_MAX)
		return error_set(err, EINVAL, "spare %u cannot be taken in; unmount, and add it then",
				 info->id);
	/* One whose row did not come to be. */
	volume_hold_drop(h, info->id);
	if (append(h, info) < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	rc = hold_one(h, &h->all[h->count - 1], 0, fd, err);
	if (rc < 0)
		drop_at(h, h->count - 1);
	return rc;
}

size_t volume_hold_count(const struct volume_hold *h)
{
	return h->count;
}

struct volume_member volume_hold_member(const struct volume_hold *h, size_t i)
{
	return (struct volume_member){h->all[i].info.id, file_device_fd(h->all[i].device)};
}

size_t volume_hold_claims(const struct volume_hold *h, size_t i, int *ret)
{
	return file_device_claims(h->all[i].device, ret);
}
