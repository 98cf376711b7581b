#include "ctl/events.h"

#include <stdlib.h>
#include <string.h>

time_t event_time(const char *at)
{
	struct tm tm = {0};
	const char *rest = at ? strptime(at, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;

	return rest && (*rest == '.' || *rest == 'Z') ? timegm(&tm) : 0;
}

static size_t find_kind(const struct events *e, const char *name)
{
	size_t i = 0;

	while (i < e->kinds && strcmp(e->kind[i].name, name) != 0)
		i++;
	return i;
}

/* What is no word of ours, or one too many, is counted together. */
static void count_kind(struct events *e, const char *name)
{
	size_t length = strlen(name), i;

	if (length >= sizeof(e->kind->name) ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz_") != length)
		name = "other";
	i = find_kind(e, name);
	if (i == e->kinds && i >= EVENT_KINDS_MAX - 1) {
		name = "other";
		i = find_kind(e, name);
	}
	if (i == e->kinds)
		strcpy(e->kind[e->kinds++].name, name);
	e->kind[i].count++;
}

/*
 * A slot is used up when a sector moves to it, and when it fails. One that
 * fails under a sector is counted for the second time: rather too many.
 */
static uint64_t slots_of(const char *const *values)
{
	const char *sectors = values[HISTORY_SECTORS];

	if (strcmp(values[HISTORY_EVENT], "remapped") != 0 &&
	    strcmp(values[HISTORY_EVENT], "slot_bad") != 0)
		return 0;
	return sectors ? strtoull(sectors, NULL, 10) : 1;
}

static int add_event(void *context, const char *const *values)
{
	struct events *e = context;
	time_t at = event_time(values[HISTORY_AT]);

	e->total++;
	count_kind(e, values[HISTORY_EVENT]);
	if (!e->first)
		e->first = at;
	/* Not what a clock that was ahead has dated. */
	if (at >= e->now - RATE_WINDOW_S && at <= e->now + CLOCK_SLACK_S)
		e->consumed += slots_of(values);
	if (strcmp(values[HISTORY_EVENT], "scrub_done") == 0)
		strncpy(e->scrubbed, values[HISTORY_AT], sizeof(e->scrubbed) - 1);
	return 0;
}

int events_read(struct store *store, time_t now, struct events *ret, struct error *err)
{
	const struct store_filter all = {0};

	*ret = (struct events){.now = now};
	return store_query(store, STORE_HISTORY, &all, add_event, ret, err);
}

double events_rate(const struct events *e)
{
	time_t span = e->first ? e->now - e->first : 0;

	if (span < RATE_LEAST_S)
		return -1;
	if (span > RATE_WINDOW_S)
		span = RATE_WINDOW_S;
	return (double)e->consumed * 86400 / (double)span;
}
