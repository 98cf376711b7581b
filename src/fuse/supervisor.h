/*
 * The process that mounts and keeps the mount: see supervision.h.
 *
 * SIGTERM, SIGINT, SIGHUP: unmounts; what is still open is served to its end,
 * or until a second such signal. A mount that lies under another one cannot be
 * unmounted: its worker ends in order at once, its users get ENOTCONN. SIGUSR2: the worker hands over to a new one,
 * started from the file that this program was started from (an upgrade). That one is
 * asked first whether it can; if it cannot, or its worker ends before it serves, the
 * program that served before goes on. Otherwise workers are started from the program that
 * served last, as it was when it was opened, whatever has become of its file.
 */
#ifndef FUSE_SUPERVISOR_H
#define FUSE_SUPERVISOR_H

#include "fuse/options.h"

/*
 * Mounts and supervises until the mount is gone. volume and mountpoint of the
 * options are absolute, volume_fd holds the lock on the volume. Calls ready()
 * once disk.img can be opened. Returns an exit code; what went wrong has been
 * told, by the worker or here.
 */
int supervisor_run(const struct options *options, int volume_fd, void (*ready)(void));

#endif
