/*
 * Contract 5: fsync covers everything, and what it once missed stays missed.
 *
 * The map needs nothing here: each remap was durable before its write was
 * acknowledged. After a failed flush the kernel forgets which writes it lost,
 * and a second flush succeeds; so ours does not until the volume is opened
 * again.
 */
#include <errno.h>

#include "remapfs/log.h"
#include "volume/volume_impl.h"

static int flush_failed(struct volume *v, spare_id_t spare, int error)
{
	if (!atomic_exchange(&v->flush_failed, true)) {
		log_error("%s did not flush (%s): writes since the last fsync may be lost, and "
			  "fsync fails until the volume is mounted anew", spare == ON_MAIN
			  ? "main" : "a spare", errno_name(error));
		tell(v, EVENT_FLUSH_FAILED, spare, error,
		     spare == ON_MAIN ? "main did not flush" : "the spare did not flush");
	}
	return -EIO;
}

int flush_main(struct volume *v)
{
	int rc = device_flush(v->main);

	return rc < 0 ? flush_failed(v, ON_MAIN, -rc) : 0;
}

int volume_flush(struct volume *v)
{
	int rc = flush_main(v);

	for (size_t i = 0; i < v->spare_count; i++) {
		int spare_rc = spare_flush(v->spares[i]);

		if (spare_rc < 0)
			rc = flush_failed(v, spare_id(v->spares[i]), -spare_rc);
	}
	return rc < 0 || atomic_load(&v->flush_failed) ? -EIO : 0;
}
