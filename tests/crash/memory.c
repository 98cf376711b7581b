#include "memory.h"

#include <errno.h>
#include <sqlite3.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "crash.h"

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
int __real_posix_memalign(void **, size_t, size_t);
char *__real_strdup(const char *);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
int __wrap_posix_memalign(void **, size_t, size_t);
char *__wrap_strdup(const char *);

static uint64_t left; /* allocations until one fails; 0: none will */
static unsigned spared = 1;
static bool failed;

static bool fails(void)
{
	if (left == 0 || spared || --left)
		return false;
	failed = true;
	return true;
}

void memory_fail_at(uint64_t nth)
{
	left = nth;
	failed = false;
}

bool memory_failed(void)
{
	return failed;
}

void memory_spare(bool spare)
{
	spared += spare ? 1 : -1u;
}

/* ---- the engine's ----------------------------------------------------------------- */

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
	return fails() ? ENOMEM : __real_posix_memalign(ret, alignment, size);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

/* ---- SQLite's --------------------------------------------------------------------- */

static sqlite3_mem_methods plain;

static void *sqlite_malloc(int size)
{
	return fails() ? NULL : plain.xMalloc(size);
}

static void *sqlite_realloc(void *p, int size)
{
	return fails() ? NULL : plain.xRealloc(p, size);
}

void memory_init(void)
{
	sqlite3_mem_methods counting;

	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &plain) != SQLITE_OK)
		give_up("SQLite does not tell how it allocates");
	counting = plain;
	counting.xMalloc = sqlite_malloc;
	counting.xRealloc = sqlite_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &counting) != SQLITE_OK)
		give_up("SQLite does not take another allocator");
}
