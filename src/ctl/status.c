/* remapctl status: the database and, where one runs, the daemon, as one picture. */
#include "ctl/status.h"

#include "ctl/peer.h"
#include "ctl/progress.h"

#include "remapfs/check.h"
#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/text.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl status [options] <volume>\n"
    "\n"
    "Show the state of a volume, with and without a running daemon.\n"
    "\n"
    "Options:\n"
    " -J, --json             use JSON output format\n"
    " -w, --watch[=<secs>]   show it again every so many seconds (2), until Ctrl-C;\n"
    "                        on a terminal in its place, otherwise one below the other\n"
    " -h, --help             display this help\n"
    "\n"
    "States, gravest first; each cause and its remedy is told beside it:\n"
    " failed   main, a spare, a flush or the database failed, the daemon does not\n"
    "          answer within 5 s, or the volume could not be mounted\n"
    " full     too few slots are free, or a file system that main or a spare is on\n"
    "          has no room\n"
    " pending  sectors are lost: reading them fails until they are written\n"
    " ok       none of these\n";

enum { WATCH_SECONDS = 2, WATCH_SECONDS_MAX = 86400 };

/* ---- what there is ---------------------------------------------------------- */

bool spare_has_left(const struct store_spare *spare)
{
	return spare->state == SPARE_RETIRED || spare->state == SPARE_LOST;
}

/* By what is recorded; a daemon, or a look at the spare, knows better. */
static uint64_t recorded_free(const struct status *status, size_t i)
{
	uint64_t taken = status->used[i] + status->bad[i];

	if (status->spares[i].state != SPARE_ACTIVE)
		return 0;
	return taken < status->spares[i].slots ? status->spares[i].slots - taken : 0;
}

static int count_slots(struct status *status)
{
	status->used = calloc(status->spare_count, sizeof(*status->used));
	status->bad = calloc(status->spare_count, sizeof(*status->bad));
	status->free = calloc(status->spare_count, sizeof(*status->free));
	status->health = calloc(status->spare_count, sizeof(*status->health));
	if (!status->used || !status->bad || !status->free || !status->health)
		return -ENOMEM;
	for (size_t i = 0; i < status->spare_count; i++) {
		int rc = store_spare_usage(status->store, status->spares[i].id, &status->used[i],
					   &status->bad[i]);

		if (rc)
			return rc;
		if (spare_has_left(&status->spares[i]))
			continue;
		status->slots += status->spares[i].slots;
		status->bad_slots += status->bad[i];
		status->free[i] = recorded_free(status, i);
	}
	return 0;
}

/* One that ends meanwhile breaks off its answer: what follows it is what counts. */
static void ask_daemon(struct status *status)
{
	int rc = -EPROTO;

	for (unsigned tries = 0; rc == -EPROTO && tries < 10; tries++) {
		if (tries)
			poll(NULL, 0, 50);
		rc = peer_status(status->path, NULL, &status->daemon, &status->daemon_error);
	}
	status->daemon_code = -rc;
	status->no_daemon = rc == -ENOENT || rc == -ECONNREFUSED;
}

bool daemon_says(const struct status *status, const char *key)
{
	return json_is_true(json_object_get(status->daemon, key));
}

const char *daemon_text(const struct status *status, const char *key)
{
	const char *text = json_string_value(json_object_get(status->daemon, key));

	return text ? text : "";
}

uint64_t daemon_number(const struct status *status, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(status->daemon, key));
}

/* ---- JSON ------------------------------------------------------------------- */

json_t *json_text(const char *text)
{
	CLEANUP_FREE char *utf8 = strdup(text);

	return utf8 ? json_string(text_make_utf8(utf8)) : NULL;
}

static json_t *spares_json(const struct status *status)
{
	json_t *array = json_array();

	for (size_t i = 0; i < status->spare_count; i++) {
		const struct store_spare *spare = &status->spares[i];

		json_array_append_new(
		    array,
		    json_pack("{s:I, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
			      (json_int_t)spare->id, "uuid", spare->uuid, "state",
			      spare_state_name(spare->state), "health",
			      volume_state_name(status->health[i]), "path",
			      json_text(spare->path), "offset", (json_int_t)spare->offset, "length",
			      (json_int_t)spare->length, "slots", (json_int_t)spare->slots, "used",
			      (json_int_t)status->used[i], "bad", (json_int_t)status->bad[i],
			      "free", (json_int_t)status->free[i]));
	}
	return array;
}

static json_t *daemon_json(const struct status *status)
{
	json_t *object = json_pack("{s:b}", "running", !status->no_daemon);

	if (status->daemon) {
		json_object_update(object, status->daemon);
		json_object_del(object, "ok");
		json_object_set_new(object, "running", json_true());
	} else if (!status->no_daemon) {
		json_object_set_new(object, "error", json_text(status->daemon_error.text));
	}
	return object;
}

static json_t *main_json(const struct status *status)
{
	const struct store_volume *volume = status->volume;
	const char *since = status->changed_since;

	return json_pack("{s:o, s:I, s:I, s:I, s:o}", "path", json_text(volume->main_path), "size",
			 (json_int_t)(volume->main_sectors * volume->sector_size), "sectors",
			 (json_int_t)volume->main_sectors, "sector_size",
			 (json_int_t)volume->sector_size, "changed_since",
			 since[0] ? json_string(since) : json_null());
}

static json_t *troubles_json(const struct status *status)
{
	json_t *array = json_array();

	for (size_t i = 0; i < status->troubles.count; i++) {
		const struct trouble *t = &status->troubles.all[i];

		json_array_append_new(
		    array, json_pack("{s:s, s:o, s:o, s:o}", "state", volume_state_name(t->state),
				     "spare", t->spare == ON_MAIN ? json_null() : json_integer(t->spare),
				     "cause", json_text(t->cause), "remedy", json_text(t->remedy)));
	}
	return array;
}

/* What is known without the database, too. */
static json_t *known_json(const struct status *status)
{
	return json_pack("{s:o, s:s, s:o, s:o, s:o}", "volume", json_text(status->path), "state",
			 volume_state_name(status->state), "trouble",
			 json_text(trouble_text(&status->troubles, 0).text), "troubles",
			 troubles_json(status), "daemon", daemon_json(status));
}

static json_t *status_json(const struct status *status)
{
	const struct store_totals *totals = &status->totals;

	json_t *json = known_json(status);

	if (!status->store)
		return json;
	json_object_update_new(
	    json, json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "uuid",
			    status->volume->uuid, "main", main_json(status), "spares",
			    spares_json(status), "remapped_sectors",
			    (json_int_t)totals->remapped_sectors, "pending_sectors",
			    (json_int_t)totals->pending_sectors, "free_slots",
			    (json_int_t)status->free_slots, "bad_slots",
			    (json_int_t)status->bad_slots, "faults", (json_int_t)totals->faults,
			    "events", (json_int_t)totals->events));
	return json;
}

int print_json(json_t *object)
{
	CLEANUP_FREE char *text = object ? json_dumps(object, JSON_INDENT(3)) : NULL;

	json_decref(object);
	if (!text)
		return refuse_text("needs more memory than there is; end other programs");
	text_put_json(stdout, text);
	putchar('\n');
	return EXIT_DONE;
}

/* ---- for people --------------------------------------------------------------- */

static const struct store_column spare_columns[] = {
    {"id", "number of the spare", true, false},
    {"state", "active, retiring, retired or lost", false, false},
    {"health", "ok, full: its file system is, or failed", false, false},
    {"path", "file or block device", false, false},
    {"size", "of the region", false, false},
    {"slots", "sectors it can lend", true, false},
    {"used", "slots that hold a sector", true, false},
    {"bad", "slots that failed", true, false},
    {"free", "slots left", true, false},
    {0}};

static void line(const char *key, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *key, const char *format, ...)
{
	char text[PATH_MAX + 200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	printf("%-10s  %s\n", key, text_clean(text));
}

static void print_daemon(const struct status *status)
{
	if (status->no_daemon) {
		line("daemon", "not running");
		return;
	}
	if (!status->daemon) {
		line("daemon", "%s", status->daemon_error.text);
		return;
	}
	if (daemon_says(status, "ending")) {
		line("daemon", "process %" PRIu64 ", ending: the volume was unmounted, and is being "
		     "closed", daemon_number(status, "pid"));
		return;
	}
	line("daemon", "process %" PRIu64 "%s%s%s", daemon_number(status, "pid"),
	     daemon_says(status, "read_only") ? ", read-only" : "",
	     daemon_says(status, "no_remap") ? ", moves no sectors" : "",
	     json_is_false(json_object_get(status->daemon, "main_direct"))
		 ? ", main through the page cache"
		 : "");
	line("image", "%s", daemon_text(status, "image"));
	if (daemon_number(status, "worker_deaths"))
		line("worker", "died %" PRIu64 " time%s since the mount, and was replaced; see 'remapctl "
		     "history'", daemon_number(status, "worker_deaths"),
		     plural(daemon_number(status, "worker_deaths")));
	line("requests",
	     "%" PRIu64 " reads, %" PRIu64 " writes, %" PRIu64 " errors, %" PRIu64 " commits",
	     daemon_number(status, "reads"), daemon_number(status, "writes"),
	     daemon_number(status, "errors"), daemon_number(status, "commits"));
}

/* One that is under way: how far it is now knows the daemon alone. */
static void print_scrub(const struct status *status)
{
	const json_t *scrub = json_object_get(status->daemon, "scrub");
	const char *reason = json_string_value(json_object_get(scrub, "reason"));
	uint64_t done = (uint64_t)json_integer_value(json_object_get(scrub, "done"));
	uint64_t left = (uint64_t)json_integer_value(json_object_get(scrub, "seconds_left"));
	uint64_t pace = (uint64_t)json_integer_value(json_object_get(scrub, "bytes_per_second"));
	enum scrub_state state = status->scrub.state;
	double percent = 100 / (double)status->volume->main_sectors / status->volume->sector_size;
	char size[32];

	if (!scrub)
		done = status->scrub.sector * status->volume->sector_size;
	percent *= (double)done;
	if (state == SCRUB_PAUSED)
		line("scrub", "paused at %.1f%%%s%s", percent, reason && *reason ? ": " : "",
		     reason ? reason : "");
	else if (state == SCRUB_RUNNING && !scrub)
		line("scrub", "interrupted at %.1f%%; goes on at the next mount", percent);
	else if (state == SCRUB_RUNNING)
		line("scrub", "%.1f%% read, %s/s, %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left", percent,
		     format_size(size, pace), left / 3600, left / 60 % 60, left % 60);
}

static void print_state(const struct status *status)
{
	const struct troubles *t = &status->troubles;

	line("state", "%s%s%s", volume_state_name(status->state), t->count ? ": " : "",
	     trouble_text(t, 0).text);
	for (size_t i = 1; i < t->count; i++)
		line("also", "%s%s%s", t->all[i].state == VOLUME_OK ? "" : volume_state_name(t->all[i].state),
		     t->all[i].state == VOLUME_OK ? "" : ": ", trouble_text(t, i).text);
}

static void print_lines(const struct status *status)
{
	const struct store_volume *volume = status->volume;
	const struct store_totals *totals = &status->totals;
	char size[32];

	line("volume", "%s", status->path);
	line("uuid", "%s", volume->uuid);
	print_state(status);
	line("main", "%s", volume->main_path);
	if (status->changed_since[0])
		line("changed", "something else wrote to main since the volume was last closed, at %s",
		     status->changed_since);
	line("size", "%s, %" PRIu64 " sector%s of %" PRIu32 " bytes",
	     format_size(size, volume->main_sectors * volume->sector_size), volume->main_sectors,
	     plural(volume->main_sectors), volume->sector_size);
	line("remapped", "%" PRIu64 " sector%s", totals->remapped_sectors,
	     plural(totals->remapped_sectors));
	line("pending", "%" PRIu64 " sector%s", totals->pending_sectors,
	     plural(totals->pending_sectors));
	line("free", "%" PRIu64 " of %" PRIu64 " slots (%s), %" PRIu64 " bad", status->free_slots,
	     status->slots, format_size(size, status->free_slots * volume->sector_size),
	     status->bad_slots);
	if (totals->faults)
		line("faults", "%" PRIu64 " sector%s simulated as bad: this is not how the disk "
		     "really is", totals->faults, plural(totals->faults));
	line("events", "%" PRIu64, totals->events);
	print_scrub(status);
	print_daemon(status);
}

static int add_spare_row(const struct status *status, size_t i, struct table *table)
{
	const struct store_spare *spare = &status->spares[i];
	char id[24], size[32], slots[24], used[24], bad[24], left[24];

	snprintf(id, sizeof(id), "%" PRIu32, spare->id);
	snprintf(slots, sizeof(slots), "%" PRIu64, spare->slots);
	snprintf(used, sizeof(used), "%" PRIu64, status->used[i]);
	snprintf(bad, sizeof(bad), "%" PRIu64, status->bad[i]);
	snprintf(left, sizeof(left), "%" PRIu64, status->free[i]);
	return table_add(table,
			 (const char *const[]){id, spare_state_name(spare->state),
					       volume_state_name(status->health[i]), spare->path, format_size(size, spare->length),
					       slots, used, bad, left});
}

static int print_text(const struct status *status)
{
	static const struct table_options plain;
	struct error err = {0};
	struct table *table;
	int rc;

	print_lines(status);
	putchar('\n');
	if (table_new("spares", spare_columns, &plain, &table, &err))
		return refuse(&err);
	rc = 0;
	for (size_t i = 0; i < status->spare_count && !rc; i++)
		rc = add_spare_row(status, i, table);
	if (!rc)
		rc = table_print(table);
	table_free(table);
	return rc ? refuse_store(status->path, rc) : EXIT_DONE;
}

/* ---- the picture ------------------------------------------------------------ */

static int gather(struct status *status, struct error *err)
{
	int rc = store_totals(status->store, &status->totals);

	rc = rc < 0 ? rc : store_read_scrub(status->store, &status->scrub);
	status->volume = store_volume(status->store);
	status->spares = store_spares(status->store, &status->spare_count);
	if (!rc)
		rc = count_slots(status);
	return rc ? explain_store(status->path, rc, err) : 0;
}

/* A daemon that answers knows how the volume is, whatever became of its database. */
static int open_store(struct status *status, const char *path, struct error *err)
{
	int rc;

	if (daemon_says(status, "misplaced"))
		return 0;
	rc = store_open(path, STORE_READ, &status->store, err);
	if (rc && status->daemon) {
		status->store_error = *err;
		return 0;
	}
	return rc ? rc : gather(status, err);
}

int status_open(const char *path, struct status *ret, struct error *err)
{
	char *real = realpath(path, NULL);
	int rc;

	*ret = (struct status){.path = real ? real : strdup(path)};
	if (!ret->path)
		return explain_store(path, -ENOMEM, err);
	ask_daemon(ret);
	rc = open_store(ret, path, err);
	if (rc)
		status_close(ret);
	else
		status_judge(ret);
	return rc;
}

void status_close(struct status *status)
{
	json_decref(status->daemon);
	free(status->used);
	free(status->bad);
	free(status->free);
	free(status->health);
	store_close(status->store);
	free(status->path);
}

int status_end(struct status *status)
{
	int code = status->store_error.text[0] ? refuse(&status->store_error) : EXIT_DONE;

	status_close(status);
	return code;
}

/* ---- the command ------------------------------------------------------------ */

/* The database cannot be asked: what the daemon alone can tell. */
static int print_daemon_alone(const struct status *status)
{
	line("volume", "%s", status->path);
	print_state(status);
	line("remapped", "%" PRIu64, status->totals.remapped_sectors);
	line("pending", "%" PRIu64, status->totals.pending_sectors);
	print_daemon(status);
	return EXIT_DONE;
}

static int show(const char *path, bool json)
{
	struct status status;
	struct error err = {0};
	int rc;

	if (status_open(path, &status, &err))
		return refuse(&err);
	rc = json ? print_json(status_json(&status))
	     : status.store ? print_text(&status) : print_daemon_alone(&status);
	rc |= status_end(&status);
	return rc;
}

/* Without a terminal, one picture after the other. Ctrl-C is how it ends. */
static int watch(const char *path, bool json, uint64_t seconds)
{
	bool redraw = !json && isatty(STDOUT_FILENO);
	struct progress progress;
	int rc;

	progress_begin(&progress, true);
	do {
		if (redraw)
			fputs("\033[H\033[J", stdout);
		rc = show(path, json);
		if (!redraw && !json)
			putchar('\n');
	} while (rc == EXIT_DONE && fflush(stdout) == 0 &&
		 progress_pause((unsigned)seconds * 1000));
	return rc;
}

static int read_seconds(const char *text, uint64_t *ret)
{
	struct error err = {0};

	*ret = WATCH_SECONDS;
	if (!text || parse_number(text, 1, WATCH_SECONDS_MAX, ret, &err) == 0)
		return 0;
	error_prefix(&err, "--watch");
	return refuse_misuse(&err);
}

int run_status(int argc, char **argv)
{
	static const struct option longs[] = {{"json", no_argument, NULL, 'J'},
					      {"watch", optional_argument, NULL, 'w'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	uint64_t seconds = 0, number;
	bool json = false;
	int c, rc;

	while ((c = next_option("status", argc, argv, ":Jw::h", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		if (c == '?')
			return EXIT_MISUSED;
		json |= c == 'J';
		rc = c == 'w' ? read_seconds(optarg, &seconds) : 0;
		if (rc)
			return rc;
	}
	if (seconds && argc - optind == 2 && parse_number(argv[optind], 1, WATCH_SECONDS_MAX, &number,
							  NULL) == 0)
		return misuse("status", "'%.60s' belongs to --watch: write --watch=%.60s", argv[optind],
			      argv[optind]);
	rc = check_operands("status", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	return seconds ? watch(argv[optind], json, seconds) : show(argv[optind], json);
}
