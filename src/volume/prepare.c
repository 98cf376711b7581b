/*
 * One more spare for a volume that there is: every check first, then every
 * change, and none to the volume. Whoever has the volume open takes it in.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "remapfs/cleanup.h"
#include "remapfs/store.h"
#include "volume/apart.h"
#include "volume/content.h"
#include "volume/part.h"
#include "volume/spare_set.h"

struct preparation {
	const struct prepare_options *options;
	struct error *warning, *err;
	struct store *store;
	struct part spare;
};

/* Neither the database nor anything that the volume has already. */
static int check_distinct(struct preparation *p)
{
	const struct part_spec *spec = p->spare.spec;
	struct locations l = {0};
	int rc = locations_add_members(&l, p->store);

	rc = rc < 0 ? rc : locations_add(&l, "the database", ON_MAIN, p->options->path, 0, 0);
	rc = rc < 0
		 ? rc
		 : locations_add(&l, "spare", ON_MAIN, p->spare.path, spec->offset, spec->length);
	rc = rc < 0 ? error_set(p->err, ENOMEM, "out of memory; end other programs")
		    : locations_apart(&l, l.count - 1, p->options->force,
				      "give the new spare another disk or region", p->err);
	locations_free(&l);
	return rc;
}

static int check_others(struct preparation *p)
{
	size_t count;
	const struct store_spare *spares = store_spares(p->store, &count);

	if (count && spares[count - 1].id >= SPARE_ID_MAX)
		return error_set(p->err, ENOSPC, "the volume has had %u spares; make a new volume",
				 SPARE_ID_MAX);
	return check_distinct(p);
}

static int check_spare(struct preparation *p)
{
	uint32_t sector_size = store_volume(p->store)->sector_size;

	if (p->spare.block_size > sector_size)
		return error_set(p->err, EINVAL, "spare '%s' has sectors of %u bytes, the volume of "
				 "%u; use one with smaller ones", p->spare.path, p->spare.block_size,
				 sector_size);
	return part_check_spare_size(&p->spare, sector_size, p->err);
}

/* Prepared for this volume before, and then not added: it has nothing of anybody's. */
static bool is_left_over(struct preparation *p)
{
	char volume[UUID_STR_LEN], uuid[UUID_STR_LEN];
	struct spare_identity id;
	size_t count;
	const struct store_spare *spares = store_spares(p->store, &count);

	if (spare_probe(p->spare.device, &id) < 0 || id.in_use != SPARE_OUTSIDE)
		return false;
	uuid_unparse_lower(id.volume, volume);
	uuid_unparse_lower(id.spare, uuid);
	for (size_t i = 0; i < count; i++)
		if (strcmp(spares[i].uuid, uuid) == 0)
			return false;
	return strcmp(volume, store_volume(p->store)->uuid) == 0;
}

static int make(struct preparation *p)
{
	int rc = 0;

	if (!p->spare.missing)
		return p->options->force || is_left_over(p)
			       ? 0
			       : content_check(&p->spare, p->options->progress, p->options->context,
					       p->err);
	rc = part_make(&p->spare, true, p->err);
	rc = rc < 0 ? rc : part_open(&p->spare, p->warning, p->err);
	/* What a new file can do is known only now. */
	return rc < 0 ? rc : check_spare(p);
}

static int format(struct preparation *p, struct store_spare *ret)
{
	const struct store_volume *volume = store_volume(p->store);
	size_t count;
	const struct store_spare *spares = store_spares(p->store, &count);
	struct spare_identity id = {
		.id = count ? spares[count - 1].id + 1 : 1,
		.sector_size = volume->sector_size,
		.main_sectors = volume->main_sectors,
	};

	id.spares = id.id;
	id.in_use = SPARE_OUTSIDE;
	if (uuid_parse(volume->uuid, id.volume) < 0)
		return error_set(p->err, EUCLEAN, "the volume is damaged (it has no valid uuid); "
				 "restore it from a copy");
	return part_make_spare(&p->spare, &id, p->options->progress, p->options->context, ret,
			       p->err);
}

static int prepare(struct preparation *p, struct store_spare *ret)
{
	int rc = store_open(p->options->path, STORE_READ, &p->store, p->err);

	rc = rc < 0 ? rc : part_find(&p->spare, p->err);
	rc = rc < 0 ? rc : check_others(p);
	rc = rc < 0 ? rc : part_check_existing(&p->spare, p->warning, p->err);
	rc = rc < 0 ? rc : check_spare(p);
	rc = rc < 0 ? rc : make(p);
	rc = rc < 0 ? rc : format(p, ret);
	store_close(p->store);
	return rc;
}

int volume_prepare_spare(const struct prepare_options *options, struct store_spare *ret,
			 struct error *warning, struct error *err)
{
	struct preparation p = {
		.options = options,
		.warning = warning,
		.err = err,
		.spare = {.spec = &options->spare, .role = "spare", .is_spare = true},
	};
	int rc;

	if (warning)
		warning->text[0] = 0;
	rc = prepare(&p, ret);
	if (rc == 0 && !(ret->path = strdup(p.spare.path)))
		rc = error_set(err, ENOMEM, "out of memory; end other programs");
	if (rc == 0 && options->ret_made)
		*options->ret_made = p.spare.made;
	part_let_go(&p.spare, rc == 0);
	return rc;
}
