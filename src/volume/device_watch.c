/*
 * Looking after the devices while nobody asks anything of them: contract 13.
 *
 * Each second. A spare is looked at without I/O, so that a disk that sleeps is not
 * woken: that tells of a file that was cut, a server of files that died, and a disk
 * that was removed. What shows in I/O only is met by the first request. I/O is done
 * only with what failed already, to find out whether it works again.
 */
#include "remapfs/log.h"
#include "volume/volume_impl.h"

#define LOOK_EACH_MS 1000
#define SILENT_MS 5000

static void watch_spare(struct volume *v, struct spare *spare)
{
	int rc;

	if (spare_state(spare) == SPARE_RETIRED || spare_state(spare) == SPARE_LOST)
		return;
	atomic_store(&v->looking_at, spare);
	atomic_store(&v->looking_since, now_ms());
	rc = spare_look(spare);
	if (rc < 0)
		spare_gone(v, spare, -rc);
	else if (spare_failed(spare) && !v->options.read_only && spare_recover(spare))
		spare_works(v, spare);
	atomic_store(&v->looking_since, 0);
}

void watch_devices(struct volume *v)
{
	try_full_main(v);
	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		watch_spare(v, v->spares.all[i]);
}

struct spare *silent_spare(struct volume *v)
{
	int64_t since = atomic_load(&v->looking_since);

	return since && now_ms() - since > SILENT_MS ? atomic_load(&v->looking_at) : NULL;
}

static void *keep_watching(void *context)
{
	struct volume *v = context;

	while (background_pause(&v->watching, LOOK_EACH_MS))
		watch_devices(v);
	return NULL;
}

void start_watching(struct volume *v)
{
	if (!v->options.parts && background_start(&v->watching, keep_watching, v) < 0)
		log_warning("no thread can be started: a spare that is gone is told when it is "
			    "asked; end other programs, then mount anew");
}
