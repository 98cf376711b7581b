/* What the daemon answers on the control socket: see remapfs/control.h. */
#ifndef FUSE_ANSWER_H
#define FUSE_ANSWER_H

#include <jansson.h>
#include <sys/types.h>

#include "fuse/options.h"
#include "remapfs/volume.h"

struct answering {
	struct volume *volume;
	const struct options *options;
	pid_t supervisor;
};

/* context is a struct answering; NULL: the word is unknown. */
json_t *answer(void *context, const char *word);

#endif
