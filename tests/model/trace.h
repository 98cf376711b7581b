/* The last operations, to be shown when one of them turns out to be wrong. */
#ifndef MODEL_TRACE_H
#define MODEL_TRACE_H

#include <stdint.h>

enum trace_kind {
	TRACE_READ,
	TRACE_WRITE,
	TRACE_ZERO,
	TRACE_DISCARD,
	TRACE_FLUSH,
	TRACE_FAULT,
	TRACE_CLEAR,
	TRACE_RESTART,
	TRACE_KINDS,
};

struct trace_entry {
	uint64_t op;
	enum trace_kind kind;
	uint64_t start, end; /* sectors; everything where end is 0 */
	int result;
	char note[48];
};

void trace_forget(void);
void trace_add(const struct trace_entry *);
/* Prints the last entries that touch the sector to stderr. */
void trace_print(uint64_t sector);

#endif
