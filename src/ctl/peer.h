/*
 * What remapctl takes from a daemon's answer to "status". The daemon of a stranger
 * (control_peer_is_stranger) may say anything: none of it is used as a path or as the
 * number of a process or of a file system. Used by remapctl and remapfs.
 */
#ifndef REMAPFS_CTL_PEER_H
#define REMAPFS_CTL_PEER_H

#include "remapfs/control.h"

/*
 * As control_ask_status. In a stranger's answer "pid" and "worker_pid" are those that the
 * kernel knows; "device", "mountpoint" and "image" are those of a file system that this
 * stranger mounted, or "". ret_peer may be NULL.
 */
int peer_status(const char *volume, struct control_peer *ret_peer, json_t **ret_answer,
		struct error *err);

/*
 * The parent of the worker that answered, which is its supervisor if that lives: *ret_pidfd
 * is the caller's. -ESRCH: there is none that belongs to the same user, or not to be seen.
 */
int peer_supervisor(const struct control_peer *, int *ret_pidfd);

#endif
