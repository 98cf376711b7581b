/*
 * What people type: sizes, numbers and sector lists. All functions return 0,
 * or -EINVAL / -ERANGE with the reason in err, and accept nothing but the
 * whole string. Thread-safe.
 */
#ifndef REMAPFS_PARSE_H
#define REMAPFS_PARSE_H

#include "remapfs/error.h"
#include "remapfs/extent.h"

#include <stddef.h>

/*
 * Bytes, written as losetup(8) reads them: a number with nothing, or K M G T P
 * with an optional iB (powers of 1024), or KB MB GB TB PB (powers of 1000).
 * At most INT64_MAX.
 */
int parse_size(const char *text, uint64_t *ret_bytes, struct error *err);

/* A decimal number in [min, max]. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret, struct error *err);

/* A percentage in (0, 100], with decimals. */
int parse_percent(const char *text, double *ret, struct error *err);

struct sector_range {
	sector_t start;
	uint64_t count;
};

/*
 * "0,2,5000-5004": sorted, overlaps and neighbours merged. Every sector must
 * be below limit. The caller frees *ret_ranges.
 */
int parse_sectors(const char *text, sector_t limit, struct sector_range **ret_ranges,
		  size_t *ret_count, struct error *err);

/*
 * The same from a file: one sector or range a line (or several with commas);
 * blank lines and what follows a '#' are skipped. "-" reads standard input.
 */
int parse_sector_file(const char *path, sector_t limit, struct sector_range **ret_ranges,
		      size_t *ret_count, struct error *err);

/* Sorts and merges overlaps and neighbours in place; returns the new count. */
size_t merge_ranges(struct sector_range *ranges, size_t count);

/* "50 MiB", "512 B": for messages. buf holds at least 32 bytes; returns buf. */
char *format_size(char *buf, uint64_t bytes);

#endif
