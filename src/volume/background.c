#include "volume/background.h"

#include <signal.h>
#include <time.h>

#include "remapfs/cleanup.h"
#include "volume/clock.h"

void background_init(struct background *b)
{
	pthread_mutex_init(&b->lock, NULL);
	monotonic_cond_init(&b->wake);
}

void background_destroy(struct background *b)
{
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->wake);
}

int background_start(struct background *b, void *(*work)(void *context), void *context)
{
	HOLD_LOCK(&b->lock);
	sigset_t all, before;
	int rc;

	if (b->started)
		return 0;
	/* Signals are for the threads that expect them. */
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* a filter of system calls sends it, to who made the call */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&b->thread, NULL, work, context);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	b->started = rc == 0;
	return -rc;
}

void background_stop(struct background *b)
{
	bool started;

	pthread_mutex_lock(&b->lock);
	started = b->started;
	b->stopping = true;
	pthread_cond_signal(&b->wake);
	pthread_mutex_unlock(&b->lock);
	if (started)
		pthread_join(b->thread, NULL);
	b->started = b->stopping = false;
}

void background_wake(struct background *b)
{
	HOLD_LOCK(&b->lock);

	b->woken = true;
	pthread_cond_signal(&b->wake);
}

bool background_pause(struct background *b, unsigned ms)
{
	HOLD_LOCK(&b->lock);
	struct timespec until = in_ms(ms);
	int rc = 0;

	while (!b->stopping && !b->woken && rc == 0 && ms > 0)
		rc = pthread_cond_timedwait(&b->wake, &b->lock, &until);
	b->woken = false;
	return !b->stopping;
}
