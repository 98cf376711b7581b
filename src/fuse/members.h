/*
 * Main and spares, which the supervisor holds and its workers inherit: what a worker
 * says of a spare that joins or has left. One message each way, on a socket that both
 * have. The supervisor believes nothing of it: see volume_hold_add.
 */
#ifndef FUSE_MEMBERS_H
#define FUSE_MEMBERS_H

#include "fuse/supervision.h"

/* A socket for one worker. 0: fds[0] is the supervisor's, fds[1] the worker's; or -errno. */
int members_socket(int fds[2]);

/* Answers one message, if there is one. false: the worker has closed its end. */
bool members_serve(int fd, struct volume_hold *);

/* As volume_members has them; the context is the struct inheritance of the worker. */
int members_joined(void *context, const struct store_spare *, int fd, struct error *err);
void members_left(void *context, spare_id_t);

#endif
