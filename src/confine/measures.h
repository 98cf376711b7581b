/* What the measures share. Internal. */
#ifndef CONFINE_MEASURES_H
#define CONFINE_MEASURES_H

#include <stddef.h>

/* Adds "name (EPERM)" to what was refused when rc is negative. */
void measure_note(char *refused, size_t size, const char *name, int rc);

/* 0 or a negative errno. See confine.c for what is kept. */
int measure_capabilities(const int *kept, size_t count);

/* 0 or a negative errno; the process forgoes new privileges first. */
int measure_worker_filter(void (*told)(long number), int up);
int measure_supervisor_filter(void);

#endif
