/* remapctl report: everything about a volume, on one page that needs nothing else. */
#include "ctl/report/report.h"

#include "ctl/output.h"

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl report [options] <volume>\n"
    "\n"
    "Write one page of HTML about a volume: a map of its sectors that zooms, its spares\n"
    "and how full they are, events over time, and tables. The page needs nothing else\n"
    "and loads nothing, and can be sent as it is; it tells paths.\n"
    "\n"
    "Options:\n"
    " -o, --output <file>  where to; a file is replaced as a whole. By default, and with\n"
    "                      '-', standard output\n"
    " -h, --help           display this help\n"
    "\n"
    "Example:\n"
    " remapctl report -o disk.html disk.remap\n";

/* ---- the head of the page --------------------------------------------------------- */

static void put_head(const struct report *r)
{
	/* Whatever got past the escapes would still find nothing to load from. */
	fputs("<!DOCTYPE html>\n"
	      "<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
	      "<meta charset=\"utf-8\"/>\n"
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	      "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri "
	      "'none'; form-action 'none'\"/>\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
	      "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
	      "<meta name=\"referrer\" content=\"no-referrer\"/>\n"
	      "<link rel=\"icon\" href=\"data:,\"/>\n"
	      "<title>", r->out);
	put_text(r->out, r->status->path);
	fprintf(r->out, " - remapfs</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n",
		report_page_css);
}

static void put_fact(FILE *out, const char *name, const char *value)
{
	fprintf(out, "<dt>%s</dt><dd class=\"mono\"><bdi>", name);
	put_text(out, value);
	fputs("</bdi></dd>\n", out);
}

static const char *name_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static void put_daemon(const struct report *r)
{
	const struct status *s = r->status;

	if (s->daemon)
		put_fact(r->out, "Image", daemon_text(s, "image"));
	else
		put_fact(r->out, "Daemon", s->no_daemon ? "not running" : s->daemon_error.text);
}

static void put_size(const struct report *r)
{
	const struct store_volume *v = r->status->volume;
	char size[32], text[128];

	put_fact(r->out, "Main", v->main_path);
	snprintf(text, sizeof(text), "%s, %" PRIu64 " sectors of %" PRIu32 " bytes",
		 format_size(size, v->main_sectors * v->sector_size), v->main_sectors,
		 v->sector_size);
	put_fact(r->out, "Size", text);
	put_fact(r->out, "UUID", v->uuid);
}

static void put_trouble(FILE *out, const struct troubles *t, size_t i)
{
	const char *state = volume_state_name(t->all[i].state);

	fprintf(out, "<p><span class=\"badge %s\">%s</span> <span class=\"quiet\">", state, state);
	put_text(out, trouble_text(t, i).text);
	fputs("</span></p>\n", out);
}

static void put_header(const struct report *r)
{
	const struct status *s = r->status;

	fputs("<header><h1><bdi>", r->out);
	put_text(r->out, name_of(s->path));
	fprintf(r->out, "</bdi></h1>\n<p><span class=\"badge %s\">%s</span> <span class=\"quiet\">",
		volume_state_name(s->state), volume_state_name(s->state));
	put_text(r->out, trouble_text(&s->troubles, 0).text);
	fputs("</span></p>\n", r->out);
	for (size_t i = 1; i < s->troubles.count; i++)
		put_trouble(r->out, &s->troubles, i);
	fputs("<dl class=\"facts\">\n", r->out);
	put_fact(r->out, "Volume", s->path);
	if (s->store)
		put_size(r);
	put_daemon(r);
	fputs("</dl></header>\n", r->out);
	if (s->totals.faults) {
		fputs("<p class=\"card\"><span class=\"badge pending\">simulated</span> ", r->out);
		put_number(r->out, s->totals.faults);
		fputs(" sectors are simulated as bad: this is not how the disk really is.</p>\n",
		      r->out);
	}
}

/* ---- the figures -------------------------------------------------------------------- */

static void put_tile(FILE *out, uint64_t figure, const char *what, bool alarm)
{
	fprintf(out, "<div class=\"tile%s\"><b>", alarm ? " alarm" : "");
	put_number(out, figure);
	fprintf(out, "</b><span>%s</span></div>\n", what);
}

static void put_free(const struct report *r)
{
	const struct status *s = r->status;

	fprintf(r->out, "<div class=\"tile%s\"><b>%.1f %%</b><span>slots free (",
		s->free_slots ? "" : " alarm",
		s->slots ? (double)s->free_slots * 100 / (double)s->slots : 0);
	put_number(r->out, s->free_slots);
	fputs(")</span></div>\n", r->out);
}

static void put_forecast(const struct report *r)
{
	double rate = events_rate(&r->events);
	double days = rate > 0 ? (double)r->status->free_slots / rate : 0;

	if (rate <= 0)
		fprintf(r->out, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n",
			rate < 0 ? "?" : "\u221e", rate < 0 ? "days the spares last: too early to tell"
							    : "no slot was used up of late");
	else
		put_tile(r->out, days < 1e6 ? (uint64_t)days : 1000000,
			 "days the spares last at this rate", days < 30);
}

static void put_tiles(const struct report *r)
{
	const struct status *s = r->status;

	fputs("<div class=\"tiles\">\n", r->out);
	put_tile(r->out, s->totals.remapped_sectors, "sectors remapped", false);
	put_tile(r->out, s->totals.pending_sectors, "sectors pending", s->totals.pending_sectors);
	put_free(r);
	put_tile(r->out, s->bad_slots, "slots bad", false);
	put_forecast(r);
	put_tile(r->out, r->events.total, "events", false);
	fputs("</div>\n", r->out);
}

/* ---- the page ----------------------------------------------------------------------- */

static void put_end(const struct report *r)
{
	fputs("<footer>Made by remapctl report of remapfs " REMAPFS_VERSION " at ", r->out);
	put_time(r->out, r->now);
	fprintf(r->out, ".</footer>\n</main>\n<script>//<![CDATA[\n%s//]]></script>\n</body>\n"
		"</html>\n", report_page_js);
}

static int put_database(const struct report *r)
{
	int rc;

	put_tiles(r);
	rc = report_map(r);
	rc = rc ? rc : report_spares(r);
	rc = rc ? rc : report_timeline(r);
	return rc ? rc : report_tables(r);
}

static int put_page(const struct report *r)
{
	int rc;

	put_head(r);
	put_header(r);
	rc = r->status->store ? put_database(r) : 0;
	put_end(r);
	return rc;
}

static int make_cells(struct report *r)
{
	const struct status *s = r->status;
	int rc;

	r->spares_shown = s->spare_count < SPARES_SHOWN ? s->spare_count : SPARES_SHOWN;
	r->spare = calloc(r->spares_shown, sizeof(*r->spare));
	rc = r->spare ? cells_new(&r->main, s->volume->main_sectors, MAP_COLUMNS * MAP_ROWS, true)
		      : -ENOMEM;
	for (size_t i = 0; i < r->spares_shown && !rc; i++)
		rc = cells_new(&r->spare[i], s->spares[i].slots, MAP_COLUMNS * STRIP_ROWS, true);
	return rc ? rc : cells_fill(s->store, &r->main, r->spare, s->spares, r->spares_shown);
}

static void free_cells(struct report *r)
{
	for (size_t i = 0; r->spare && i < r->spares_shown; i++)
		cells_free(&r->spare[i]);
	cells_free(&r->main);
	free(r->spare);
}

/* The caller frees *ret_page. */
static int make_page(const struct status *status, char **ret_page, size_t *ret_size,
		     struct error *err)
{
	struct report r = {.status = status, .now = time(NULL)};
	int rc = status->store ? events_read(status->store, r.now, &r.events, err) : 0;

	if (rc)
		return rc;
	r.out = open_memstream(ret_page, ret_size);
	rc = !r.out ? -ENOMEM : status->store ? make_cells(&r) : 0;
	rc = rc ? rc : put_page(&r);
	free_cells(&r);
	if (r.out && fclose(r.out) != 0)
		rc = -ENOMEM;
	return rc ? explain_store(status->path, rc, err) : 0;
}

static int report(const char *volume, const char *path)
{
	CLEANUP_FREE char *page = NULL;
	struct status status;
	struct error err = {0};
	size_t size = 0;
	int rc = status_open(volume, &status, &err);

	if (rc)
		return refuse(&err);
	rc = make_page(&status, &page, &size, &err);
	rc = rc ? rc : output_put(path, page, size, &(struct output_volume){status.path, status.store},
				 &err);
	rc = rc ? refuse(&err) : EXIT_DONE;
	return rc | status_end(&status);
}

int run_report(int argc, char **argv)
{
	static const struct option longs[] = {
	    {"output", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
	static const char *const names[] = {"VOLUME"};
	const char *path = NULL;
	int c, rc;

	while ((c = next_option("report", argc, argv, ":o:h", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		if (c == '?')
			return EXIT_MISUSED;
		path = optarg;
	}
	rc = check_operands("report", argc, argv, 1, 1, names);
	if (!rc && path && !*path)
		rc = misuse("report", "--output is empty");
	return rc ? rc : report(argv[optind], path);
}
