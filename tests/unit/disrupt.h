/*
 * Failing system calls: a test program that includes disrupt.c has its own
 * pread, pwrite, fsync and fdatasync in front of those of the C library, also
 * for the SQLite library, and can make them fail for files of its choice.
 */
#ifndef TESTS_DISRUPT_H
#define TESTS_DISRUPT_H

enum disrupt_calls { DISRUPT_READ = 1, DISRUPT_WRITE = 2, DISRUPT_SYNC = 4, DISRUPT_ALL = 7 };

struct disruption {
	const char *file; /* "/name" that the path ends in; "": any in the scratch directory */
	unsigned calls;
	int error;
	unsigned after; /* so many matching calls still work */
	unsigned times; /* and so many fail then; 0: all */
};

/* One at a time; replaces the one before. Affects all threads. */
void disrupt(const struct disruption *);
/* Calls work again. Returns how many have been made to fail. */
unsigned disrupt_end(void);

#endif
