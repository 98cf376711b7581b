/*
 * A thread that works beside the requests and can be told to stop. Its owner
 * starts and stops it, one at a time; it pauses between its steps.
 */
#ifndef VOLUME_BACKGROUND_H
#define VOLUME_BACKGROUND_H

#include <pthread.h>
#include <stdbool.h>

struct background {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool started, stopping, woken;
	pthread_t thread;
};

void background_init(struct background *);
void background_destroy(struct background *);

/*
 * Does nothing while it runs. work(context) is over when it returns; it is to
 * return soon once background_pause says false. -EAGAIN: no thread.
 */
int background_start(struct background *, void *(*work)(void *context), void *context);
/* Waits for its end. */
void background_stop(struct background *);

/* Ends its pause, or the next one. */
void background_wake(struct background *);

/*
 * For the work itself: waits so many milliseconds, or until it is woken. False:
 * it is time to stop.
 */
bool background_pause(struct background *, unsigned ms);

#endif
