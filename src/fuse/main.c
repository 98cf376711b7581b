/*
 * remapfs: mounts a volume.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "ctl/peer.h"
#include "ctl/remains.h"
#include "fuse/daemon.h"
#include "fuse/notify.h"
#include "fuse/options.h"
#include "fuse/session.h"
#include "fuse/supervisor.h"
#include "fuse/worker.h"
#include "remapfs/cleanup.h"
#include "remapfs/control.h"
#include "remapfs/log.h"
#include "remapfs/store.h"
#include "remapfs/volume.h"

struct program {
	struct options options;
	char *volume, *mountpoint; /* absolute */
};

static int fail(int code, const struct error *err)
{
	log_error("%s", err->text);
	return code;
}

/* ---- before anything is opened ---------------------------------------------------------- */

static int explain_mountpoint(const char *mountpoint, int code, struct error *err)
{
	struct dead_mount dead;

	if (dead_mount_at(mountpoint, &dead)) {
		dead_mount_explain(&dead, err);
		error_prefix(err, "cannot mount at '%.100s'", mountpoint);
		return -code;
	}
	if (code == ENOTCONN || code == ECONNABORTED)
		return error_set(err, code, "cannot mount at '%s': the daemon of another file system "
				 "died there; clean up with 'fusermount3 -u %s'", mountpoint,
				 mountpoint);
	return error_set(err, code, "cannot mount at '%s': %s; give a folder that exists",
			 mountpoint, strerror(code));
}

static int find_paths(struct program *p, struct error *err)
{
	const char *mountpoint = p->options.mountpoint;
	struct statfs fs;
	struct stat st;

	/* statfs is never answered from a cache: a mount whose daemon died shows. */
	if (stat(mountpoint, &st) < 0 || statfs(mountpoint, &fs) < 0)
		return explain_mountpoint(mountpoint, errno, err);
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "cannot mount at '%s': it is not a folder; give one",
				 mountpoint);
	p->mountpoint = realpath(mountpoint, NULL);
	/* The kernel may refuse a link that realpath would read by itself. */
	if (stat(p->options.volume, &st) == 0)
		p->volume = realpath(p->options.volume, NULL);
	if (!p->volume)
		return error_set(err, errno, "cannot open volume '%s': %s; %s", p->options.volume,
				 strerror(errno), errno == ENOENT
				 ? "make one with 'remapctl create', or of its spares "
				   "if it was lost with 'remapctl rebuild'" : errno == EACCES
				 ? "run as a user who may use it" : "check the path");
	return p->mountpoint ? 0 : error_set(err, errno, "cannot mount at '%s': %s; check the path",
					     mountpoint, strerror(errno));
}

/* Whether the daemon that gave this answer has a mount. Then err says how to end it. */
static bool has_mount(const json_t *answer, const char *volume, struct error *err)
{
	const char *image = json_string_value(json_object_get(answer, "image"));
	struct statfs fs;

	if (mount_reach(volume, answer, err) != MOUNT_HERE) {
		error_prefix(err, "volume '%.100s' is mounted already", volume);
		return true;
	}
	if (!image || statfs(image, &fs) < 0 || fs.f_type != FUSE_SUPER_MAGIC)
		return false;
	error_set(err, EBUSY, "volume '%s' is mounted already, as '%s'; unmount it first", volume,
		  image);
	return true;
}

/* A daemon that has a mount will not let go; one that is ending is waited for. */
static int check_not_running(const char *volume, struct error *err)
{
	const struct timespec pause = {.tv_nsec = 50 * 1000000};
	bool mounted = false;

	for (unsigned waited = 0; !mounted && waited < LOCK_WAIT_MS; waited += 50) {
		json_t *answer = NULL;
		int rc = peer_status(volume, NULL, &answer, err);

		if (rc == -ETIMEDOUT)
			return rc;
		if (rc < 0)
			break;
		mounted = has_mount(answer, volume, err);
		json_decref(answer);
		if (!mounted)
			nanosleep(&pause, NULL);
	}
	if (!mounted)
		err->text[0] = 0;
	return mounted ? -EBUSY : 0;
}

static bool users_may_allow(void)
{
	FILE *file = fopen("/etc/fuse.conf", "re");
	char line[256];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file)) {
		line[strcspn(line, " \t\r\n")] = 0;
		found = strcmp(line, "user_allow_other") == 0;
	}
	if (file)
		fclose(file);
	return found;
}

/* Root (losetup, udisks) cannot enter a user's mount unless it is let in. */
static int let_root_in(struct options *o, struct error *err)
{
	if (geteuid() == 0)
		return 0;
	if (users_may_allow()) {
		if (o->allow_other || o->allow_root)
			return 0;
		o->allow_root = true;
		return options_add(o, "allow_root", err);
	}
	if (o->allow_other || o->allow_root)
		return error_set(err, EPERM, "users may not let others into their mounts here; add "
				 "user_allow_other to /etc/fuse.conf");
	return 0;
}

static bool lies_in(const char *path, const char *folder)
{
	CLEANUP_FREE char *real = realpath(path, NULL);
	size_t n = strlen(folder);

	return real && strncmp(real, folder, n) == 0 && (real[n] == '/' || real[n] == 0);
}

struct covering {
	const char *mountpoint;
	struct error *err; /* has the line once something was found */
};

static int check_path(void *context, const char *path)
{
	const struct covering *c = context;

	if (!lies_in(path, c->mountpoint))
		return 0;
	error_set(c->err, EBUSY, "'%s' lies in the mount point '%s', which would hide it; mount "
		  "elsewhere", path, c->mountpoint);
	return 1;
}

/* What the mount covers could not be reached any more: the worker would wait for itself. */
static int check_not_covered(const struct program *p, struct error *err)
{
	struct covering c = {p->mountpoint, err};
	int rc = check_path(&c, p->volume);

	rc = rc ? rc : store_each_path(p->volume, check_path, &c, err);
	return rc > 0 ? -EBUSY : rc;
}

/* ---- running ------------------------------------------------------------------------------- */

static int prepare(struct program *p, struct error *err)
{
	int rc = find_paths(p, err);

	rc = rc < 0 ? rc : let_root_in(&p->options, err);
	rc = rc < 0 ? rc : check_not_running(p->volume, err);
	rc = rc < 0 ? rc : check_not_covered(p, err);
	if (rc < 0)
		return rc;
	p->options.volume = p->volume;
	p->options.mountpoint = p->mountpoint;
	return 0;
}

static void ready(void)
{
	daemon_ready();
	notify_service("READY=1\nSTATUS=serving");
}

static int run(struct program *p)
{
	CLEANUP_CLOSE int volume_fd = -1;
	struct error err = {""};

	if (prepare(p, &err) < 0)
		return fail(EXIT_MOUNT, &err);
	if (p->options.fake)
		return EXIT_DONE;
	session_block_signals();
	if (!p->options.foreground && daemon_begin() < 0) {
		error_set(&err, EAGAIN, "cannot go to the background; end other programs");
		return fail(EXIT_SYSTEM, &err);
	}
	if (volume_lock(p->volume, LOCK_WAIT_MS, &volume_fd, &err) < 0)
		return fail(EXIT_MOUNT, &err);
	return supervisor_run(&p->options, volume_fd, ready);
}

int main(int argc, char **argv)
{
	struct program p = {0};
	struct error err = {""};
	int code;

	log_init("remapfs", LOG_LEVEL_NOTICE);
	if (options_parse(argc, argv, &p.options, &err) < 0)
		return fail(EXIT_USAGE, &err);
	if (p.options.debug)
		log_init("remapfs", LOG_LEVEL_DEBUG);
	if (p.options.help || p.options.version) {
		if (p.options.help)
			options_help();
		else
			printf("remapfs %s\n", REMAPFS_VERSION);
		return fflush(stdout) == 0 ? EXIT_DONE : EXIT_SYSTEM;
	}
	code = !p.options.worker ? run(&p)
	       : p.options.probe ? worker_probe(&p.options) : worker_run(&p.options);
	free(p.volume);
	free(p.mountpoint);
	return code;
}
