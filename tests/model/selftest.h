/* The test of the test: planted wrong histories, each of which must be found. */
#ifndef MODEL_SELFTEST_H
#define MODEL_SELFTEST_H

#include <stdbool.h>

/* Prints a line for each; false when the checkers let one pass or refuse a good one. */
bool selftest_run(void);

#endif
