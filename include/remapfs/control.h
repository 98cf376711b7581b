/*
 * The control socket: how remapctl talks to a running remapfs without going
 * through FUSE, whose threads may all be stuck on a dying disk.
 *
 * A Unix stream socket at "<volume>.sock", mode 0600. The client sends one
 * word and a newline; the server answers one JSON object and closes:
 *
 *   status         {"ok": true, "pid": …, "mountpoint": …, …}
 *   reload-faults  {"ok": true} once the faults of the database are in force
 *
 * and {"ok": false, "error": "…"} otherwise.
 */
#ifndef REMAPFS_CONTROL_H
#define REMAPFS_CONTROL_H

#include "remapfs/error.h"

#include <jansson.h>

struct control_server;

/*
 * Listens beside volume_path, replacing a socket that nobody listens on, and
 * serves requests from a thread of its own: answer(context, word) returns a
 * new JSON object, or NULL for an unknown word. A client that stalls is
 * dropped after 5 s and delays nobody's I/O.
 */
int control_serve(const char *volume_path, json_t *(*answer)(void *context, const char *word),
		  void *context, struct control_server **ret, struct error *err);
/* Stops the thread, removes the socket. NULL is allowed. */
void control_stop(struct control_server *);

/*
 * Asks the daemon of a volume. 0: *ret_answer is a new reference; -ENOENT or
 * -ECONNREFUSED: no daemon runs; -EACCES; -ETIMEDOUT: none within 5 s;
 * -EPROTO: not an answer; -EREMOTEIO: the daemon refused (err says why).
 */
int control_ask(const char *volume_path, const char *word, json_t **ret_answer,
		struct error *err);

#endif
