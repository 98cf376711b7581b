/* What remapctl doctor looks at, each as one finding with its remedy. */
#ifndef REMAPFS_CTL_DOCTOR_H
#define REMAPFS_CTL_DOCTOR_H

#include "ctl/status.h"

/* In the order of gravity. */
enum doctor_result {
	DOCTOR_PASS,
	DOCTOR_NOTE, /* cannot be told, or is only to be known */
	DOCTOR_WARN,
	DOCTOR_FAIL,
};

struct doctor;

/*
 * Adds a finding. format makes "what is; what to do": the remedy is what
 * follows the last "; ". A finding that passes needs none.
 */
void doctor_find(struct doctor *, enum doctor_result, const char *check, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void doctor_system(struct doctor *);                        /* doctor_system.c */
void doctor_places(struct doctor *, const struct status *); /* doctor_places.c */
void doctor_spares(struct doctor *, const struct status *); /* doctor_spares.c */

#endif
