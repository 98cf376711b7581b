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

#include "fuse/answer.h"
#include "fuse/daemon.h"
#include "fuse/image.h"
#include "fuse/options.h"
#include "fuse/session.h"
#include "fuse/survive.h"
#include "remapfs/cleanup.h"
#include "remapfs/control.h"
#include "remapfs/log.h"

/* How long the last daemon of a volume may take to let go of it. */
#define LOCK_WAIT_MS 10000

struct program {
	struct options options;
	char *volume, *mountpoint; /* absolute */
	struct image image;
	struct answering answering;
	struct session *session;
	struct control_server *control;
};

static int fail(int code, const struct error *err)
{
	log_error("%s", err->text);
	return code;
}

/* ---- before anything is opened ---------------------------------------------------------- */

static int find_paths(struct program *p, struct error *err)
{
	const char *mountpoint = p->options.mountpoint;
	struct statfs fs;
	struct stat st;

	/* statfs is never answered from a cache: a mount whose daemon died shows. */
	if (stat(mountpoint, &st) < 0 || statfs(mountpoint, &fs) < 0)
		return error_set(err, errno, "cannot mount at '%s': %s; %s", mountpoint,
				 strerror(errno), errno == ENOTCONN
				 ? "a daemon died there: clean up with fusermount3 -u"
				 : "give a folder that exists");
	if (!S_ISDIR(st.st_mode))
		return error_set(err, ENOTDIR, "cannot mount at '%s': it is not a folder; give one",
				 mountpoint);
	p->mountpoint = realpath(mountpoint, NULL);
	p->volume = realpath(p->options.volume, NULL);
	if (!p->volume)
		return error_set(err, errno, "cannot open volume '%s': %s; %s", p->options.volume,
				 strerror(errno), errno == ENOENT
				 ? "make one with 'remapctl create'" : "check the path");
	return p->mountpoint ? 0 : error_set(err, errno, "cannot mount at '%s': %s; check the path",
					     mountpoint, strerror(errno));
}

/* Whether the daemon that gave this answer still has its image where it says. */
static bool has_image(const json_t *answer, const char *volume, struct error *err)
{
	const char *image = json_string_value(json_object_get(answer, "image"));
	struct statfs fs;

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

		if (control_ask(volume, "status", &answer, NULL) < 0)
			return 0;
		mounted = has_image(answer, volume, err);
		json_decref(answer);
		if (!mounted)
			nanosleep(&pause, NULL);
	}
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
		o->allow_root = !o->allow_other;
		return 0;
	}
	if (o->allow_other || o->allow_root)
		return error_set(err, EPERM, "users may not let others into their mounts here; add "
				 "user_allow_other to /etc/fuse.conf");
	return 0;
}

/* What the user should know of a mount that works. */
static void tell_limits(const struct options *o, const char *refused)
{
	if (geteuid() != 0 && !o->allow_root && !o->allow_other)
		log_notice("root cannot enter this mount, so losetup will not work on it: for that, "
			   "add user_allow_other to /etc/fuse.conf");
	if (refused[0])
		log_notice("not guarded against memory pressure, refused were: %s; run as root with "
			   "CAP_SYS_RESOURCE to have them", refused);
}

/* ---- running ------------------------------------------------------------------------------- */

static int open_volume(struct program *p, struct error *err)
{
	char opener[128];
	struct volume_options o = {
		.read_only = p->options.read_only,
		.no_remap = p->options.no_remap,
		.isolation_ms = p->options.isolation_ms,
		.lock_wait_ms = LOCK_WAIT_MS,
		.opener = opener,
	};
	int rc = check_not_running(p->volume, err);

	snprintf(opener, sizeof(opener), "remapfs %s, pid %d%s%s", REMAPFS_VERSION, (int)getpid(),
		 o.read_only ? ", ro" : "", o.no_remap ? ", noremap" : "");
	rc = rc < 0 ? rc : volume_open(p->volume, &o, &p->image.volume, err);
	if (rc < 0)
		return rc;
	p->image.read_only = p->options.read_only;
	p->image.uid = geteuid();
	p->image.gid = getegid();
	clock_gettime(CLOCK_REALTIME, &p->image.since);
	return 0;
}

/* Whether disk.img can be opened: only then is the mount told to be there. */
static int try_image(const struct program *p, struct error *err)
{
	CLEANUP_FREE char *path = NULL;
	CLEANUP_CLOSE int fd = -1;

	if (asprintf(&path, "%s/%s", p->mountpoint, IMAGE_NAME) < 0)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, errno, "mounted, but '%s' cannot be opened: %s; check the "
				 "mount options", path, strerror(errno));
	return 0;
}

static int start(struct program *p, struct error *err)
{
	CLEANUP_FREE char *copy = strdup(p->volume);
	int rc;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory; end other programs");
	rc = session_mount(&p->image, &p->options, p->mountpoint, basename(copy), &p->session, err);
	if (rc < 0)
		return rc;
	p->answering = (struct answering){p->image.volume, &p->options, p->mountpoint};
	rc = control_serve(p->volume, answer, &p->answering, &p->control, err);
	rc = rc < 0 ? rc : session_start(p->session, p->options.threads, err);
	return rc < 0 ? rc : try_image(p, err);
}

static int run(struct program *p)
{
	struct error err = {""};
	char refused[256];
	int rc = find_paths(p, &err), end;

	rc = rc < 0 ? rc : let_root_in(&p->options, &err);
	if (rc < 0)
		return fail(EXIT_MOUNT, &err);
	session_block_signals();
	if (!p->options.foreground && daemon_begin() < 0) {
		error_set(&err, EAGAIN, "cannot go to the background; end other programs");
		return fail(EXIT_SYSTEM, &err);
	}
	/* Before the first thread: some of it is inherited, not shared. */
	survive(refused, sizeof(refused));
	rc = open_volume(p, &err);
	if (rc < 0)
		return fail(EXIT_MOUNT, &err);
	rc = start(p, &err);
	if (rc == 0) {
		tell_limits(&p->options, refused);
		daemon_ready();
		session_wait(p->session);
	}
	control_stop(p->control);
	session_end(p->session);
	end = volume_close(p->image.volume);
	if (end < 0)
		log_error("the volume did not close in order (%s): see its history",
			  errno_name(-end));
	return rc < 0 ? fail(EXIT_MOUNT, &err) : end < 0 ? EXIT_SYSTEM : EXIT_DONE;
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
	code = run(&p);
	free(p.volume);
	free(p.mountpoint);
	return code;
}
