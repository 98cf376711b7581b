/*
 * Whether a history of one sector is linearizable: whether each request can be
 * given one instant between its call and its return so that every read returns
 * what the last write before it wrote.
 *
 * With values that are written once only, this can be decided exactly and fast
 * (Gibbons and Korach, "Testing shared memories", 1997). A value and the reads
 * that returned it form a cluster. From the first end to the last start in it
 * is its zone. Where the first end comes before the last start (a forward
 * zone), the sector held this value from the one to the other; otherwise (a
 * backward zone) one instant in between is enough. The history is linearizable
 * if and only if every value that was read had been written and no read ended
 * before its write began, no two forward zones overlap, and no backward zone
 * lies within a forward one.
 *
 * Zeros are written more than once. A read of zeros belongs to a write of zeros
 * that began before it ended and was not surely overwritten before it began.
 * Where several qualify the read is left out, which can hide a violation but
 * never invents one; reads left out are counted.
 */
#ifndef MODEL_LINEAR_H
#define MODEL_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINEAR_ZEROS UINT64_C(0)      /* the value that is no unique one */
#define LINEAR_NEVER UINT64_C(0x7fffffffffffffff)

struct linear_op {
	uint64_t value;	     /* written, or returned by a read */
	uint64_t start, end; /* ns; a write that failed may still take effect: LINEAR_NEVER */
	bool write;
};

struct linear_verdict {
	char text[300]; /* why not; "" when it is linearizable */
	uint64_t ambiguous_reads;
};

/*
 * Checks the history and puts it into another order. Reads that failed must not
 * be in it; the initial content is a write that ended at 0.
 */
bool linear_check(struct linear_op *ops, size_t count, struct linear_verdict *ret);

#endif
