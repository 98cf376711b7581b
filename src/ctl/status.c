/* remapctl status: the database and, where one runs, the daemon, as one picture. */
#include "ctl/status.h"

#include "ctl/progress.h"
#include "ctl/remains.h"

#include "remapfs/check.h"
#include "remapfs/cleanup.h"
#include "remapfs/parse.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
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
    "States, gravest first:\n"
    " failed   main, a flush or the database failed, or it could not be mounted;\n"
    "          why is told beside the state, in JSON as trouble\n"
    " full     a write found too few free slots, or none is left\n"
    " pending  sectors are lost: reading them fails until they are written\n"
    " ok       none of these\n";

enum { WATCH_SECONDS = 2, WATCH_SECONDS_MAX = 86400 };

/* ---- what there is ---------------------------------------------------------- */

bool spare_has_left(const struct store_spare *spare)
{
	return spare->state == SPARE_RETIRED || spare->state == SPARE_LOST;
}

uint64_t status_free_of(const struct status *status, size_t i)
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
	if (!status->used || !status->bad)
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
		status->free_slots += status_free_of(status, i);
	}
	return 0;
}

static void ask_daemon(struct status *status)
{
	int rc = control_ask(status->path, "status", &status->daemon, &status->daemon_error);

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

/* Whether a file of a volume that nobody serves is not where it was. */
static bool is_missing(struct status *status)
{
	struct stat st;

	if (stat(status->volume->main_path, &st) < 0) {
		error_set(&status->trouble, errno, "main '%s': %s; give it back its place, or "
			  "tell the volume its path with 'remapctl set-path --main'",
			  status->volume->main_path, strerror(errno));
		return true;
	}
	if (S_ISREG(st.st_mode) &&
	    (uint64_t)st.st_size != status->volume->main_sectors * status->volume->sector_size) {
		error_set(&status->trouble, EBADMSG, "main '%s' has another size; give the right "
			  "file back its place", status->volume->main_path);
		return true;
	}
	for (size_t i = 0; i < status->spare_count; i++) {
		if (spare_has_left(&status->spares[i]) || stat(status->spares[i].path, &st) == 0)
			continue;
		error_set(&status->trouble, errno, "spare '%s': %s; give it back its place, or "
			  "tell the volume its path with 'remapctl set-path --spare'",
			  status->spares[i].path, strerror(errno));
		return true;
	}
	return false;
}

/* Nobody serves a mount of it any more, or nobody gets at it. */
static bool is_out_of_reach(struct status *status)
{
	struct dead_mount dead;
	struct error hidden = {0};

	if (dead_mount_of(status->path, &dead))
		dead_mount_explain(&dead, &status->trouble);
	else if (status->daemon && mount_reach(status->daemon, &hidden) == MOUNT_HIDDEN)
		status->trouble = hidden;
	else
		return false;
	return true;
}

/* The gravest state, and why in words where the daemon has none. */
static void judge(struct status *status)
{
	bool failed = daemon_says(status, "main_failed") || daemon_says(status, "flush_failed") ||
		      daemon_says(status, "commit_failed");

	status->state = "ok";
	if (status->totals.pending_sectors) {
		status->state = "pending";
		error_set(&status->trouble, EIO,
			  "some sectors are lost: reading them fails until they are written");
	}
	if (!status->free_slots || daemon_says(status, "spares_full")) {
		status->state = "full";
		error_set(&status->trouble, ENOSPC,
			  "no spare slot is free: the next bad sector cannot be moved");
	}
	status->out_of_reach = is_out_of_reach(status);
	if (status->out_of_reach) {
		status->state = "failed";
	} else if (!status->daemon &&
	    (is_missing(status) ||
	     (status->no_daemon && volume_look(status->store, &status->trouble) < 0))) {
		status->state = "failed";
	} else if (failed) {
		status->state = "failed";
		error_set(&status->trouble, EIO, "main, a flush or the database failed");
	}
	if (*daemon_text(status, "trouble"))
		error_set(&status->trouble, EIO, "%.400s", daemon_text(status, "trouble"));
}

/* ---- JSON ------------------------------------------------------------------- */

json_t *json_text(const char *text)
{
	json_t *string = json_string(text);
	CLEANUP_FREE char *ascii = string ? NULL : strdup(text);

	for (char *c = ascii; c && *c; c++)
		if (*c & 0x80)
			*c = '?';
	return string ? string : json_string(ascii ? ascii : "");
}

static json_t *spares_json(const struct status *status)
{
	json_t *array = json_array();

	for (size_t i = 0; i < status->spare_count; i++) {
		const struct store_spare *spare = &status->spares[i];

		json_array_append_new(
		    array,
		    json_pack("{s:I, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
			      (json_int_t)spare->id, "uuid", spare->uuid, "state",
			      spare_state_name(spare->state), "path",
			      json_text(spare->path), "offset", (json_int_t)spare->offset, "length",
			      (json_int_t)spare->length, "slots", (json_int_t)spare->slots, "used",
			      (json_int_t)status->used[i], "bad", (json_int_t)status->bad[i],
			      "free", (json_int_t)status_free_of(status, i)));
	}
	return array;
}

static json_t *daemon_json(const struct status *status)
{
	json_t *object = json_pack("{s:b}", "running", !status->no_daemon);

	if (status->daemon) {
		json_object_update(object, status->daemon);
		json_object_del(object, "ok");
	} else if (!status->no_daemon) {
		json_object_set_new(object, "error", json_text(status->daemon_error.text));
	}
	return object;
}

static json_t *main_json(const struct store_volume *volume)
{
	return json_pack("{s:o, s:I, s:I, s:I}", "path", json_text(volume->main_path), "size",
			 (json_int_t)(volume->main_sectors * volume->sector_size), "sectors",
			 (json_int_t)volume->main_sectors, "sector_size",
			 (json_int_t)volume->sector_size);
}

static json_t *status_json(const struct status *status)
{
	const struct store_totals *totals = &status->totals;

	return json_pack(
	    "{s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "volume",
	    json_text(status->path), "uuid", status->volume->uuid, "state", status->state,
	    "trouble", json_text(status->trouble.text), "main", main_json(status->volume), "spares",
	    spares_json(status), "remapped_sectors", (json_int_t)totals->remapped_sectors,
	    "pending_sectors", (json_int_t)totals->pending_sectors, "free_slots",
	    (json_int_t)status->free_slots, "bad_slots", (json_int_t)status->bad_slots, "faults",
	    (json_int_t)totals->faults, "events", (json_int_t)totals->events, "daemon",
	    daemon_json(status));
}

int print_json(json_t *object)
{
	if (!object)
		return refuse_text("needs more memory than there is; end other programs");
	json_dumpf(object, stdout, JSON_INDENT(3));
	putchar('\n');
	json_decref(object);
	return EXIT_DONE;
}

/* ---- for people --------------------------------------------------------------- */

static const struct store_column spare_columns[] = {
    {"id", "number of the spare", true, false},
    {"state", "active, retiring, retired or lost", false, false},
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
	for (char *c = text; *c; c++)
		if (iscntrl((unsigned char)*c))
			*c = '?';
	printf("%-10s  %s\n", key, text);
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
	line("daemon", "process %" PRIu64 "%s%s%s", daemon_number(status, "pid"),
	     daemon_says(status, "read_only") ? ", read-only" : "",
	     daemon_says(status, "no_remap") ? ", moves no sectors" : "",
	     json_is_false(json_object_get(status->daemon, "main_direct"))
		 ? ", main through the page cache"
		 : "");
	line("image", "%s", daemon_text(status, "image"));
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

static void print_lines(const struct status *status)
{
	const struct store_volume *volume = status->volume;
	const struct store_totals *totals = &status->totals;
	char size[32];

	line("volume", "%s", status->path);
	line("uuid", "%s", volume->uuid);
	line("state", "%s%s%s", status->state, status->trouble.text[0] ? ": " : "",
	     status->trouble.text);
	line("main", "%s", volume->main_path);
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
	snprintf(left, sizeof(left), "%" PRIu64, status_free_of(status, i));
	return table_add(table,
			 (const char *const[]){id, spare_state_name(spare->state),
					       spare->path, format_size(size, spare->length),
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
	if (rc)
		return explain_store(status->path, rc, err);
	judge(status);
	return 0;
}

int status_open(const char *path, struct status *ret, struct error *err)
{
	char *real = realpath(path, NULL);
	int rc;

	*ret = (struct status){.path = real ? real : strdup(path)};
	if (!ret->path)
		return explain_store(path, -ENOMEM, err);
	ask_daemon(ret);
	if (daemon_says(ret, "misplaced"))
		rc = error_set(err, ESTALE, "%.400s", daemon_text(ret, "trouble"));
	else
		rc = store_open(path, STORE_READ, &ret->store, err);
	if (!rc)
		rc = gather(ret, err);
	if (rc)
		status_close(ret);
	return rc;
}

void status_close(struct status *status)
{
	json_decref(status->daemon);
	free(status->used);
	free(status->bad);
	store_close(status->store);
	free(status->path);
}

/* ---- the command ------------------------------------------------------------ */

/* The database cannot be asked: what the daemon alone can tell. */
static int show_daemon(struct status *status, bool json)
{
	status->state = "failed";
	error_set(&status->trouble, EIO, "%.400s", daemon_text(status, "trouble"));
	if (json)
		return print_json(json_pack("{s:o, s:s, s:s, s:o}", "volume",
					    json_text(status->path), "state", status->state,
					    "trouble", status->trouble.text, "daemon",
					    daemon_json(status)));
	line("volume", "%s", status->path);
	line("state", "%s%s%s", status->state, status->trouble.text[0] ? ": " : "",
	     status->trouble.text);
	line("remapped", "%" PRIu64, daemon_number(status, "remapped_sectors"));
	line("pending", "%" PRIu64, daemon_number(status, "pending_sectors"));
	print_daemon(status);
	return EXIT_DONE;
}

static int show_without_database(const char *path, bool json, const struct error *err)
{
	char *real = realpath(path, NULL);
	struct status status = {.path = real ? real : strdup(path)};
	int rc = EXIT_DONE;

	if (status.path)
		ask_daemon(&status);
	if (status.daemon)
		rc = show_daemon(&status, json);
	if (!daemon_says(&status, "misplaced"))
		rc |= refuse(err);
	status_close(&status);
	return rc;
}

static int show(const char *path, bool json)
{
	struct status status;
	struct error err = {0};
	int rc;

	if (status_open(path, &status, &err))
		return show_without_database(path, json, &err);
	rc = json ? print_json(status_json(&status)) : print_text(&status);
	status_close(&status);
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
