#include "fuse/answer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fuse/image.h"

static json_t *status(const struct answering *a)
{
	struct volume_status s;
	char image[4200];

	volume_status(a->volume, &s);
	snprintf(image, sizeof(image), "%s/%s", a->options->mountpoint, IMAGE_NAME);
	return json_pack("{s:b, s:i, s:i, s:s, s:s, s:s, s:b, s:b,"
			 " s:s, s:b, s:b, s:b, s:b, s:b,"
			 " s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "ok", 1, "pid", getppid() == a->supervisor ? (int)a->supervisor : (int)getpid(), "worker_pid", (int)getpid(),
			 "version", REMAPFS_VERSION, "mountpoint", a->options->mountpoint, "image", image,
			 "read_only", a->options->read_only, "no_remap", a->options->no_remap,
			 "trouble", s.trouble, "main_failed", s.main_failed,
			 "flush_failed", s.flush_failed, "commit_failed", s.commit_failed,
			 "spares_full", s.spares_full,
			 "main_direct", s.main_direct,
			 "faults", (json_int_t)s.faults,
			 "remapped_sectors", (json_int_t)s.remapped_sectors,
			 "pending_sectors", (json_int_t)s.pending_sectors,
			 "free_slots", (json_int_t)s.free_slots, "reads", (json_int_t)s.reads,
			 "writes", (json_int_t)s.writes, "errors", (json_int_t)s.errors,
			 "commits", (json_int_t)s.commits, "map_bytes", (json_int_t)s.map_bytes);
}

static json_t *reload_faults(const struct answering *a)
{
	int rc = volume_reload_faults(a->volume);

	if (rc == 0)
		return json_pack("{s:b}", "ok", 1);
	return json_pack("{s:b, s:s+}", "ok", 0, "error",
			 "the daemon cannot read the faults: ", errno_name(-rc));
}

static json_t *look(void *context, const char *command)
{
	return strcmp(command, "status") == 0 ? status(context) : NULL;
}

static json_t *act(void *context, const char *command, const json_t *request)
{
	(void)request;
	return strcmp(command, "reload-faults") == 0 ? reload_faults(context) : NULL;
}

struct control_handler answers(struct answering *answering)
{
	return (struct control_handler){.look = look, .act = act, .context = answering};
}
