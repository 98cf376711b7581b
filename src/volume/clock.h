/* Time that passes, whatever the date is set to. Thread-safe. */
#ifndef VOLUME_CLOCK_H
#define VOLUME_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds of a clock that only goes forward. */
int64_t now_ms(void);

/* Then, for pthread_cond_timedwait on what monotonic_cond_init made. */
struct timespec in_ms(unsigned ms);
void monotonic_cond_init(pthread_cond_t *);

#endif
