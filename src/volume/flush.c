/*
 * Contract 5: fsync covers everything, and what it once missed stays missed.
 *
 * The map needs nothing here: each remap was durable before its write was
 * acknowledged. After a failed flush the kernel forgets which writes it lost,
 * and a second flush succeeds; so ours does not until the volume is opened
 * again. That is also what those are told whom a flush of another caller served.
 */
#include <errno.h>

#include "remapfs/log.h"
#include "volume/volume_impl.h"

/* true: for the first time; *ret is what to tell. */
static bool first_failure(struct volume *v, spare_id_t spare, int error, struct event *ret)
{
	*ret = (struct event){
		.kind = EVENT_FLUSH_FAILED,
		.spare = spare,
		.error = error,
		.detail = "what was written since the last fsync may be lost",
	};
	if (atomic_exchange(v->flush_failed, true))
		return false;
	log_error("%s did not flush (%s): writes since the last fsync may be lost, and fsync fails "
		  "until the volume is mounted anew; check the disk and its cables first",
		  spare == ON_MAIN ? "main" : "a spare",
		  errno_name(error));
	return true;
}

static int flush_failed(struct volume *v, spare_id_t spare, int error)
{
	struct event event;

	if (first_failure(v, spare, error, &event))
		tell(v, &event);
	return -EIO;
}

/* Also the committing thread's, which cannot wait for itself. */
void spare_did_not_flush(void *volume, struct spare *spare, int error)
{
	struct volume *v = volume;
	struct change change = {0};
	struct event event;

	if (spare_state(spare) == SPARE_LOST || !first_failure(v, spare_id(spare), error, &event))
		return;
	change_event(v->started ? &change : &v->opening, &event);
	if (v->started)
		commit_later(&v->committer, &change);
}

/*
 * The kernel tells of a failed flush once: whoever flushes at the same time
 * must not overtake the one that was told. A flush that began after the call
 * serves it, whoever began it; one that was under way then may have missed what
 * the caller wrote. So of many callers that wait, one flushes for all.
 */
int flush_main(struct volume *v)
{
	uint64_t wanted = atomic_load(&v->flushes_begun) + 1;
	int rc = 0;

	pthread_mutex_lock(&v->flushing);
	if (atomic_load(&v->flushes_begun) < wanted) {
		atomic_fetch_add(&v->flushes_begun, 1);
		rc = device_flush(v->main);
	}
	if (rc < 0)
		flush_failed(v, ON_MAIN, -rc);
	pthread_mutex_unlock(&v->flushing);
	return atomic_load(v->flush_failed) ? -EIO : 0;
}

/*
 * Until a lost spare is given up its sectors are served, also after a crash, so
 * that what was written there is not kept unless it is flushed. Once it has
 * left, nothing stands in the way of an fsync any more.
 */
static int flush_spare(struct volume *v, struct spare *spare)
{
	enum spare_state state = spare_state(spare);
	int rc = state == SPARE_RETIRED ? 0 : spare_flush(spare);

	if (rc < 0 && state != SPARE_LOST)
		return flush_failed(v, spare_id(spare), -rc);
	return rc;
}

int volume_flush(struct volume *v)
{
	int rc = flush_main(v);

	for (size_t i = 0; i < spare_set_count(&v->spares); i++) {
		int spare_rc = flush_spare(v, v->spares.all[i]);

		rc = spare_rc < 0 ? spare_rc : rc;
	}
	return rc < 0 || atomic_load(v->flush_failed) ? -EIO : 0;
}
