/*
 * remapctl add-spare and retire-spare: through the daemon where one runs, and
 * with the volume opened here where none does.
 */
#include "ctl/ctl.h"
#include "ctl/disks.h"
#include "ctl/part.h"
#include "ctl/peer.h"
#include "ctl/progress.h"

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/volume.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <libgen.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#define POLL_MS 300
/* A spare that is stuck for so many polls is told to be. */
#define STUCK_POLLS 10

static bool is_no_daemon(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

/* Takes request over. fd goes with it, unless it is -1. */
static int ask(const char *volume, json_t *request, int fd, struct error *err)
{
	json_t *answer = NULL;
	int rc = request ? control_request_with(volume, request, fd, CONTROL_ACT_MS, &answer, err)
			 : error_set(err, EINVAL, "the path is no UTF-8; give the spare another name");

	json_decref(request);
	json_decref(answer);
	return rc;
}

static int open_here(const char *path, struct volume **ret, struct error *err)
{
	const struct volume_options o = {.opener = "remapctl " REMAPFS_VERSION};

	return volume_open(path, &o, ret, err);
}

static int close_here(struct volume *volume, struct error *err)
{
	int rc = volume_close(volume);

	return rc < 0 ? error_set(err, -rc, "the volume did not close in order (%s); see its history",
				  errno_name(-rc)) : 0;
}

/* ---- add-spare -------------------------------------------------------------- */

static const char add_help[] =
    "\n"
    "Usage:\n"
    " remapctl add-spare [options] <volume> <path>[,size=<size>][,offset=<size>][,length=<size>]\n"
    "\n"
    "Give a volume one more spare: a file, a block device, or the part of it from\n"
    "offset on. Every sector of it is written and read back first. A volume that is\n"
    "mounted stays so, and writes that found no free slot succeed from then on.\n"
    "\n"
    "Options:\n"
    "     --force  take a spare that carries data or belongs to a volume, or of which it\n"
    "              cannot be told whether it overlaps another member\n"
    " -q, --quiet  print neither progress nor summary\n"
    " -h, --help   display this help\n"
    "\n"
    "With size=, a file that is missing is made and allocated.\n"
    "\n"
    "Example:\n"
    " remapctl add-spare disk.remap /mnt/other/spare2.img,size=1G\n";

/* Where a file is, or is to be made. */
static int disks_for(const char *path, struct disks *ret)
{
	CLEANUP_FREE char *copy = NULL;
	int rc = disks_of(path, ret);

	if (rc != -ENOENT)
		return rc;
	copy = strdup(path);
	return copy ? disks_of(dirname(copy), ret) : -ENOMEM;
}

/* For good: it takes away all that root has beyond this user. */
static int become(const struct control_peer *user, struct error *err)
{
	const struct passwd *entry = getpwuid(user->uid);
	int rc = entry ? initgroups(entry->pw_name, user->gid) : setgroups(0, NULL);

	if (rc < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
	    setresuid(user->uid, user->uid, user->uid) < 0)
		return error_set(err, errno, "cannot become the user of the daemon (%u): %s; run this as "
				 "that user", (unsigned)user->uid, strerror(errno));
	return 0;
}

/*
 * A daemon gets the descriptor of the whole file or disk, also for a part of it, and opens
 * its path at the next mount. So root adds to the volume of another user what that user may
 * open, and does it as that user. Anybody else has nothing to hand to a stranger.
 */
static int act_as_daemon(const char *volume, struct error *err)
{
	struct control_peer peer;
	json_t *answer = NULL;
	int rc = peer_status(volume, &peer, &answer, err);

	if (rc < 0)
		return is_no_daemon(rc) ? 0 : rc;
	json_decref(answer);
	control_peer_release(&peer);
	if (!control_peer_is_stranger(&peer))
		return 0;
	if (geteuid() == 0)
		rc = become(&peer, err);
	else
		rc = error_set(err, EACCES, "the daemon of '%s' belongs to another user; run this as "
			       "that user or as root", volume);
	return rc < 0 ? rc : 1;
}

/*
 * The volume would write its spare through itself: to take the spare away takes a
 * flush of the file system that it is on, which comes back as a request to a daemon
 * that waits for just that.
 */
static int check_not_inside(const char *volume, const char *path, struct error *err)
{
	struct disks spare, image;
	json_t *answer = NULL;
	const char *at;
	bool inside;
	int rc = peer_status(volume, NULL, &answer, err);

	if (rc < 0)
		return is_no_daemon(rc) ? 0 : rc;
	at = json_string_value(json_object_get(answer, "image"));
	inside = at && disks_of(at, &image) == 0 && disks_for(path, &spare) == 0 &&
		 disks_compare(&spare, &image) == DISKS_SHARED;
	json_decref(answer);
	if (!inside)
		return 0;
	return error_set(err, EBUSY, "spare '%s' is on the disk.img of this volume, which needs its "
			 "spares itself; choose a place on another disk", path);
}

/* Before anything of the new spare is overwritten. */
static int check_may_add(const char *volume, struct error *err)
{
	json_t *answer = NULL;
	int rc = control_ask(volume, "may-add-spare", &answer, err);

	json_decref(answer);
	return is_no_daemon(rc) ? 0 : rc;
}

static int add_here(const char *path, const struct store_spare *spare, struct error *err)
{
	struct volume *volume;
	int rc = open_here(path, &volume, err), closed;

	if (rc < 0)
		return rc;
	rc = volume_add_spare(volume, spare, err);
	closed = close_here(volume, rc < 0 ? NULL : err);
	return rc < 0 ? rc : closed;
}

/* The daemon may not open it itself: it is confined to the files that it was mounted with. */
static int add(const char *path, const struct store_spare *spare, struct error *err)
{
	const struct file_device_options o = {.role = "spare", .offset = spare->offset,
					      .length = spare->length};
	int fd, rc = file_device_descriptor(spare->path, &o, &fd, err);

	if (rc < 0)
		return rc;
	rc = ask(path, json_pack("{s:s, s:I, s:s, s:s, s:I, s:I}", "command", "add-spare", "id",
				 (json_int_t)spare->id, "uuid", spare->uuid, "path", spare->path,
				 "offset", (json_int_t)spare->offset, "length",
				 (json_int_t)spare->length), fd, err);
	/* A block device is opened by one at a time. */
	close(fd);
	return is_no_daemon(rc) ? add_here(path, spare, err) : rc;
}

/*
 * Whether it is certain that the volume did not take it: a daemon that was asked and
 * gave no answer may have, and so may a commit that failed.
 */
static bool is_refusal(int rc)
{
	return rc != -EINPROGRESS && rc != -ETIMEDOUT && rc != -EPROTO && rc != -EPIPE &&
	       rc != -ECONNRESET;
}

static void print_added(const struct store_spare *spare)
{
	char size[32];

	printf("Spare %" PRIu32 ": ", spare->id);
	print_word(stdout, spare->path);
	printf(", %" PRIu64 " slots (%s)\n", spare->slots, format_size(size, spare->length));
}

static int prepare_and_add(struct prepare_options *options, bool quiet)
{
	struct error err = {0}, warning = {0};
	struct store_spare spare = {0};
	struct progress progress;
	bool made = false;
	int as_daemon = act_as_daemon(options->path, &err), rc;

	if (as_daemon < 0 || check_not_inside(options->path, options->spare.path, &err) < 0 ||
	    check_may_add(options->path, &err) < 0)
		return refuse(&err);
	progress_begin(&progress, quiet);
	options->ret_made = &made;
	options->progress = progress_show;
	options->context = &progress;
	rc = volume_prepare_spare(options, &spare, &warning, &err);
	progress_end(&progress);
	if (rc < 0 && as_daemon)
		error_prefix(&err, "as user %u, whose daemon has to open it", (unsigned)geteuid());
	if (rc < 0)
		return refuse(&err);
	if (warning.text[0])
		warn_text("%s", warning.text);
	disks_warn_memory("the spare", spare.path);
	rc = add(options->path, &spare, &err);
	if (rc == 0 && !quiet)
		print_added(&spare);
	if (rc < 0 && made && is_refusal(rc))
		unlink(spare.path);
	free(spare.path);
	return rc < 0 ? refuse(&err) : EXIT_DONE;
}

int run_add_spare(int argc, char **argv)
{
	enum { OPTION_FORCE = 256 };
	static const struct option longs[] = {{"force", no_argument, NULL, OPTION_FORCE},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME", "SPARE"};
	struct prepare_options options = {0};
	struct error err = {0};
	bool quiet = false;
	int c, rc;

	while ((c = next_option("add-spare", argc, argv, ":qh", longs)) != -1) {
		if (c == 'h')
			return print_help(add_help);
		if (c == '?')
			return EXIT_MISUSED;
		options.force |= c == OPTION_FORCE;
		quiet |= c == 'q';
	}
	rc = check_operands("add-spare", argc, argv, 2, 2, names);
	if (rc)
		return rc;
	options.path = argv[optind];
	if (parse_part(argv[optind + 1], "SPARE", false, &options.spare, &err) < 0)
		return refuse_misuse(&err);
	return prepare_and_add(&options, quiet);
}

/* ---- retire-spare ----------------------------------------------------------- */

static const char retire_help[] =
    "\n"
    "Usage:\n"
    " remapctl retire-spare [options] <volume> <number>\n"
    "\n"
    "Move every sector that is on a spare to the other ones, and let go of it: then\n"
    "it can be taken away. It lends no slots any more from the beginning on. Waits for\n"
    "the end; when interrupted, it goes on as long as the volume is mounted, and at\n"
    "the next mount. The numbers of the spares are those of 'remapctl status'.\n"
    "\n"
    "Options:\n"
    "     --lost     the spare will never be seen again: what is on it is not read but\n"
    "                pending from now on, so that reading it fails until it is written\n"
    "     --no-wait  do not wait for the end (of a volume that is mounted)\n"
    " -q, --quiet    print neither progress nor summary\n"
    " -h, --help     display this help\n"
    "\n"
    "Example:\n"
    " remapctl retire-spare disk.remap 1\n";

struct retirement {
	const char *path; /* of the volume */
	spare_id_t id;
	bool lost, no_wait, quiet;
	struct volume *volume; /* opened here; NULL: a daemon has it */
	struct progress progress;
	uint64_t most; /* sectors that were on it when it began */
};

/* What the database says of the spare; read anew, since the daemon changes it. */
static int look_at(const struct retirement *r, enum spare_state *ret_state, uint64_t *ret_used,
		   struct error *err)
{
	const struct store_spare *spares;
	struct store *store;
	uint64_t bad;
	size_t count;
	int rc = store_open(r->path, STORE_READ, &store, err);

	if (rc < 0)
		return rc;
	spares = store_spares(store, &count);
	*ret_state = SPARE_LOST;
	for (size_t i = 0; i < count; i++)
		if (spares[i].id == r->id)
			*ret_state = spares[i].state;
	rc = store_spare_usage(store, r->id, ret_used, &bad);
	store_close(store);
	return rc < 0 ? error_set(err, -rc, "cannot read the database (%s); check its disk",
				  errno_name(-rc)) : 0;
}

/* Why it does not go on; "": it does. */
static int ask_why_stuck(const struct retirement *r, struct error *ret, struct error *err)
{
	json_t *answer = NULL;
	const char *stuck;
	int rc = 0;

	*ret = (struct error){0};
	if (r->volume) {
		struct volume_status s;

		volume_status(r->volume, &s);
		if (s.stuck[0])
			error_set(ret, EBUSY, "%s", s.stuck);
		return 0;
	}
	rc = control_ask(r->path, "status", &answer, err);
	stuck = json_string_value(json_object_get(answer, "stuck"));
	if (stuck && *stuck)
		error_set(ret, EBUSY, "%.200s", stuck);
	json_decref(answer);
	return rc;
}

static void show(struct retirement *r, uint64_t used)
{
	if (used > r->most)
		r->most = used;
	progress_show(&r->progress, "emptying the spare", r->most - used, r->most);
}

static int wait_for_end(struct retirement *r)
{
	struct error err = {0}, stuck = {0};
	enum spare_state state;
	unsigned stuck_for = 0;
	uint64_t used = 0;

	for (;;) {
		if (look_at(r, &state, &used, &err) < 0)
			return refuse(&err);
		if (state == SPARE_RETIRED || state == SPARE_LOST)
			return EXIT_DONE;
		show(r, used);
		if (ask_why_stuck(r, &stuck, &err) < 0) {
			error_prefix(&err, "it goes on at the next mount");
			return refuse(&err);
		}
		stuck_for = stuck.text[0] ? stuck_for + 1 : 0;
		if (stuck_for > STUCK_POLLS)
			return refuse(&stuck);
		if (!progress_pause(POLL_MS))
			return refuse_text("interrupted; it goes on while the volume is mounted");
	}
}

static void print_lost(const struct retirement *r, uint64_t sectors)
{
	printf("spare %" PRIu32 " is given up; ", r->id);
	if (sectors == 0)
		printf("no sector was on it\n");
	else
		printf("%" PRIu64 " sector%s lost with it: reading fails there until it is written; "
		       "'remapctl pending' lists where\n", sectors, sectors == 1 ? " is" : "s are");
}

static int wait_and_tell(struct retirement *r)
{
	int rc;

	progress_begin(&r->progress, r->quiet);
	rc = wait_for_end(r);
	progress_end(&r->progress);
	if (rc == EXIT_DONE && !r->quiet && r->lost)
		print_lost(r, r->most);
	else if (rc == EXIT_DONE && !r->quiet)
		printf("spare %" PRIu32 " is empty and retired: it can be taken away\n", r->id);
	return rc;
}

static int retire_here(struct retirement *r)
{
	struct error err = {0};
	int rc = open_here(r->path, &r->volume, &err), result;

	if (rc < 0)
		return refuse(&err);
	rc = volume_retire_spare(r->volume, r->id, false, &err);
	result = rc < 0 ? refuse(&err) : wait_and_tell(r);
	rc = close_here(r->volume, &err);
	return result || rc == 0 ? result : refuse(&err);
}

static int forget_here(const struct retirement *r)
{
	struct error err = {0};
	uint64_t sectors = 0;

	if (volume_forget_spare(r->path, r->id, &sectors, &err) < 0)
		return refuse(&err);
	if (!r->quiet)
		print_lost(r, sectors);
	return EXIT_DONE;
}

static int retire(struct retirement *r)
{
	struct error err = {0};
	enum spare_state state;
	int rc;

	/* A daemon that gives one up may be done before it is asked how far it is. */
	if (look_at(r, &state, &r->most, &err) < 0)
		return refuse(&err);
	rc = ask(r->path, json_pack("{s:s, s:I, s:b}", "command", "retire-spare", "id",
					(json_int_t)r->id, "lost", r->lost), -1, &err);
	if (is_no_daemon(rc))
		return r->lost ? forget_here(r) : retire_here(r);
	if (rc < 0)
		return refuse(&err);
	return r->no_wait ? EXIT_DONE : wait_and_tell(r);
}

int run_retire_spare(int argc, char **argv)
{
	enum { OPTION_LOST = 256, OPTION_NO_WAIT };
	static const struct option longs[] = {{"lost", no_argument, NULL, OPTION_LOST},
					      {"no-wait", no_argument, NULL, OPTION_NO_WAIT},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME", "NUMBER"};
	struct retirement r = {0};
	struct error err = {0};
	uint64_t id;
	int c, rc;

	while ((c = next_option("retire-spare", argc, argv, ":qh", longs)) != -1) {
		if (c == 'h')
			return print_help(retire_help);
		if (c == '?')
			return EXIT_MISUSED;
		r.lost |= c == OPTION_LOST;
		r.no_wait |= c == OPTION_NO_WAIT;
		r.quiet |= c == 'q';
	}
	rc = check_operands("retire-spare", argc, argv, 2, 2, names);
	if (rc)
		return rc;
	r.path = argv[optind];
	if (parse_number(argv[optind + 1], 1, SPARE_ID_MAX, &id, &err) < 0) {
		error_prefix(&err, "NUMBER");
		return refuse_misuse(&err);
	}
	r.id = (spare_id_t)id;
	return retire(&r);
}
