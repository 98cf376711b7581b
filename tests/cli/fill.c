/*
 * Gives a volume a past: rows that only a dying disk would make, for tests of
 * what shows them. Usage: fill VOLUME < LINES, each of them one of
 *
 *     remap SECTOR SECTORS SPARE SLOT [STEP TIMES]
 *     pending SECTOR SECTORS SPARE SLOT       SPARE 0: main
 *     bad SPARE SLOT SLOTS
 *     spare ID STATE                          STATE: a number of enum spare_state
 *     event KIND SECTOR SECTORS SPARE SLOT    KIND: a number of enum event_kind
 *
 * With STEP and TIMES there are more of the same, STEP sectors apart, in the
 * slots that follow. Everything is one transaction.
 */
#include "remapfs/store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int add_event(struct store *s, enum event_kind kind, uint64_t sector, uint64_t sectors,
		     uint32_t spare, uint64_t slot)
{
	const struct event event = {.kind = kind, .sector = sector, .sectors = sectors,
				    .spare = spare, .slot = slot,
				    .error = kind == EVENT_CURED ? 0 : EIO};

	return store_add_event(s, &event);
}

static int add_remaps(struct store *s, struct extent e, uint64_t step, uint64_t times)
{
	int rc = 0;

	for (uint64_t i = 0; i < times && rc == 0; i++) {
		/* Sequence 0: its spare has confirmed it, and lost the descriptor. */
		rc = store_set_extent(s, &e, EIO, 0);
		if (rc == 0)
			rc = add_event(s, EVENT_REMAPPED, e.start, e.count, e.spare, e.slot);
		e.start += step;
		e.slot += e.count;
	}
	return rc;
}

static int take_line(struct store *s, const char *line)
{
	uint64_t a, b, d, step = 0, times = 1;
	uint32_t c;
	unsigned n;

	if (sscanf(line, "remap %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu64,
		   &a, &b, &c, &d, &step, &times) >= 4)
		return add_remaps(s, (struct extent){a, b, SECTOR_REMAPPED, c, d}, step, times);
	if (sscanf(line, "pending %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu64, &a, &b, &c, &d) == 4) {
		const struct extent e = {a, b, SECTOR_PENDING, c, d};
		int rc = store_set_extent(s, &e, EIO, 0);

		return rc ? rc : add_event(s, EVENT_PENDING, a, b, c, d);
	}
	if (sscanf(line, "bad %" SCNu32 " %" SCNu64 " %" SCNu64, &c, &a, &b) == 3) {
		int rc = store_add_bad_slots(s, c, a, b, EIO);

		return rc ? rc : add_event(s, EVENT_SLOT_BAD, 0, 0, c, a);
	}
	if (sscanf(line, "spare %" SCNu32 " %u", &c, &n) == 2)
		return store_set_spare_state(s, c, n);
	if (sscanf(line, "event %u %" SCNu64 " %" SCNu64 " %" SCNu32 " %" SCNu64, &n, &a, &b, &c, &d) == 5)
		return add_event(s, n, a, b, c, d);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	struct error err = {0};
	struct store *s;
	char line[200];
	int rc;

	if (argc != 2)
		return 2;
	if (store_open(argv[1], STORE_WRITE, &s, &err) < 0) {
		fprintf(stderr, "fill: %s\n", err.text);
		return 1;
	}
	rc = store_begin(s);
	while (rc == 0 && fgets(line, sizeof(line), stdin))
		rc = take_line(s, line);
	if (rc)
		fprintf(stderr, "fill: %s: %s", strerror(-rc), line);
	rc = rc ? rc : store_commit(s);
	store_close(s);
	return rc ? 1 : 0;
}
