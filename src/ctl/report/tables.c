/* What moved, what is lost, and what happened, as tables. */
#include "ctl/report/report.h"

#include <ctype.h>
#include <inttypes.h>

struct listing {
	FILE *out;
	const struct store_column *columns;
};

static void put_name(FILE *out, const char *name)
{
	for (; *name; name++)
		fputc(*name == '_' ? ' ' : *name, out);
}

static void put_heading(const struct listing *l)
{
	fputs("<div class=\"rows\"><table><thead><tr>", l->out);
	for (const struct store_column *c = l->columns; c->name; c++) {
		if (c->hidden)
			continue;
		fputs(c->number ? "<th class=\"n\">" : "<th>", l->out);
		put_name(l->out, c->name);
		fputs("</th>", l->out);
	}
	fputs("</tr></thead>\n<tbody>\n", l->out);
}

static int put_row(void *context, const char *const *values)
{
	const struct listing *l = context;

	fputs("<tr>", l->out);
	for (size_t i = 0; l->columns[i].name; i++) {
		if (l->columns[i].hidden)
			continue;
		fputs(l->columns[i].number ? "<td class=\"n\">" : "<td>", l->out);
		put_text(l->out, values[i] ? values[i] : "");
		fputs("</td>", l->out);
	}
	fputs("</tr>\n", l->out);
	return 0;
}

/* shown of total rows; command lists the others. */
static void put_rest(FILE *out, uint64_t shown, uint64_t total, const char *which,
		     const char *command)
{
	if (total <= shown)
		return;
	fprintf(out, "<p class=\"quiet\">The %s ", which);
	put_number(out, shown);
	fputs(" of ", out);
	put_number(out, total);
	fprintf(out, ": <code>remapctl %s</code> lists all.</p>\n", command);
}

static int put_table(const struct report *r, enum store_table table, uint64_t limit)
{
	struct listing l = {r->out, store_columns(table)};
	const struct store_filter filter = {.limit = limit};
	struct error err;
	int rc;

	put_heading(&l);
	rc = store_query(r->status->store, table, &filter, put_row, &l, &err);
	fputs("</tbody></table></div>\n", r->out);
	return rc;
}

static int put_remaps(const struct report *r)
{
	int rc = 0;

	fputs("<section class=\"card\"><h2>Remapped sectors</h2>\n", r->out);
	if (r->status->totals.remaps) {
		put_rest(r->out, ROWS_SHOWN, r->status->totals.remaps, "first", "list");
		rc = put_table(r, STORE_REMAPS, ROWS_SHOWN);
	} else {
		fputs("<p class=\"quiet\">None: every sector is where it was.</p>\n", r->out);
	}
	fputs("</section>\n", r->out);
	return rc;
}

static int put_pending(const struct report *r)
{
	int rc;

	if (!r->status->totals.pending_sectors)
		return 0;
	fprintf(r->out, "<section class=\"card\"><h2>Pending sectors</h2>\n<p class=\"quiet\">They "
		"could not be read and have no copy: reading them fails until they are written. At "
		"most %d rows; <code>remapctl pending</code> lists all.</p>\n", ROWS_SHOWN);
	rc = put_table(r, STORE_PENDING, ROWS_SHOWN);
	fputs("</section>\n", r->out);
	return rc;
}

static int put_history(const struct report *r)
{
	int rc;

	fputs("<section class=\"card\"><h2>What happened</h2>\n", r->out);
	put_rest(r->out, EVENTS_SHOWN, r->events.total, "newest", "history");
	rc = put_table(r, STORE_HISTORY, EVENTS_SHOWN);
	fputs("</section>\n", r->out);
	return rc;
}

int report_tables(const struct report *r)
{
	int rc = put_pending(r);

	rc = rc ? rc : put_remaps(r);
	return rc ? rc : put_history(r);
}
