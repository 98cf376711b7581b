/*
 * Staying alive under memory pressure: dirty pages of our own clients can be
 * written only through us, so we must not wait for memory that they hold.
 */
#ifndef FUSE_SURVIVE_H
#define FUSE_SURVIVE_H

#include <stddef.h>

/*
 * Takes what the kernel grants; refused gets the names and errors of the rest,
 * or "".
 */
void survive(char *refused, size_t size);

#endif
