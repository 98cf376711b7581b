/* What lies on the disk, looked at past the engine. Each dies on a violation. */
#ifndef MODEL_AUDIT_H
#define MODEL_AUDIT_H

#include "rig.h"
#include "shadow.h"
#include "suspicion.h"

/*
 * The volume is closed: for each remapped sector, its slot says so in its
 * descriptor, and no other slot says so in a later one (contract 10).
 */
void audit_slots(struct rig *);

/* The volume is open and idle: no slot is lost between database and memory. */
void audit_counts(struct rig *);

/*
 * The volume is closed: what is remapped or pending has a reason to be, what
 * must be remapped is, and the good sectors of main hold the image (contract 3;
 * "a healthy main is byte-identical").
 */
void audit_map(struct rig *, struct shadow *, const struct suspicion *);

#endif
