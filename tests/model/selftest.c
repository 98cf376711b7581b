#include "selftest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linear.h"
#include "random.h"
#include "rig.h"
#include "shadow.h"
#include "suspicion.h"

#define OPS_MAX 8
#define SIZE (64u << 10)

static unsigned failures;

static void expect(bool good, bool expected, const char *what, const char *why)
{
	printf("self-test: %-64s %s%s%s\n", what, good ? "accepted" : "refused", *why ? ": " : "",
	       why);
	if (good != expected) {
		printf("self-test: FAILED: this should have been %s\n",
		       expected ? "accepted" : "refused");
		failures++;
	}
}

/* ---- histories ------------------------------------------------------------------ */

#define W(value, start, end) {value, start, end, true}
#define R(value, start, end) {value, start, end, false}
#define NEVER LINEAR_NEVER

static const struct {
	const char *what;
	bool good;
	struct linear_op ops[OPS_MAX];
} histories[] = {
	{"one after the other", true, {W(1, 10, 20), R(1, 30, 40), W(2, 50, 60), R(2, 70, 80)}},
	{"a read during a write, new", true, {W(1, 10, 20), W(2, 30, 60), R(2, 40, 50)}},
	{"a read during a write, old", true, {W(1, 10, 20), W(2, 30, 60), R(1, 40, 50)}},
	{"old, then new, during one write", true,
	 {W(1, 10, 20), W(2, 30, 90), R(1, 40, 50), R(2, 60, 70)}},
	{"a failed write nobody saw", true, {W(1, 10, 20), W(2, 30, NEVER), R(1, 100, 110)}},
	{"a failed write that took effect", true, {W(1, 10, 20), W(2, 30, NEVER), R(2, 50, 60)}},
	{"a failed write that took effect late", true,
	 {W(1, 10, 20), W(2, 30, NEVER), R(1, 50, 60), R(2, 70, 80)}},
	{"zeros at first, and again", true,
	 {R(0, 1, 2), W(1, 10, 20), R(1, 21, 22), W(0, 30, 40), R(0, 50, 60)}},
	{"two writes at once, read in one order", true,
	 {W(1, 10, 50), W(2, 10, 50), R(1, 60, 70), R(1, 80, 90)}},
	{"a stale read", false, {W(1, 10, 20), W(2, 30, 40), R(1, 50, 60)}},
	{"an acknowledged write that was lost", false,
	 {W(1, 10, 20), R(1, 22, 24), W(2, 30, 40), R(1, 50, 60)}},
	{"new, then old, during one write", false,
	 {W(1, 10, 20), W(2, 30, 90), R(2, 40, 50), R(1, 60, 70)}},
	{"back and forth between two writes at once", false,
	 {W(1, 10, 50), W(2, 10, 50), R(1, 60, 70), R(2, 80, 90), R(1, 100, 110)}},
	{"a read before its write", false, {R(1, 10, 20), W(1, 30, 40)}},
	{"a value that nobody wrote", false, {W(1, 10, 20), R(7, 30, 40)}},
	{"zeros where data was written", false, {W(1, 10, 20), R(0, 30, 40)}},
	{"zeros of a zeroing that was overwritten", false,
	 {W(0, 10, 20), W(1, 30, 40), R(0, 50, 60)}},
	{"data that comes back after zeroing", false,
	 {W(1, 10, 20), W(0, 30, 40), R(1, 50, 60)}},
	{"a failed write seen, gone, and seen again", false,
	 {W(1, 10, 20), W(2, 30, NEVER), R(2, 50, 60), R(1, 70, 80), R(2, 90, 95)}},
};

static void check_planted(void)
{
	for (size_t i = 0; i < sizeof(histories) / sizeof(histories[0]); i++) {
		struct linear_op ops[OPS_MAX + 1] = {{.value = 0, .write = true}};
		struct linear_verdict verdict;
		size_t n = 1;
		bool good;

		for (; n <= OPS_MAX && histories[i].ops[n - 1].end; n++)
			ops[n] = histories[i].ops[n - 1];
		good = linear_check(ops, n, &verdict);
		expect(good, histories[i].good, histories[i].what, verdict.text);
	}
}

#define LONG 4000

/*
 * A history made from a true order: each request takes effect at an instant and
 * is then stretched around it, so that requests overlap.
 */
static void make_true_history(struct linear_op *ops, uint64_t *seed)
{
	uint64_t value = LINEAR_ZEROS;

	ops[0] = (struct linear_op){.value = 0, .write = true};
	for (uint64_t i = 1; i < LONG; i++) {
		uint64_t instant = 1000 + 10 * i;

		ops[i].write = random_below(seed, 2);
		if (ops[i].write)
			value = one_in(seed, 20) ? LINEAR_ZEROS : i;
		ops[i].value = value;
		ops[i].start = instant - random_below(seed, 60);
		ops[i].end = instant + random_below(seed, 60);
		if (ops[i].write && value != LINEAR_ZEROS && one_in(seed, 50))
			ops[i].end = LINEAR_NEVER;
	}
}

/* Lets one read return what had been overwritten long before. */
static bool plant(struct linear_op *ops, uint64_t *seed)
{
	uint64_t at = LONG / 2 + random_below(seed, LONG / 2);

	for (uint64_t i = at; i < LONG; i++)
		for (uint64_t old = i - 100; old > 1 && !ops[i].write; old--)
			if (ops[old].write && ops[old].value && ops[old].end != LINEAR_NEVER) {
				ops[i].value = ops[old].value;
				return true;
			}
	return false;
}

static void check_long_histories(void)
{
	static struct linear_op ops[LONG];
	unsigned accepted = 0, found = 0, planted = 0;
	struct linear_verdict verdict;

	for (uint64_t i = 0; i < 200; i++) {
		uint64_t seed = i;

		make_true_history(ops, &seed);
		accepted += linear_check(ops, LONG, &verdict);
		seed = i;
		make_true_history(ops, &seed);
		if (!plant(ops, &seed))
			continue;
		planted++;
		found += !linear_check(ops, LONG, &verdict);
	}
	printf("self-test: %u of 200 true random histories accepted, %u of %u stale reads found\n",
	       accepted, found, planted);
	failures += accepted != 200 || found != planted || planted < 190;
}

/* ---- contents ------------------------------------------------------------------- */

static uint8_t a[SIZE], b[SIZE], mixed[SIZE];

static void expect_content(struct shadow *s, const uint8_t *data, uint64_t length,
			   uint64_t offset, bool good, const char *what)
{
	uint64_t sector;

	expect(shadow_accept(s, data, length, offset, &sector), good, what, "");
}

static void check_contents(void)
{
	struct shadow *s = shadow_new(SIZE, 512);

	memset(a, 'a', sizeof(a));
	memset(b, 'b', sizeof(b));
	shadow_write(s, a, 4096, 512);
	expect_content(s, a, 4096, 512, true, "what was written");
	expect_content(s, a, 4096, 511, false, "shifted by a byte");
	expect_content(s, b, 512, 1024, false, "another's data");
	expect_content(s, mixed, 512, 1024, false, "zeros where data was written");
	shadow_write(s, b, 100, 1000);
	memset(mixed, 'a', sizeof(mixed));
	expect_content(s, mixed, 512, 1024, false, "a sector without its overlapping write");
	memset(mixed, 'b', 76);
	expect_content(s, mixed, 512, 1024, true, "a sector with it");
	shadow_write_failed(s, b, 1024, 2048);
	expect_content(s, b, 512, 2048, true, "a failed write, as if it had taken effect");
	expect_content(s, a, 512, 2048, false, "and then as if it had not");
	expect_content(s, a, 512, 2560, true, "its other sector, as if it had not");
	expect_content(s, b, 512, 2560, false, "and then as if it had");
	shadow_write_failed(s, NULL, 512, 3072);
	shadow_write(s, b, 256, 3072);
	memset(mixed, 0, 512);
	memset(mixed, 'b', 256);
	expect_content(s, mixed, 512, 3072, true, "a write over what may be zeros");
	memset(mixed + 256, 'b', 256);
	expect_content(s, mixed, 512, 3072, false, "what it can never have become");
	shadow_write(s, NULL, 512, 3072);
	expect_content(s, a, 512, 3072, false, "old data after zeroing");
	shadow_free(s);
}

/* ---- explanations --------------------------------------------------------------- */

static void check_explanations(void)
{
	struct suspicion *s = suspicion_new(100);
	struct fault write_fault = {.start = 5, .count = 1, .on = FAULT_ON_WRITE, .error = EIO};
	struct fault read_fault = {.start = 9, .count = 1, .on = FAULT_ON_READ, .error = EIO};
	struct fault slot_fault = {.spare = 1, .start = 50, .count = 1, .on = FAULT_ON_READ,
				   .error = EIO};

	expect(may_be_remapped(s, 5), false, "a remap without any fault", "");
	expect(may_be_unreadable(s, 0, 100), false, "EIO without any fault", "");
	suspect_fault(s, &write_fault);
	suspect_fault(s, &read_fault);
	expect(may_be_remapped(s, 5), true, "a remap of a sector that fails on write", "");
	expect(may_be_unreadable(s, 5, 1), false, "EIO from a sector that fails on write", "");
	expect(may_be_remapped(s, 9), false, "a remap for a read error alone", "");
	expect(may_be_unreadable(s, 9, 1), true, "EIO from a sector that fails on read", "");
	expect(may_be_unreadable(s, 10, 20), false, "EIO from its neighbours", "");
	expect(must_be_remapped(s, 5), false, "a write fault before any write", "");
	suspect_written(s, 5, 1, false);
	expect(must_be_remapped(s, 5), true, "a write that main cannot have taken", "");
	suspect_cleared(s, ON_MAIN, 0, 100);
	expect(may_be_unreadable(s, 9, 1), true, "still pending after the fault is gone", "");
	suspect_written(s, 9, 1, false);
	expect(may_be_unreadable(s, 9, 1), false, "still pending after it was written", "");
	suspect_fault(s, &slot_fault);
	expect(may_be_unreadable(s, 5, 1), true, "EIO from a slot that fails", "");
	expect(may_be_unreadable(s, 7, 1), false, "EIO from main when a slot fails", "");
	suspicion_free(s);
}

bool selftest_run(void)
{
	check_planted();
	check_long_histories();
	check_contents();
	check_explanations();
	printf("self-test: %s\n", failures ? "FAILED" : "all wrong histories were found");
	return failures == 0;
}
