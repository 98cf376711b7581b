/* The account of deaths: see deaths.h. */
#include "fuse/deaths.h"

#define PAUSE_MS 100
#define PAUSE_MAX_MS 1000

static int pause_ms(unsigned unborn)
{
	int pause = PAUSE_MS;

	for (unsigned i = 0; i < unborn && pause < PAUSE_MAX_MS; i++)
		pause *= 2;
	return unborn == 0 ? 0 : pause < PAUSE_MAX_MS ? pause : PAUSE_MAX_MS;
}

int deaths_note(struct deaths *d, bool served, bool killed, int64_t now)
{
	if (served) {
		d->weight -= (double)(now - d->served_since) / 1000 / SECONDS_A_DEATH;
		d->weight = d->weight > 0 ? d->weight : 0;
		d->unserved_since = now;
	}
	d->unborn = served ? 0 : d->unborn + 1;
	d->weight += killed ? 0 : served ? 1 : DEATH_UNBORN;
	if (d->weight >= DEATHS_MAX ||
	    (d->unborn >= KILLS_MIN && now - d->unserved_since >= UNSERVED_MS))
		return -1;
	return pause_ms(d->unborn);
}
