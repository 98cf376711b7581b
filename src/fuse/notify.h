/*
 * Telling the service manager, as sd_notify(3) does: a datagram to the socket
 * that NOTIFY_SOCKET names. The protocol is stable and documented for others to
 * write; libsystemd would bring four libraries into memory that is locked.
 */
#ifndef FUSE_NOTIFY_H
#define FUSE_NOTIFY_H

/*
 * Assignments, one a line: "READY=1\nSTATUS=serving". The supervisor's alone to
 * call: it is the main process of the service. No-op if nobody listens; what
 * cannot be told within seconds is logged.
 */
void notify_service(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
