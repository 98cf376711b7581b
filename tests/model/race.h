/*
 * Many threads on few sectors, with faults coming and going: every request and
 * its times are recorded, and the history of each sector is then checked for
 * linearizability (linear.h).
 */
#ifndef MODEL_RACE_H
#define MODEL_RACE_H

/* Returns when settings.ops are done or settings.seconds are over; dies on a violation. */
void race_run(void);

#endif
