/* remapctl metrics: a volume for Prometheus, in its text exposition format. */
#include "ctl/events.h"
#include "ctl/output.h"
#include "ctl/status.h"

#include "remapfs/cleanup.h"
#include "remapfs/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl metrics [options] <volume>\n"
    "\n"
    "Print the figures of a volume in the text format of Prometheus. With -o, for the\n"
    "textfile collector of node_exporter: run it every minute, with a file for each\n"
    "volume whose name ends in .prom.\n"
    "\n"
    "Options:\n"
    " -o, --output <file>  write to a file, which is replaced as a whole\n"
    " -h, --help           display this help\n"
    "\n"
    "Example:\n"
    " remapctl metrics -o /var/lib/prometheus/node-exporter/disk.prom disk.remap\n";

struct metrics {
	FILE *out;
	const struct status *status;
	char *volume; /* the label of every sample, escaped */
};

/*
 * The text as the value of a label, what is unsafe (text.h) as '?'; the caller frees it.
 * NULL: no memory.
 */
static char *escape_label(const char *text)
{
	CLEANUP_FREE char *clean = strdup(text);
	char *escaped = clean ? malloc(strlen(clean) * 2 + 1) : NULL, *to = escaped;

	if (!escaped)
		return NULL;
	for (const char *c = text_clean(clean); *c; c++) {
		if (*c == '\\' || *c == '"')
			*to++ = '\\';
		*to++ = *c;
	}
	*to = 0;
	return escaped;
}

static void family(const struct metrics *m, const char *name, const char *type, const char *help)
{
	fprintf(m->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* labels: more than the volume, as ',name="value"', or "". */
static void sample(const struct metrics *m, const char *name, const char *labels, uint64_t value)
{
	fprintf(m->out, "%s{volume=\"%s\"%s} %" PRIu64 "\n", name, m->volume, labels, value);
}

static void single(const struct metrics *m, const char *name, const char *type, const char *help,
		   uint64_t value)
{
	family(m, name, type, help);
	sample(m, name, "", value);
}

static int print_info(const struct metrics *m)
{
	CLEANUP_FREE char *main = escape_label(m->status->volume->main_path);
	CLEANUP_FREE char *uuid = escape_label(m->status->volume->uuid);

	if (!main || !uuid)
		return -ENOMEM;
	family(m, "remapfs_volume_info", "gauge", "What the volume is; always 1.");
	fprintf(m->out, "remapfs_volume_info{volume=\"%s\",uuid=\"%s\",main=\"%s\",version=\""
		REMAPFS_VERSION "\"} 1\n", m->volume, uuid, main);
	return 0;
}

static int print_trouble(const struct metrics *m, const struct trouble *t)
{
	CLEANUP_FREE char *cause = escape_label(t->cause), *remedy = escape_label(t->remedy);
	CLEANUP_FREE char *labels = NULL;

	if (!cause || !remedy ||
	    asprintf(&labels, ",state=\"%s\",spare=\"%.0" PRIu32 "\",cause=\"%s\",remedy=\"%s\"",
		     volume_state_name(t->state), t->spare, cause, remedy) < 0)
		return -ENOMEM;
	sample(m, "remapfs_volume_trouble", labels, 1);
	return 0;
}

static int print_state(const struct metrics *m)
{
	const struct status *s = m->status;
	int rc = 0;

	family(m, "remapfs_volume_state", "gauge",
	       "1 for the state that the volume is in, 0 for the others.");
	for (enum volume_state state = VOLUME_OK; state <= VOLUME_FAILED; state++) {
		char labels[32];

		snprintf(labels, sizeof(labels), ",state=\"%s\"", volume_state_name(state));
		sample(m, "remapfs_volume_state", labels, s->state == state);
	}
	family(m, "remapfs_volume_trouble", "gauge",
	       "One sample for each thing that is wrong, with its cause and its remedy; always 1.");
	for (size_t i = 0; i < s->troubles.count && rc == 0; i++)
		rc = print_trouble(m, &s->troubles.all[i]);
	return rc;
}

static void print_volume(const struct metrics *m)
{
	const struct status *s = m->status;
	uint32_t sector_size = s->volume->sector_size;

	single(m, "remapfs_main_size_bytes", "gauge", "Size of main.",
	       s->volume->main_sectors * sector_size);
	single(m, "remapfs_sector_size_bytes", "gauge", "Size of a sector and of a slot.",
	       sector_size);
	single(m, "remapfs_remapped_sectors", "gauge", "Sectors that live on a spare.",
	       s->totals.remapped_sectors);
	single(m, "remapfs_pending_sectors", "gauge",
	       "Sectors that are lost until they are written.", s->totals.pending_sectors);
	single(m, "remapfs_simulated_faulty_sectors", "gauge",
	       "Sectors that remapctl inject made bad.", s->totals.faults);
	single(m, "remapfs_free_slots", "gauge", "Slots that can be lent, of all spares.",
	       s->free_slots);
}

/* One family of one sample for each spare. labels has theirs. */
static void print_slots(const struct metrics *m, char *const *labels, const char *name,
			const char *help, uint64_t (*value)(const struct status *, size_t))
{
	family(m, name, "gauge", help);
	for (size_t i = 0; i < m->status->spare_count; i++)
		sample(m, name, labels[i], value(m->status, i));
}

static uint64_t slots_of(const struct status *s, size_t i)
{
	return s->spares[i].slots;
}

static uint64_t used_of(const struct status *s, size_t i)
{
	return s->used[i];
}

static uint64_t bad_of(const struct status *s, size_t i)
{
	return s->bad[i];
}

static uint64_t free_of(const struct status *s, size_t i)
{
	return s->free[i];
}

static uint64_t works_of(const struct status *s, size_t i)
{
	return s->health[i] == VOLUME_OK;
}

static char *spare_labels(const struct store_spare *spare)
{
	CLEANUP_FREE char *path = escape_label(spare->path);
	char *labels;

	if (!path || asprintf(&labels, ",spare=\"%" PRIu32 "\",path=\"%s\",state=\"%s\"", spare->id,
			      path, spare_state_name(spare->state)) < 0)
		return NULL;
	return labels;
}

static int print_spares(const struct metrics *m)
{
	size_t count = m->status->spare_count, made = 0;
	CLEANUP_FREE char **labels = calloc(count, sizeof(*labels));

	while (labels && made < count && (labels[made] = spare_labels(&m->status->spares[made])))
		made++;
	if (made == count) {
		print_slots(m, labels, "remapfs_spare_slots", "Slots of the spare.", slots_of);
		print_slots(m, labels, "remapfs_spare_used_slots", "Slots that hold a sector.",
			    used_of);
		print_slots(m, labels, "remapfs_spare_bad_slots", "Slots that failed.", bad_of);
		print_slots(m, labels, "remapfs_spare_free_slots", "Slots that can be lent.",
			    free_of);
		print_slots(m, labels, "remapfs_spare_works", "Whether the spare does what is asked.",
			    works_of);
	}
	for (size_t i = 0; i < made; i++)
		free(labels[i]);
	return made == count ? 0 : -ENOMEM;
}

static int print_events(const struct metrics *m, const struct events *events)
{
	family(m, "remapfs_events_total", "counter", "Rows of the history, by event.");
	for (size_t i = 0; i < events->kinds; i++) {
		CLEANUP_FREE char *name = escape_label(events->kind[i].name);
		char labels[128];

		if (!name)
			return -ENOMEM;
		snprintf(labels, sizeof(labels), ",event=\"%s\"", name);
		sample(m, "remapfs_events_total", labels, events->kind[i].count);
	}
	return 0;
}

/* Counters begin anew with every mount, as Prometheus expects it of a restart. */
static void print_daemon(const struct metrics *m)
{
	static const struct {
		const char *key, *name, *help;
	} counters[] = {
	    {"reads", "remapfs_reads_total", "Read requests since the volume was mounted."},
	    {"writes", "remapfs_writes_total", "Write requests since the volume was mounted."},
	    {"errors", "remapfs_errors_total", "Requests that failed since it was mounted."},
	    {"commits", "remapfs_commits_total", "Commits of the map since it was mounted."},
	    {"worker_deaths", "remapfs_worker_deaths_total",
	     "Deaths of the worker since it was mounted."},
	};
	const struct status *s = m->status;

	single(m, "remapfs_daemon_up", "gauge", "Whether the volume is mounted and answers.",
	       s->daemon != NULL);
	for (size_t i = 0; s->daemon && i < sizeof(counters) / sizeof(*counters); i++)
		single(m, counters[i].name, "counter", counters[i].help,
		       daemon_number(s, counters[i].key));
	if (s->daemon)
		single(m, "remapfs_map_size_bytes", "gauge", "Memory that the map takes.",
		       daemon_number(s, "map_bytes"));
}

static int print_database(const struct metrics *m, const struct events *events)
{
	int rc = print_info(m);

	if (rc < 0)
		return rc;
	print_volume(m);
	rc = print_spares(m);
	return rc < 0 ? rc : print_events(m, events);
}

static int print_all(struct metrics *m, const struct events *events)
{
	int rc;

	m->volume = escape_label(m->status->path);
	rc = m->volume ? print_state(m) : -ENOMEM;
	if (rc == 0 && m->status->store)
		rc = print_database(m, events);
	if (rc == 0)
		print_daemon(m);
	free(m->volume);
	return rc;
}

static int put(const struct status *status, const char *path, struct error *err)
{
	struct metrics metrics = {.status = status};
	CLEANUP_FREE char *text = NULL;
	struct events events = {0};
	size_t size;
	int rc = status->store ? events_read(status->store, time(NULL), &events, err) : 0;

	if (rc)
		return rc;
	metrics.out = open_memstream(&text, &size);
	rc = metrics.out ? print_all(&metrics, &events) : -ENOMEM;
	if (metrics.out && fclose(metrics.out) != 0)
		rc = -ENOMEM;
	return rc ? explain_store(status->path, rc, err)
		  : output_put(path, text, size,
			       &(struct output_volume){status->path, status->store}, err);
}

int run_metrics(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
	static const char *const names[] = {"VOLUME"};
	const char *path = NULL;
	struct status status;
	struct error err = {0};
	int c, rc;

	while ((c = next_option("metrics", argc, argv, ":o:h", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		if (c == '?')
			return EXIT_MISUSED;
		path = optarg;
	}
	rc = check_operands("metrics", argc, argv, 1, 1, names);
	if (!rc && path && !*path)
		rc = misuse("metrics", "--output is empty");
	if (rc)
		return rc;
	if (status_open(argv[optind], &status, &err))
		return refuse(&err);
	rc = put(&status, path, &err);
	rc = rc ? refuse(&err) : EXIT_DONE;
	return rc | status_end(&status);
}
