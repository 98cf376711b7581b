#include "record.h"

#include <stdio.h>
#include <string.h>

#include "crash.h"
#include "disk.h"

void record_start(struct record *r, uint64_t sectors, uint32_t sector_size)
{
	*r = (struct record){.sectors = sectors, .sector_size = sector_size,
			     .values = VALUE_FIRST};
	r->initial = must(calloc(sectors, sector_size));
	r->lost = must(calloc(sectors, sizeof(*r->lost)));
}

void record_end(struct record *r)
{
	free(r->initial);
	free(r->lost);
	free(r->requests);
	*r = (struct record){0};
}

/* ---- contents --------------------------------------------------------------------- */

/* Differs in every word from that of any other unit and value. */
static uint64_t word_of(unsigned value, uint64_t unit, unsigned i)
{
	return ((uint64_t)value << 48 | unit << 16 | i) * UINT64_C(0x9e3779b97f4a7c15);
}

static void fill_unit(const struct record *r, uint64_t *to, uint64_t unit, unsigned value)
{
	if (value == VALUE_INITIAL) {
		memcpy(to, r->initial + unit * UNIT, UNIT);
		return;
	}
	for (unsigned i = 0; i < UNIT / sizeof(*to); i++)
		to[i] = value == VALUE_ZEROS ? 0 : word_of(value, unit, i);
}

void record_fill(const struct record *r, void *to, uint64_t start, uint64_t count, unsigned value)
{
	uint32_t per_sector = r->sector_size / UNIT;

	for (uint64_t u = 0; u < count * per_sector; u++)
		fill_unit(r, (uint64_t *)to + u * (UNIT / sizeof(uint64_t)),
			  start * per_sector + u, value);
}

static bool unit_is(const struct record *r, const void *data, uint64_t unit, unsigned value)
{
	uint64_t expected[UNIT / sizeof(uint64_t)];

	fill_unit(r, expected, unit, value);
	return memcmp(data, expected, UNIT) == 0;
}

static unsigned value_of(const struct record *r, const void *data, uint64_t unit)
{
	for (unsigned v = 0; v < r->values; v++)
		if (unit_is(r, data, unit, v))
			return v;
	return VALUES_MAX;
}

static void complain(const struct record *r, uint64_t sector, uint64_t allowed, bool lost,
		     const void *data, uint64_t unit)
{
	char text[64 * 4] = "", found[32] = "EIO";
	unsigned v = data ? value_of(r, data, unit) : 0;

	for (unsigned i = 0; i < VALUES_MAX; i++)
		if (allowed >> i & 1)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), " %u", i);
	if (data)
		snprintf(found, sizeof(found), v == VALUES_MAX ? "foreign bytes" : "version %u", v);
	fail("sector %llu holds %s; allowed:%s%s (0: as at first, 1: zeros)",
	     (unsigned long long)sector, found, text, lost ? " EIO" : "");
}

void record_check(const struct record *r, uint64_t sector, const struct possible *p, bool live,
		  int rc, const void *data)
{
	uint32_t per_sector = r->sector_size / UNIT;
	uint64_t allowed = live ? p->live : p->cut;
	bool lost = live ? p->lost : p->lost_cut;

	if (rc < 0) {
		if (!lost)
			complain(r, sector, allowed, lost, NULL, 0);
		return;
	}
	if (allowed == ANYTHING)
		return;
	for (uint32_t u = 0; u < per_sector; u++) {
		uint64_t unit = sector * per_sector + u;
		const uint8_t *at = (const uint8_t *)data + u * UNIT;
		bool known = false;

		for (unsigned v = 0; v < r->values && !known; v++)
			known = (allowed >> v & 1) && unit_is(r, at, unit, v);
		if (!known)
			complain(r, sector, allowed, lost, at, unit);
	}
}

/* ---- requests --------------------------------------------------------------------- */

struct asked *record_begin(struct record *r, enum request_kind kind, uint64_t start,
			     uint64_t count, unsigned value, size_t point)
{
	if (value >= r->values)
		r->values = value + 1;
	if (r->values > VALUES_MAX || count > 64)
		give_up("a workload is too long");
	if (r->count == r->room) {
		r->room = r->room * 2 + 64;
		r->requests = must(realloc(r->requests, r->room * sizeof(*r->requests)));
	}
	r->requests[r->count] = (struct asked){.kind = kind, .start = start, .count = count,
						 .value = value, .begin = point, .end = SIZE_MAX};
	return &r->requests[r->count++];
}

static void after_write(const struct record *r, const struct asked *q, bool done, bool settled,
			struct possible *p)
{
	uint64_t bit = UINT64_C(1) << q->value;

	if (done && q->rc == 0) {
		p->live = bit;
		p->cut = settled ? bit : p->cut | bit;
		p->broken = p->broken && !settled;
		p->lost = p->broken;
		p->lost_cut = p->lost_cut && !settled;
		return;
	}
	p->live |= bit;
	p->cut |= bit;
	if (done && r->forgiving)
		p->lost = p->lost_cut = true;
}

static void after_request(const struct record *r, const struct asked *q, bool done,
			  struct possible *p)
{
	for (uint64_t i = 0; i < q->count; i++) {
		struct possible *one = &p[q->start + i];

		if (q->kind == REQUEST_WRITE) {
			after_write(r, q, done, q->settled >> i & 1, one);
		} else if (q->kind == REQUEST_LOSS) {
			one->lost = one->lost_cut = true;
			one->broken = q->value;
		} else if (q->kind == REQUEST_MOVE) {
			if (done)
				one->cut = one->live, one->lost_cut = one->lost;
		} else if (done && q->rc < 0 && r->forgiving) {
			one->lost = one->lost_cut = true;
		} else if (done && q->rc < 0 && one->lost) {
			/* It was told: from now on there is no content. */
			one->live = one->cut = 0;
		}
	}
}

uint64_t record_possible(const struct record *r, size_t point, struct possible *ret)
{
	uint64_t events = 0;

	for (uint64_t s = 0; s < r->sectors; s++)
		ret[s] = (struct possible){.live = !r->lost[s], .cut = !r->lost[s],
					   .lost = r->lost[s], .lost_cut = r->lost[s]};
	for (size_t i = 0; i < r->count; i++) {
		const struct asked *q = &r->requests[i];
		bool done = q->end <= point;

		if (!done && q->begin >= point)
			break;
		if (done && q->events > events)
			events = q->events;
		after_request(r, q, done, ret);
		if (q->kind == REQUEST_FLUSH && done && q->rc == 0)
			for (uint64_t s = 0; s < r->sectors; s++)
				ret[s].cut = ret[s].live, ret[s].lost_cut = ret[s].lost;
	}
	return events;
}
