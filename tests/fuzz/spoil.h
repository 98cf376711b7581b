/*
 * The content of the box's database, as somebody with sqlite3 and time changes it: its
 * rules were switched off, and the sum of the map is right.
 */
#ifndef FUZZ_SPOIL_H
#define FUZZ_SPOIL_H

#include "fuzz.h"

void spoil(struct input *);

#endif
