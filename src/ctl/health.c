/* remapctl health: one line and an exit code, as monitoring plugins have them. */
#include "ctl/status.h"

#include "remapfs/parse.h"
#include "remapfs/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl health [options] <volume>\n"
    "\n"
    "Say in one line how a volume is, with performance data, and end with an exit code,\n"
    "as the plugins of Nagios, Icinga and others do.\n"
    "\n"
    "Options:\n"
    " -w, --warning <percent>   WARNING when less of the slots is free; 20\n"
    " -c, --critical <percent>  CRITICAL when less of the slots is free; 5\n"
    "     --pending-warning <number>   WARNING from so many pending sectors on; 1\n"
    "     --pending-critical <number>  CRITICAL from so many on; never\n"
    "     --mounted             CRITICAL when no daemon runs\n"
    " -h, --help                display this help\n"
    "\n"
    "A state 'failed' or 'full' of remapctl status is CRITICAL, as is a daemon that does\n"
    "not answer within 5 s. Simulated faults are WARNING.\n"
    "\n"
    "Exit status:\n"
    " 0  OK\n"
    " 1  WARNING\n"
    " 2  CRITICAL\n"
    " 3  UNKNOWN: wrong command line, or the volume cannot be read\n";

enum health { HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL, HEALTH_UNKNOWN };

static const char *const health_names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

struct limits {
	double warning, critical; /* percent of free slots */
	uint64_t pending_warning, pending_critical; /* 0: never */
	bool mounted;
};

struct verdict {
	enum health health;
	char text[4000]; /* everything that is wrong */
};

/* ---- judging ---------------------------------------------------------------- */

static void find(struct verdict *v, enum health health, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void find(struct verdict *v, enum health health, const char *format, ...)
{
	size_t length = strlen(v->text);
	va_list args;

	if (health > v->health)
		v->health = health;
	length += (size_t)snprintf(v->text + length, sizeof(v->text) - length, "%s",
				   length ? "; " : "");
	if (length >= sizeof(v->text))
		return;
	va_start(args, format);
	vsnprintf(v->text + length, sizeof(v->text) - length, format, args);
	va_end(args);
}

static double percent_free(const struct status *s)
{
	return s->slots ? (double)s->free_slots * 100 / (double)s->slots : 0;
}

/* The pending sectors have limits of their own. */
static void judge_trouble(struct verdict *v, const struct status *s, size_t i)
{
	enum volume_state state = s->troubles.all[i].state;
	struct trouble_text text = trouble_text(&s->troubles, i);

	if (state == VOLUME_OK)
		find(v, HEALTH_WARNING, "%s", text.text);
	else if (state != VOLUME_PENDING)
		find(v, HEALTH_CRITICAL, "%s: %s", volume_state_name(state), text.text);
}

static void judge_state(struct verdict *v, const struct status *s)
{
	for (size_t i = 0; i < s->troubles.count; i++)
		judge_trouble(v, s, i);
	if (s->totals.faults)
		find(v, HEALTH_WARNING, "%" PRIu64 " sector%s %s simulated as bad",
		     s->totals.faults, plural(s->totals.faults), is_or_are(s->totals.faults));
}

static void judge_free(struct verdict *v, const struct status *s, const struct limits *limits)
{
	double percent = percent_free(s);

	if (percent < limits->critical)
		find(v, HEALTH_CRITICAL, "only %.1f%% of the slots are free", percent);
	else if (percent < limits->warning)
		find(v, HEALTH_WARNING, "only %.1f%% of the slots are free", percent);
}

static void judge_pending(struct verdict *v, const struct status *s, const struct limits *limits)
{
	uint64_t pending = s->totals.pending_sectors;
	enum health health = limits->pending_critical && pending >= limits->pending_critical
				     ? HEALTH_CRITICAL
			     : limits->pending_warning && pending >= limits->pending_warning
				     ? HEALTH_WARNING : HEALTH_OK;

	if (health != HEALTH_OK)
		find(v, health, "%" PRIu64 " sector%s %s lost until written", pending,
		     plural(pending), is_or_are(pending));
}

static void judge_daemon(struct verdict *v, const struct status *s, const struct limits *limits)
{
	if (s->no_daemon && limits->mounted)
		find(v, HEALTH_CRITICAL, "the volume is not mounted");
}

/* ---- telling ---------------------------------------------------------------- */

/* '|' begins the performance data, and there is one line. */
static void print_text(char *text)
{
	text_clean(text);
	for (char *bar = text; (bar = strchr(bar, '|'));)
		*bar = '/';
	fputs(text, stdout);
}

static void print_limit(uint64_t limit)
{
	if (limit)
		printf("%" PRIu64, limit - 1); /* a plugin's limit is exceeded, not reached */
}

static void print_figures(const struct status *s, const struct limits *limits)
{
	const struct store_totals *t = &s->totals;

	printf(" | 'free'=%.1f%%;%g:;%g:;0;100 'free_slots'=%" PRIu64 ";;;0;%" PRIu64
	       " 'remapped'=%" PRIu64 ";;;0; 'pending'=%" PRIu64 ";",
	       percent_free(s), limits->warning, limits->critical, s->free_slots, s->slots,
	       t->remapped_sectors, t->pending_sectors);
	print_limit(limits->pending_warning);
	putchar(';');
	print_limit(limits->pending_critical);
	printf(";0; 'bad_slots'=%" PRIu64 ";;;0;\n", s->bad_slots);
}

static int tell(const struct status *s, const struct limits *limits)
{
	struct verdict v = {0};

	judge_state(&v, s);
	if (s->store)
		judge_free(&v, s, limits);
	judge_pending(&v, s, limits);
	judge_daemon(&v, s, limits);
	printf("REMAPFS %s - ", health_names[v.health]);
	if (v.text[0])
		print_text(v.text);
	else
		printf("%" PRIu64 " remapped, %" PRIu64 " of %" PRIu64 " slots free%s",
		       s->totals.remapped_sectors, s->free_slots, s->slots,
		       s->no_daemon ? ", not mounted" : "");
	if (s->store)
		print_figures(s, limits);
	else
		putchar('\n');
	return (int)v.health;
}

static int judge_volume(const char *path, const struct limits *limits)
{
	struct status status;
	struct error err = {0};
	int code;

	if (status_open(path, &status, &err)) {
		/* A monitor shows what is on standard output. */
		printf("REMAPFS %s - ", health_names[HEALTH_UNKNOWN]);
		print_text(err.text);
		putchar('\n');
		return HEALTH_UNKNOWN;
	}
	code = tell(&status, limits);
	status_close(&status);
	return code;
}

/* ---- the command ------------------------------------------------------------ */

enum { OPTION_PENDING_WARNING = 256, OPTION_PENDING_CRITICAL, OPTION_MOUNTED };

static int wrong_value(struct error *err, const char *option)
{
	error_prefix(err, "%s", option);
	refuse(err);
	return HEALTH_UNKNOWN;
}

static int take_option(int c, struct limits *limits)
{
	struct error err = {0};

	switch (c) {
	case 'w':
		return parse_percent(optarg, &limits->warning, &err) < 0
			   ? wrong_value(&err, "--warning") : 0;
	case 'c':
		return parse_percent(optarg, &limits->critical, &err) < 0
			   ? wrong_value(&err, "--critical") : 0;
	case OPTION_PENDING_WARNING:
		return parse_number(optarg, 0, INT64_MAX, &limits->pending_warning, &err) < 0
			   ? wrong_value(&err, "--pending-warning") : 0;
	case OPTION_PENDING_CRITICAL:
		return parse_number(optarg, 0, INT64_MAX, &limits->pending_critical, &err) < 0
			   ? wrong_value(&err, "--pending-critical") : 0;
	case OPTION_MOUNTED:
		limits->mounted = true;
		return 0;
	}
	return HEALTH_UNKNOWN;
}

int run_health(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"warning", required_argument, NULL, 'w'},
	    {"critical", required_argument, NULL, 'c'},
	    {"pending-warning", required_argument, NULL, OPTION_PENDING_WARNING},
	    {"pending-critical", required_argument, NULL, OPTION_PENDING_CRITICAL},
	    {"mounted", no_argument, NULL, OPTION_MOUNTED},
	    {"help", no_argument, NULL, 'h'},
	    {0}};
	static const char *const names[] = {"VOLUME"};
	struct limits limits = {.warning = 20, .critical = 5, .pending_warning = 1};
	int c, rc;

	while ((c = next_option("health", argc, argv, ":w:c:h", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		rc = take_option(c, &limits);
		if (rc)
			return rc;
	}
	if (check_operands("health", argc, argv, 1, 1, names))
		return HEALTH_UNKNOWN;
	if (limits.critical > limits.warning) {
		misuse("health", "--critical is above --warning");
		return HEALTH_UNKNOWN;
	}
	return judge_volume(argv[optind], &limits);
}
