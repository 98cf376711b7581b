/*
 * remapctl scrub: through the daemon where one runs, and with the volume opened
 * here where none does.
 */
#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "ctl/status.h"

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define POLL_MS 300
/* So many polls without an answer may be a worker that is being replaced. */
#define SILENT_POLLS 50

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl scrub [options] <volume> [start|pause|resume|status]\n"
    "\n"
    "Read every sector of a volume, from main or from the slot that it is in, to find\n"
    "bad ones before they hurt. What cannot be read becomes pending. What can be read\n"
    "only on a retry, or is very slow, is moved to a spare. Pending sectors that can\n"
    "be read again are cleared where that is known to be safe.\n"
    "\n"
    "Of a volume that is mounted its daemon does it, beside its work, and goes on when\n"
    "it is mounted anew. Otherwise start and resume do it here, and wait for the end.\n"
    "\n"
    "Actions:\n"
    " start   begin with the first sector\n"
    " pause   stop for now; also when it pauses by itself: a disk is gone\n"
    " resume  go on\n"
    " status  tell how far it is; if no action is given\n"
    "\n"
    "Options:\n"
    "     --rate <size>  read at most so many bytes a second, 64K or more; 0: no bound.\n"
    "                    The default is 32M. It gives way to others at any rate.\n"
    "     --wait         wait for the end, and show how far it is; Ctrl-C ends the\n"
    "                    waiting, not the scrub of a mounted volume\n"
    " -J, --json         status: use JSON output format\n"
    " -q, --quiet        print neither progress nor summary\n"
    " -h, --help         display this help\n"
    "\n"
    "Exit status of --wait: 0 once everything has been read, whatever was found; 1 if\n"
    "it is paused.\n"
    "\n"
    "Example:\n"
    " remapctl scrub disk.remap start --rate 10M --wait\n";

struct scrubbing {
	const char *path; /* of the volume */
	const char *action;
	uint64_t rate; /* or SCRUB_RATE_SAME: not given */
	bool wait, json, quiet;
	struct volume *volume; /* opened here; NULL: a daemon has it, or nobody */
	struct progress progress;
	bool shown;
};

static bool is_no_daemon(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

/* ---- how far it is ------------------------------------------------------------ */

static uint64_t number(const json_t *object, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(object, key));
}

/* What the daemon says as volume_scrub_look would. */
static int read_answer(const json_t *answer, struct volume_scrub *ret, struct error *err)
{
	const json_t *o = json_object_get(answer, "scrub");
	const char *state = json_string_value(json_object_get(o, "state"));
	const char *reason = json_string_value(json_object_get(o, "reason"));

	if (!state)
		return error_set(err, EPROTO, "the daemon is of an older version; replace it with "
				 "'remapctl upgrade'");
	*ret = (struct volume_scrub){
		.done = number(o, "done"),
		.total = number(o, "total"),
		.bytes_per_second = number(o, "bytes_per_second"),
		.seconds_left = number(o, "seconds_left"),
		.scrub = {
			.rate = number(o, "rate"),
			.found = {number(o, "lost"), number(o, "weak"), number(o, "moved"),
				  number(o, "cured"), number(o, "unsteady"), number(o, "skipped")},
		},
	};
	while (ret->scrub.state < SCRUB_DONE &&
	       strcmp(state, scrub_state_name(ret->scrub.state)) != 0)
		ret->scrub.state++;
	snprintf(ret->reason, sizeof(ret->reason), "%s", reason ? reason : "");
	return 0;
}

static int read_database(const char *path, struct volume_scrub *ret, struct error *err)
{
	struct store *store;
	int rc = store_open(path, STORE_READ, &store, err);

	if (rc < 0)
		return rc;
	*ret = (struct volume_scrub){0};
	rc = store_read_scrub(store, &ret->scrub);
	ret->done = ret->scrub.sector * store_volume(store)->sector_size;
	ret->total = store_volume(store)->main_sectors * store_volume(store)->sector_size;
	store_close(store);
	return rc < 0 ? error_set(err, -rc, "cannot read the database (%s); check its disk",
				  errno_name(-rc)) : 0;
}

/* *ret_served: somebody has the volume open, so that one that runs goes on. */
static int look(const struct scrubbing *s, struct volume_scrub *ret, bool *ret_served,
		struct error *err)
{
	json_t *answer = NULL;
	bool unknown;
	int rc;

	*ret_served = true;
	if (s->volume) {
		volume_scrub_look(s->volume, ret);
		return 0;
	}
	rc = control_ask(s->path, "status", &answer, err);
	/* A worker that does not serve yet, or not any more, knows no more than the database. */
	unknown = rc == 0 && json_is_null(json_object_get(answer, "scrub"));
	if (rc == 0 && !unknown)
		rc = read_answer(answer, ret, err);
	*ret_served = rc == 0 && !json_is_true(json_object_get(answer, "ending"));
	json_decref(answer);
	return unknown || is_no_daemon(rc) ? read_database(s->path, ret, err) : rc;
}

/* ---- telling --------------------------------------------------------------------- */

static void print_found(const struct scrub_counts *c)
{
	printf("%" PRIu64 " newly lost, %" PRIu64 " weak (%" PRIu64 " moved), %" PRIu64
	       " pending cured", c->lost, c->weak, c->moved, c->cured);
	if (c->unsteady)
		printf(", %" PRIu64 " unsteady", c->unsteady);
	if (c->skipped)
		printf(", %" PRIu64 " not read", c->skipped);
}

static double percent(const struct volume_scrub *s)
{
	return s->total ? (double)s->done * 100 / (double)s->total : 0;
}

static int print_status(const struct volume_scrub *s, bool served)
{
	bool runs = s->scrub.state == SCRUB_RUNNING;
	uint64_t left = s->seconds_left;
	char size[32];

	printf("state  %s", scrub_state_name(s->scrub.state));
	if (runs && !served)
		printf(": goes on at the next mount, or with resume");
	if (s->reason[0])
		printf(": %s", s->reason);
	if (s->scrub.state == SCRUB_NONE) {
		putchar('\n');
		return EXIT_DONE;
	}
	printf("\nread   %.1f%% of %s", percent(s), format_size(size, s->total));
	if (runs && s->bytes_per_second)
		printf(", %s/s, %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left",
		       format_size(size, s->bytes_per_second), left / 3600, left / 60 % 60, left % 60);
	printf("\nfound  ");
	print_found(&s->scrub.found);
	putchar('\n');
	return EXIT_DONE;
}

static int print_scrub(const struct volume_scrub *s, bool served)
{
	const struct scrub_counts *c = &s->scrub.found;
	json_t *o = json_pack(
	    "{s:{s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}", "scrub",
	    "state", scrub_state_name(s->scrub.state), "served", served, "reason", s->reason,
	    "rate", (json_int_t)s->scrub.rate, "done", (json_int_t)s->done, "total",
	    (json_int_t)s->total, "bytes_per_second", (json_int_t)s->bytes_per_second,
	    "seconds_left", (json_int_t)s->seconds_left, "lost", (json_int_t)c->lost, "weak",
	    (json_int_t)c->weak, "moved", (json_int_t)c->moved, "cured", (json_int_t)c->cured,
	    "unsteady", (json_int_t)c->unsteady, "skipped", (json_int_t)c->skipped);

	return print_json(o);
}

static int show_status(const struct scrubbing *s)
{
	struct volume_scrub now;
	struct error err = {0};
	bool served;

	if (look(s, &now, &served, &err) < 0)
		return refuse(&err);
	return s->json ? print_scrub(&now, served) : print_status(&now, served);
}

/* ---- waiting ----------------------------------------------------------------------- */

static int end_of_waiting(const struct scrubbing *s, const struct volume_scrub *now)
{
	if (now->scrub.state == SCRUB_NONE)
		return refuse_text("there is no scrub; start one");
	if (now->scrub.state == SCRUB_PAUSED)
		return refuse_text("the scrub is paused%s%s; go on with 'remapctl scrub VOLUME "
				   "resume'", now->reason[0] ? ": " : "", now->reason);
	if (s->quiet)
		return EXIT_DONE;
	fputs("scrub done: ", stdout);
	print_found(&now->scrub.found);
	putchar('\n');
	return EXIT_DONE;
}

/* False: it was interrupted. */
static bool show(struct scrubbing *s, const struct volume_scrub *now)
{
	if (!s->shown)
		s->progress.from = now->done;
	s->shown = true;
	return progress_show(&s->progress, "reading everything", now->done, now->total) &&
	       progress_pause(POLL_MS);
}

/* A daemon that does not answer, or is gone for good. */
static int silent(const struct scrubbing *s, const struct error *err)
{
	if (err->text[0])
		return refuse(err);
	return refuse_text("nobody serves '%.200s': the scrub goes on at the next mount, or with "
			   "'remapctl scrub VOLUME resume'", s->path);
}

static int wait_for_end(struct scrubbing *s)
{
	unsigned silent_for = 0;

	for (;;) {
		struct volume_scrub now;
		struct error err = {0};
		bool served;
		int rc = look(s, &now, &served, &err);

		if (rc == 0 && now.scrub.state != SCRUB_RUNNING)
			return end_of_waiting(s, &now);
		silent_for = rc == 0 && served ? 0 : silent_for + 1;
		if (silent_for > SILENT_POLLS || rc == -ETIMEDOUT)
			return silent(s, &err);
		if (silent_for ? !progress_pause(POLL_MS) : !show(s, &now))
			return refuse_text("interrupted; the scrub goes on %s", s->volume
					   ? "at the next mount, or with 'remapctl scrub VOLUME resume'"
					   : "while the volume is mounted");
	}
}

static int wait_and_tell(struct scrubbing *s)
{
	int rc;

	progress_begin(&s->progress, s->quiet);
	rc = wait_for_end(s);
	progress_end(&s->progress);
	return rc;
}

/* ---- acting -------------------------------------------------------------------------- */

static int act_here(struct scrubbing *s, struct error *err)
{
	if (strcmp(s->action, "pause") == 0)
		return volume_scrub_pause(s->volume, err);
	if (strcmp(s->action, "resume") == 0)
		return volume_scrub_resume(s->volume, s->rate, err);
	return volume_scrub_start(s->volume,
				  s->rate == SCRUB_RATE_SAME ? SCRUB_RATE_DEFAULT : s->rate, err);
}

/* Nobody else would do it: start and resume wait for the end. */
static int open_and_act(struct scrubbing *s)
{
	const struct volume_options o = {.opener = "remapctl " REMAPFS_VERSION};
	struct error err = {0};
	int rc = volume_open(s->path, &o, &s->volume, &err), result;

	if (rc < 0)
		return refuse(&err);
	rc = act_here(s, &err);
	if (rc < 0)
		result = refuse(&err);
	else
		result = strcmp(s->action, "pause") == 0 ? EXIT_DONE : wait_and_tell(s);
	rc = volume_close(s->volume);
	if (result || rc == 0)
		return result;
	return refuse_text("the volume did not close in order (%s); see its history", errno_name(-rc));
}

static int act(struct scrubbing *s)
{
	json_int_t rate = s->rate == SCRUB_RATE_SAME ? -1 : (json_int_t)s->rate;
	json_t *request = json_pack("{s:s, s:s, s:I}", "command", "scrub", "action", s->action, "rate",
				    rate);
	json_t *answer = NULL;
	struct error err = {0};
	int rc = request ? control_request(s->path, request, CONTROL_ACT_MS, &answer, &err)
			 : error_set(&err, ENOMEM, "needs more memory than there is; end other programs");

	json_decref(request);
	json_decref(answer);
	if (is_no_daemon(rc))
		return open_and_act(s);
	if (rc < 0)
		return refuse(&err);
	return s->wait ? wait_and_tell(s) : EXIT_DONE;
}

/* ---- the command ----------------------------------------------------------------------- */

static bool is_action(const char *word)
{
	static const char *const actions[] = {"start", "pause", "resume", "status"};

	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		if (strcmp(word, actions[i]) == 0)
			return true;
	return false;
}

static int check(const struct scrubbing *s)
{
	bool status = strcmp(s->action, "status") == 0, pause = strcmp(s->action, "pause") == 0;

	if (!is_action(s->action))
		return misuse("scrub", "there is no action '%.60s'", s->action);
	if (s->json && (!status || s->wait))
		return misuse("scrub", "--json is for the status");
	if (s->wait && pause)
		return misuse("scrub", "--wait is not for pause");
	if (s->rate != SCRUB_RATE_SAME && (status || pause))
		return misuse("scrub", "--rate is for start and resume");
	if (s->rate && s->rate < SCRUB_RATE_MIN)
		return misuse("scrub", "--rate is less than 64K");
	return 0;
}

enum { OPTION_RATE = 256, OPTION_WAIT };

static int take_option(struct scrubbing *s, int c)
{
	struct error err = {0};

	s->wait |= c == OPTION_WAIT;
	s->json |= c == 'J';
	s->quiet |= c == 'q';
	if (c != OPTION_RATE || parse_size(optarg, &s->rate, &err) == 0)
		return 0;
	error_prefix(&err, "--rate");
	return refuse_misuse(&err);
}

int run_scrub(int argc, char **argv)
{
	static const struct option longs[] = {{"rate", required_argument, NULL, OPTION_RATE},
					      {"wait", no_argument, NULL, OPTION_WAIT},
					      {"json", no_argument, NULL, 'J'},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME", "ACTION"};
	struct scrubbing s = {.rate = SCRUB_RATE_SAME};
	int c, rc;

	while ((c = next_option("scrub", argc, argv, ":Jqh", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		if (c == '?' || take_option(&s, c))
			return EXIT_MISUSED;
	}
	rc = check_operands("scrub", argc, argv, 1, 2, names);
	if (rc)
		return rc;
	if (argc - optind == 2 && is_action(argv[optind]) && !is_action(argv[optind + 1]))
		return misuse("scrub", "the volume comes first: remapctl scrub %.200s %s",
			      argv[optind + 1], argv[optind]);
	s.path = argv[optind];
	s.action = argc - optind == 2 ? argv[optind + 1] : "status";
	rc = check(&s);
	if (rc)
		return rc;
	if (strcmp(s.action, "status") != 0)
		return act(&s);
	return s.wait ? wait_and_tell(&s) : show_status(&s);
}
