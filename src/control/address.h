/*
 * Where the control socket of a volume is, and how to reach it however long
 * its path: sun_path holds 108 bytes, a path 4096.
 */
#ifndef REMAPFS_CONTROL_ADDRESS_H
#define REMAPFS_CONTROL_ADDRESS_H

#include "remapfs/error.h"

#include <limits.h>
#include <stdint.h>

struct control_address {
	int directory;           /* O_PATH; -1: none */
	char name[NAME_MAX + 1]; /* of the socket in it */
};

/*
 * Symbolic links in volume_path are followed here and nowhere later, so that
 * every name of a volume leads to one socket. The caller releases *ret.
 * -ENOENT: there is no such folder, -ENAMETOOLONG: no name is left for the
 * socket, -EACCES. A volume on a read-only file system has its socket in
 * control_folder.
 */
int control_address_find(const char *volume_path, struct control_address *ret, struct error *err);
void control_address_release(struct control_address *);

/*
 * A connected, non-blocking socket, or -ENOENT (no socket), -ECONNREFUSED
 * (nobody listens), -ENOTSOCK (something else has its name), -ETIMEDOUT (the
 * listener accepts nobody until deadline), -EACCES.
 */
int control_connect(const struct control_address *, int64_t deadline);

/* Milliseconds of a clock that nobody sets; and what is left until deadline, or 0. */
int64_t control_now(void);
int control_left(int64_t deadline);

#endif
