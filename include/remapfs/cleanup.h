/* Scope-bound cleanup: what a scope opens, its end closes, on every path out. */
#ifndef REMAPFS_CLEANUP_H
#define REMAPFS_CLEANUP_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	int kept = errno;

	if (*fd >= 0)
		close(*fd);
	errno = kept;
}

static inline void cleanup_unlock(pthread_mutex_t **lock)
{
	if (*lock)
		pthread_mutex_unlock(*lock);
}

static inline pthread_mutex_t *lock_and_pass(pthread_mutex_t *lock)
{
	pthread_mutex_lock(lock);
	return lock;
}

#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
#define CLEANUP_CLOSE __attribute__((cleanup(cleanup_close)))

/* Holds lock until the end of the scope. */
#define HOLD_LOCK(lock)                                                                     \
	__attribute__((cleanup(cleanup_unlock), unused)) pthread_mutex_t *held_lock_ =      \
		lock_and_pass(lock)

/* Hands a pointer over and forgets it, so that its cleanup does nothing. */
#define STEAL(p)                          \
	__extension__({                   \
		__typeof__(p) t_ = (p);   \
		(p) = NULL;               \
		t_;                       \
	})

#endif
