/*
 * One thread against an exact model: every answer of the engine is compared
 * with what is possible, every error with the faults that could explain it, and
 * the map, main and the slot tables with what they may say.
 */
#ifndef MODEL_EXACT_H
#define MODEL_EXACT_H

/* Returns when settings.ops are done or settings.seconds are over; dies on a violation. */
void exact_run(void);

#endif
