#include "linear.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zeros get values of their own from here on, one for each write of them. */
#define ZEROS_FROM (UINT64_C(1) << 62)
#define LEFT_OUT UINT64_MAX

struct zone {
	uint64_t value, first_end, last_start;
};

static bool forward(const struct zone *z)
{
	return z->first_end < z->last_start;
}

static bool __attribute__((format(printf, 2, 3))) refuse(struct linear_verdict *v,
							 const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(v->text, sizeof(v->text), format, args);
	va_end(args);
	return false;
}

static int compare(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static void *must(void *p)
{
	if (!p) {
		fputs("model: out of memory\n", stderr);
		abort();
	}
	return p;
}

/* ---- zeros ---------------------------------------------------------------------- */

static int by_end(const void *a, const void *b)
{
	const struct linear_op *x = a, *y = b;

	return compare(x->end, y->end);
}

/* latest[i]: the latest start among the writes of ops[0 .. i], sorted by end. */
static uint64_t *latest_starts(const struct linear_op *ops, size_t count)
{
	uint64_t *latest = must(calloc(count + 1, sizeof(*latest))), start = 0;

	for (size_t i = 0; i < count; i++) {
		if (ops[i].write && ops[i].start > start)
			start = ops[i].start;
		latest[i] = start;
	}
	return latest;
}

/* A write that began before this was surely overwritten when `time` came. */
static uint64_t overwritten_before(const struct linear_op *ops, size_t count,
				   const uint64_t *latest, uint64_t time)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ops[middle].end < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? latest[low - 1] : 0;
}

struct zeros {
	struct linear_op **writes;
	size_t count;
};

/* Ties a read of zeros to the only write of zeros that it can be of. */
static bool tie(struct linear_op *read, const struct zeros *zeros, uint64_t horizon,
		struct linear_verdict *v)
{
	size_t fitting = 0;

	for (size_t i = 0; i < zeros->count; i++) {
		const struct linear_op *w = zeros->writes[i];

		if (w->start > read->end || w->end < horizon)
			continue;
		fitting++;
		read->value = w->value;
	}
	if (fitting > 1) {
		read->value = LEFT_OUT;
		v->ambiguous_reads++;
	}
	return fitting > 0 ||
	       refuse(v, "zeros were read from %llu to %llu, when every write of zeros was still to "
		      "come or overwritten", (unsigned long long)read->start,
		      (unsigned long long)read->end);
}

static bool tell_zeros_apart(struct linear_op *ops, size_t count, struct linear_verdict *v)
{
	struct zeros zeros = {must(calloc(count + 1, sizeof(struct linear_op *))), 0};
	uint64_t *latest;
	bool good = true;

	qsort(ops, count, sizeof(*ops), by_end);
	latest = latest_starts(ops, count);
	for (size_t i = 0; i < count; i++)
		if (ops[i].write && ops[i].value == LINEAR_ZEROS) {
			ops[i].value = ZEROS_FROM + zeros.count;
			zeros.writes[zeros.count++] = &ops[i];
		}
	for (size_t i = 0; i < count && good; i++)
		if (!ops[i].write && ops[i].value == LINEAR_ZEROS)
			good = tie(&ops[i], &zeros,
				   overwritten_before(ops, count, latest, ops[i].start), v);
	free(latest);
	free(zeros.writes);
	return good;
}

/* ---- clusters ------------------------------------------------------------------- */

/* By value, the write of a value before its reads. */
static int by_value(const void *a, const void *b)
{
	const struct linear_op *x = a, *y = b;

	return x->value != y->value ? compare(x->value, y->value) : y->write - x->write;
}

/* ops[0 .. count) share a value. *ret_used: false for a failed write nobody saw. */
static bool make_zone(const struct linear_op *ops, size_t count, struct zone *ret, bool *ret_used,
		      struct linear_verdict *v)
{
	struct zone z = {ops[0].value, ops[0].end, ops[0].start};

	if (!ops[0].write)
		return refuse(v, "value %llx was read (from %llu to %llu) but never written",
			      (unsigned long long)z.value, (unsigned long long)ops[0].start,
			      (unsigned long long)ops[0].end);
	for (size_t i = 1; i < count; i++) {
		if (ops[i].write)
			return refuse(v, "value %llx was written twice: the checker was misused",
				      (unsigned long long)z.value);
		if (ops[i].end < ops[0].start)
			return refuse(v, "value %llx was read (until %llu) before it was written "
				      "(from %llu)", (unsigned long long)z.value,
				      (unsigned long long)ops[i].end,
				      (unsigned long long)ops[0].start);
		if (ops[i].end < z.first_end)
			z.first_end = ops[i].end;
		if (ops[i].start > z.last_start)
			z.last_start = ops[i].start;
	}
	*ret_used = count > 1 || ops[0].end != LINEAR_NEVER;
	*ret = z;
	return true;
}

static bool make_zones(const struct linear_op *ops, size_t count, struct zone *zones,
		       size_t *ret_count, struct linear_verdict *v)
{
	size_t n = 0, next;

	for (size_t i = 0; i < count && ops[i].value != LEFT_OUT; i = next) {
		bool used = false;

		for (next = i + 1; next < count && ops[next].value == ops[i].value;)
			next++;
		if (!make_zone(ops + i, next - i, &zones[n], &used, v))
			return false;
		n += used;
	}
	*ret_count = n;
	return true;
}

/* ---- zones ---------------------------------------------------------------------- */

/* Forward zones first, by their beginning. */
static int forward_first(const void *a, const void *b)
{
	const struct zone *x = a, *y = b;

	if (forward(x) != forward(y))
		return forward(y) - forward(x);
	return compare(x->first_end, y->first_end);
}

/* The forward zone that begins last before time; NULL: none does. */
static const struct zone *zone_before(const struct zone *zones, size_t forwards, uint64_t time)
{
	size_t low = 0, high = forwards;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (zones[middle].first_end < time)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? &zones[low - 1] : NULL;
}

static bool check_zones(struct zone *zones, size_t count, struct linear_verdict *v)
{
	size_t forwards = 0;

	qsort(zones, count, sizeof(*zones), forward_first);
	while (forwards < count && forward(&zones[forwards]))
		forwards++;
	for (size_t i = 1; i < forwards; i++)
		if (zones[i].first_end < zones[i - 1].last_start)
			return refuse(v, "value %llx was there from %llu to %llu and value %llx from "
				      "%llu to %llu: the sector went back and forth",
				      (unsigned long long)zones[i - 1].value,
				      (unsigned long long)zones[i - 1].first_end,
				      (unsigned long long)zones[i - 1].last_start,
				      (unsigned long long)zones[i].value,
				      (unsigned long long)zones[i].first_end,
				      (unsigned long long)zones[i].last_start);
	for (size_t i = forwards; i < count; i++) {
		const struct zone *f = zone_before(zones, forwards, zones[i].last_start);

		if (f && zones[i].first_end < f->last_start)
			return refuse(v, "value %llx came and went between %llu and %llu, while value "
				      "%llx was there from %llu to %llu: an acknowledged write was "
				      "lost, or old data came back", (unsigned long long)zones[i].value,
				      (unsigned long long)zones[i].last_start,
				      (unsigned long long)zones[i].first_end,
				      (unsigned long long)f->value, (unsigned long long)f->first_end,
				      (unsigned long long)f->last_start);
	}
	return true;
}

bool linear_check(struct linear_op *ops, size_t count, struct linear_verdict *ret)
{
	struct zone *zones = must(calloc(count + 1, sizeof(*zones)));
	size_t zone_count = 0;
	bool good;

	*ret = (struct linear_verdict){.text = ""};
	good = tell_zeros_apart(ops, count, ret);
	if (good) {
		qsort(ops, count, sizeof(*ops), by_value);
		good = make_zones(ops, count, zones, &zone_count, ret) &&
		       check_zones(zones, zone_count, ret);
	}
	free(zones);
	return good;
}
