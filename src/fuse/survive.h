/*
 * Staying alive under memory pressure: dirty pages of our own clients can be
 * written only through us, so we must not wait for memory that they hold.
 */
#ifndef FUSE_SURVIVE_H
#define FUSE_SURVIVE_H

/* Takes what the kernel grants, and logs in one line what was refused. */
void survive(void);

#endif
