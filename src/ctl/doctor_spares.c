/* What remapctl doctor asks of a volume: how long it will go on. */
#include "ctl/doctor.h"
#include "ctl/events.h"

#include <inttypes.h>

/*
 * Rules of thumb. Disks have spare sectors for about a thousandth of themselves;
 * three months are time to buy another one, a week is not.
 */
#define MAIN_PER_SLOT 1000
#define DAYS_FEW 90
#define DAYS_TOO_FEW 7
/* Of a hundred slots so many that failed are too many. */
#define BAD_PERCENT 1
#define SCRUB_DAYS 90

static void look_at_size(struct doctor *doctor, const struct status *s)
{
	uint64_t wanted = s->volume->main_sectors / MAIN_PER_SLOT;

	if (!s->free_slots)
		doctor_find(doctor, DOCTOR_FAIL, "spare-size", "no slot is free: writes to the "
			    "next bad sector fail; add one with 'remapctl add-spare'");
	else if (s->free_slots < wanted)
		doctor_find(doctor, DOCTOR_WARN, "spare-size", "%" PRIu64 " free slot%s %s less "
			    "than one for %d sectors of main, which is little; 'remapctl "
			    "add-spare', %" PRIu64 " slots or more", s->free_slots,
			    plural(s->free_slots), is_or_are(s->free_slots), MAIN_PER_SLOT, wanted);
	else
		doctor_find(doctor, DOCTOR_PASS, "spare-size", "%" PRIu64 " slot%s %s free, for "
			    "%" PRIu64 " sector%s of main", s->free_slots, plural(s->free_slots),
			    is_or_are(s->free_slots), s->volume->main_sectors,
			    plural(s->volume->main_sectors));
}

static void look_at_slots(struct doctor *doctor, const struct status *s, size_t i)
{
	uint32_t id = s->spares[i].id;

	if (s->bad[i] * 100 >= s->spares[i].slots * BAD_PERCENT)
		doctor_find(doctor, DOCTOR_WARN, "spare-slots", "%" PRIu64 " of %" PRIu64 " slots "
			    "of spare %" PRIu32 " failed: it is dying itself; 'remapctl add-spare' "
			    "another, then 'remapctl retire-spare VOLUME %" PRIu32 "'", s->bad[i],
			    s->spares[i].slots, id, id);
	else if (s->bad[i])
		doctor_find(doctor, DOCTOR_NOTE, "spare-slots", "%" PRIu64 " of %" PRIu64 " slots "
			    "of spare %" PRIu32 " failed; have a look from time to time",
			    s->bad[i], s->spares[i].slots, id);
	else
		doctor_find(doctor, DOCTOR_PASS, "spare-slots", "no slot of spare %" PRIu32
			    " failed", id);
}

static void look_at_rate(struct doctor *doctor, const struct status *s, const struct events *events)
{
	double rate = events_rate(events);
	double days = rate > 0 ? (double)s->free_slots / rate : 0;
	enum doctor_result result = days < DAYS_TOO_FEW ? DOCTOR_FAIL : DOCTOR_WARN;

	if (rate < 0)
		doctor_find(doctor, DOCTOR_NOTE, "spare-rate", "how long the spares last cannot be "
			    "told in the first day of a volume; ask again tomorrow");
	else if (events->consumed == 0)
		doctor_find(doctor, DOCTOR_PASS, "spare-rate",
			    "no slot was used up in the last 30 days");
	else if (days < DAYS_FEW)
		doctor_find(doctor, result, "spare-rate", "%.3g slots a day go (of late): the "
			    "spares last %.0f days; 'remapctl add-spare' now, and replace the disk",
			    rate, days);
	else
		doctor_find(doctor, DOCTOR_PASS, "spare-rate",
			    "%.3g slots a day go (of late): the spares last %.0f days", rate, days);
}

/* One that has begun tells more than those that ended. */
static bool tell_begun_scrub(struct doctor *doctor, const struct status *s)
{
	const json_t *scrub = json_object_get(s->daemon, "scrub");
	uint64_t bytes = s->volume->main_sectors * s->volume->sector_size;
	uint64_t done = s->scrub.sector * s->volume->sector_size;
	double percent;

	if (scrub)
		done = (uint64_t)json_integer_value(json_object_get(scrub, "done"));
	percent = (double)done * 100 / (double)bytes;
	if (s->scrub.state == SCRUB_RUNNING && s->daemon)
		doctor_find(doctor, DOCTOR_PASS, "scrub", "a scrub is under way: %.1f%% is read", percent);
	else if (s->scrub.state == SCRUB_RUNNING)
		doctor_find(doctor, DOCTOR_NOTE, "scrub", "a scrub was interrupted at %.1f%%; it goes on "
			    "at the next mount", percent);
	else if (s->scrub.state == SCRUB_PAUSED)
		doctor_find(doctor, DOCTOR_NOTE, "scrub", "a scrub is paused at %.1f%%; 'remapctl scrub "
			    "VOLUME resume'", percent);
	else
		return false;
	return true;
}

static void look_at_scrub(struct doctor *doctor, const struct status *s, const struct events *events)
{
	time_t at = event_time(events->scrubbed);
	long days = at ? (long)((events->now - at) / 86400) : 0;

	if (tell_begun_scrub(doctor, s))
		return;
	if (!at)
		doctor_find(doctor, DOCTOR_NOTE, "scrub", "the history tells of no scrub: bad "
			    "sectors that nobody reads are not found; 'remapctl scrub' once in a "
			    "while");
	else if (days > SCRUB_DAYS)
		doctor_find(doctor, DOCTOR_WARN, "scrub", "the last scrub ended %ld days ago; "
			    "'remapctl scrub' once in a while", days);
	else
		doctor_find(doctor, DOCTOR_PASS, "scrub", "the last scrub ended at %s",
			    events->scrubbed);
}

void doctor_spares(struct doctor *doctor, const struct status *s)
{
	struct events events;
	struct error err = {0};

	look_at_size(doctor, s);
	for (size_t i = 0; i < s->spare_count; i++)
		if (!spare_has_left(&s->spares[i]))
			look_at_slots(doctor, s, i);
	if (events_read(s->store, time(NULL), &events, &err) < 0) {
		doctor_find(doctor, DOCTOR_FAIL, "history", "%s", err.text);
	} else {
		look_at_rate(doctor, s, &events);
		look_at_scrub(doctor, s, &events);
	}
	doctor_find(doctor, DOCTOR_NOTE, "flush", "whether a disk keeps what it says it flushed "
		    "cannot be told from here; where power may fail, use disks with power-loss "
		    "protection, or turn their write cache off");
}
