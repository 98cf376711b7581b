#include "trace.h"

#include <stddef.h>
#include <stdio.h>

#define KEPT 65536
#define SHOWN 24

static struct trace_entry ring[KEPT];
static uint64_t added;

void trace_forget(void)
{
	added = 0;
}

void trace_add(const struct trace_entry *e)
{
	ring[added++ % KEPT] = *e;
}

static void print(const struct trace_entry *e)
{
	static const char *const names[TRACE_KINDS] = {
		[TRACE_READ] = "read",	 [TRACE_WRITE] = "write", [TRACE_ZERO] = "zero",
		[TRACE_DISCARD] = "discard", [TRACE_FLUSH] = "flush", [TRACE_FAULT] = "fault",
		[TRACE_CLEAR] = "clear", [TRACE_RESTART] = "restart",
	};

	fprintf(stderr, "  op %llu: %s sectors [%llu, %llu) = %d %s\n", (unsigned long long)e->op,
		names[e->kind], (unsigned long long)e->start, (unsigned long long)e->end, e->result,
		e->note);
}

void trace_print(uint64_t sector)
{
	const struct trace_entry *shown[SHOWN];
	uint64_t first = added > KEPT ? added - KEPT : 0;
	size_t n = 0;

	for (uint64_t i = added; i > first && n < SHOWN; i--) {
		const struct trace_entry *e = &ring[(i - 1) % KEPT];

		if (e->end == 0 || (e->start <= sector && sector < e->end))
			shown[n++] = e;
	}
	fprintf(stderr, "model: the last operations on sector %llu:\n", (unsigned long long)sector);
	while (n > 0)
		print(shown[--n]);
}
