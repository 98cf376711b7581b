/* The command line of remapfs. */
#ifndef FUSE_OPTIONS_H
#define FUSE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "remapfs/error.h"

/* Exit codes, as of mount(8). */
enum { EXIT_DONE = 0, EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_INTERRUPTED = 8, EXIT_MOUNT = 32,
       /* Of a worker: another one shall go on; the mount is gone, but its volume did not
	* close in order. */
       EXIT_HANDOVER = 75, EXIT_UNCLEAN = 76 };

/* How long another process that holds the volume is waited for. */
#define LOCK_WAIT_MS 10000

struct options {
	const char *volume, *mountpoint;
	bool helper; /* called as mount.remapfs, by mount(8) */
	bool sloppy; /* unknown mount options are left out */
	bool fake;   /* look at everything, but do not mount */
	bool foreground, debug, help, version;
	bool read_only, no_remap;
	bool unconfined;
	bool allow_other, allow_root;
	unsigned threads;      /* 1 to 256 */
	unsigned isolation_ms; /* 0: the volume's default */
	char mount[512];       /* what goes to the kernel as it is, ",a,b" */
	char list[2048];       /* what of -o is ours, as it was given */
	bool probe; /* with worker: see whether it could be one, and end */
	const char *worker;    /* started by a supervisor: see supervision.h; or NULL */
};

/*
 * As mount.SOMETHING it takes the command line of mount helpers, see mount(8).
 *
 * 0, or -EINVAL with one line in err. help and version are set without the
 * rest being looked at. The strings stay those of argv.
 */
int options_parse(int argc, char **argv, struct options *ret, struct error *err);
void options_help(void);

/* Adds to the list that workers are started with. -EINVAL: too long. */
int options_add(struct options *, const char *list, struct error *err);

#endif
