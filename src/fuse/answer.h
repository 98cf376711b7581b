/* What the daemon answers on the control socket: see remapfs/control.h. */
#ifndef FUSE_ANSWER_H
#define FUSE_ANSWER_H

#include <stdint.h>
#include <sys/types.h>

#include "fuse/options.h"
#include "remapfs/control.h"
#include "remapfs/volume.h"

struct answering {
	struct volume *volume;
	const struct options *options;
	pid_t supervisor;
	uint32_t worker_deaths; /* since the mount */
};

/* The context of the handler is *answering. */
struct control_handler answers(struct answering *answering);

#endif
