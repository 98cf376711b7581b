#include "ctl/choose.h"

#include "remapfs/cleanup.h"

#include <inttypes.h>

uint64_t count_sectors(const struct sector_range *ranges, size_t count)
{
	uint64_t sectors = 0;

	for (size_t i = 0; i < count; i++)
		sectors += ranges[i].count;
	return sectors;
}

/* ---- drawing ---------------------------------------------------------------- */

/* splitmix64: small, and the same everywhere, so that a seed can be passed on. */
static uint64_t next_random(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Below limit, each number as likely as any other. */
static uint64_t random_below(uint64_t *seed, uint64_t limit)
{
	uint64_t surplus = -limit % limit, number;

	do
		number = next_random(seed);
	while (number < surplus);
	return number % limit;
}

/*
 * Fills ranges, which has room for `want`, with that many distinct sectors:
 * doubles are merged away and drawn anew. At most half of all sectors are
 * wanted, so each round at least halves, on average, what is missing.
 */
static size_t draw_distinct(struct sector_range *ranges, uint64_t want, sector_t limit,
			    uint64_t *seed)
{
	size_t count = 0;
	uint64_t missing;

	while ((missing = want - count_sectors(ranges, count)) > 0) {
		while (missing--)
			ranges[count++] = (struct sector_range){random_below(seed, limit), 1};
		count = merge_ranges(ranges, count);
	}
	return count;
}

/* The gaps between count ranges, of which there are at most count + 1. */
static size_t invert(const struct sector_range *ranges, size_t count, sector_t limit,
		     struct sector_range *gaps)
{
	sector_t at = 0;
	size_t found = 0;

	for (size_t i = 0; i <= count; i++) {
		sector_t next = i < count ? ranges[i].start : limit;

		if (next > at)
			gaps[found++] = (struct sector_range){at, next - at};
		if (i < count)
			at = next + ranges[i].count;
	}
	return found;
}

static int draw(const struct choice *choice, uint64_t want, sector_t limit,
		struct sector_range **ret, size_t *ret_count, struct error *err)
{
	bool most = want > limit / 2;
	uint64_t draws = most ? limit - want : want, seed = choice->seed;
	CLEANUP_FREE struct sector_range *drawn = NULL, *gaps = NULL;
	size_t count;

	if (draws > CHOICE_ROWS_MAX)
		return error_set(err, ERANGE,
				 "%" PRIu64 " random sectors are too many; draw at most %u", want,
				 CHOICE_ROWS_MAX);
	drawn = calloc(draws + 1, sizeof(*drawn));
	gaps = calloc(draws + 1, sizeof(*gaps));
	if (!drawn || !gaps)
		return error_set(err, ENOMEM, "not enough memory; draw fewer sectors");
	count = draw_distinct(drawn, draws, limit, &seed);
	*ret_count = most ? invert(drawn, count, limit, gaps) : count;
	*ret = most ? STEAL(gaps) : STEAL(drawn);
	return 0;
}

static uint64_t percent_of(double percent, sector_t limit)
{
	uint64_t want = (uint64_t)(percent / 100 * (double)limit + 0.5);

	if (want > limit)
		want = limit;
	return want ? want : 1;
}

/* ---- the contract ----------------------------------------------------------- */

int choose_sectors(const struct choice *choice, sector_t limit, struct sector_range **ret,
		   size_t *ret_count, struct error *err)
{
	if (choice->list)
		return parse_sectors(choice->list, limit, ret, ret_count, err);
	if (choice->file)
		return parse_sector_file(choice->file, limit, ret, ret_count, err);
	if (choice->random > limit)
		return error_set(err, ERANGE,
				 "%" PRIu64 " are more sectors than there are; draw at most "
				 "%" PRIu64,
				 choice->random, limit);
	return draw(choice, choice->random ? choice->random : percent_of(choice->percent, limit),
		    limit, ret, ret_count, err);
}
