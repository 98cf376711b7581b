/*
 * The control socket: how remapctl talks to a running remapfs without going
 * through FUSE, whose threads may all be stuck on a dying disk.
 *
 * A Unix stream socket at "<volume>.sock", mode 0600. The client sends one JSON
 * object on one line, {"command": "…", …}; the server answers one and closes:
 *
 *   status         {"ok": true, "pid": …, "mountpoint": …, …}
 *   reload-faults  {"ok": true} once the faults of the database are in force
 *   may-add-spare  {"ok": true} unless volume_may_add_spare refuses
 *   add-spare      with id, uuid, path, offset, length: see volume_add_opened_spare; the
 *                  client passes what it opened path as
 *   retire-spare   with id, lost: see volume_retire_spare
 *   mark, unmap    with sectors, [[start, count], …]: {"ok": true, "next": …,
 *                  "moved": …, "lost": …, "left": …}, see struct
 *                  volume_progress, and "stopped": "…" when it failed on the way
 *   scrub          with action: start, pause, resume; and rate, below 0: the default, or
 *                  that which it has: see volume_scrub_start
 *
 * and {"ok": false, "error": "…"} otherwise. While something is carried out, blanks
 * come before the answer.
 */
#ifndef REMAPFS_CONTROL_H
#define REMAPFS_CONTROL_H

#include "remapfs/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* The longest request, bytes, without its newline. */
#define CONTROL_REQUEST_MAX 65536u

/*
 * The bound of every command: how long a client waits for a daemon that shows no sign of
 * life, and a server for a client that stalls.
 */
#define CONTROL_WAIT_MS 5000
/* So often a server shows one to a client for whom it carries something out. */
#define CONTROL_BEAT_MS 1000
/* How long a client waits for that. */
#define CONTROL_ACT_MS 60000

struct control_server;

/* Who answered, as the kernel knows it: the process that listens on the socket. */
struct control_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* 0: out of the sight of this process */
	int pidfd; /* the same process, even if the number has another one by now; or -1 */
};

/*
 * What answers. Both return a new JSON object, or NULL for a command that they
 * do not know.
 */
struct control_handler {
	/* At once: nobody else is served meanwhile. Without a command that acts. */
	json_t *(*look)(void *context, const char *command);
	/*
	 * May take its time: on a thread of its own, one request after the other. It
	 * is carried out even when its client has gone. "descriptor" in request is the
	 * one that the client has passed, which stays the server's, or missing.
	 */
	json_t *(*act)(void *context, const char *command, json_t *request);
	void *context;
};

/*
 * The folder of the control socket of a volume that is on a read-only file system:
 * /run/remapfs, of a user $XDG_RUNTIME_DIR/remapfs. NULL: the socket is beside the
 * volume. The caller makes it, and frees the name.
 */
char *control_folder(const char *volume_path);

/*
 * Makes what a server of volume_path listens with: control_start needs neither socket(2)
 * nor connect(2) then. Where only the name is taken, *ret is set as well as the error
 * returned, for who may wait until it is free; to be stopped in any case.
 */
int control_prepare(const char *volume_path, struct control_server **ret, struct error *err);
/*
 * Listens beside the volume, replacing a socket that nobody listens on, and
 * serves requests from threads of its own. A client that stalls is dropped
 * after CONTROL_WAIT_MS and delays nobody's I/O. No-op if it does already.
 */
int control_start(struct control_server *, const struct control_handler *, struct error *err);
/* Both. */
int control_serve(const char *volume_path, const struct control_handler *,
		  struct control_server **ret, struct error *err);
/* Waits for what is being carried out, and removes the socket. NULL is allowed. */
void control_stop(struct control_server *);

/*
 * Asks the daemon of a volume. 0: *ret_answer is a new reference; -ENOENT or
 * -ECONNREFUSED: no daemon runs; -EACCES; -ETIMEDOUT: none within
 * CONTROL_WAIT_MS, or its process is stopped, which is found out within a second;
 * -EPROTO: not an answer; -EAGAIN: the next worker does not serve yet; -EREMOTEIO: the
 * daemon refused (err says why).
 */
int control_ask(const char *volume_path, const char *command, json_t **ret_answer,
		struct error *err);
/*
 * The same of "status", and who answered; the caller releases ret_peer. After a failure
 * there is nothing to release.
 */
int control_ask_status(const char *volume_path, struct control_peer *ret_peer, json_t **ret_answer,
		       struct error *err);
void control_peer_release(struct control_peer *);
/* Whether it is neither root nor this user: then it may say whatever it likes. */
bool control_peer_is_stranger(const struct control_peer *);

/*
 * The same with a request of more than a command, which stays the caller's, and
 * another wait, as long as the daemon shows that it is alive: see CONTROL_WAIT_MS.
 * -ETIMEDOUT: it may yet be carried out. -EMSGSIZE: the request
 * is longer than CONTROL_REQUEST_MAX.
 */
int control_request(const char *volume_path, const json_t *request, unsigned wait_ms,
		    json_t **ret_answer, struct error *err);
/*
 * The same, passing a descriptor, which stays the caller's as well. -EACCES: the daemon is
 * a stranger's, which gets none.
 */
int control_request_with(const char *volume_path, const json_t *request, int descriptor,
			 unsigned wait_ms, json_t **ret_answer, struct error *err);

#endif
