/*
 * Going to the background: the process that was started waits until the child
 * says that the mount can be used, and ends with the code it was given.
 */
#ifndef FUSE_DAEMON_H
#define FUSE_DAEMON_H

/*
 * Forks. Returns in the child, which must end up in daemon_ready or exit; the
 * parent does not return. -errno: it could not fork.
 */
int daemon_begin(void);

/*
 * Lets the parent end with 0, and leaves terminal and folder: from now on messages go to
 * syslog. No-op if not begun.
 */
void daemon_ready(void);

#endif
