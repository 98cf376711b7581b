/* The map of main: drawn as a whole here, and from the extents by page.js. */
#include "ctl/report/report.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <inttypes.h>

/* ---- the extents that are not good, few enough for a page ------------------------ */

struct span {
	uint64_t start, end;
	enum cell_state state;
};

/*
 * When there are too many, all of them are rounded to twice as many sectors,
 * and what then touches is one.
 */
struct spans {
	struct span *span;
	size_t count;
	uint64_t rounded; /* to so many sectors; 1: exact */
	uint64_t end;     /* of main */
};

static void add_span(struct spans *s, struct span span)
{
	struct span *last = s->count ? &s->span[s->count - 1] : NULL;

	span.start -= span.start % s->rounded;
	span.end += (s->rounded - span.end % s->rounded) % s->rounded;
	if (span.end > s->end)
		span.end = s->end;
	if (last && span.start < last->end) {
		/* Rounding made them overlap: the worse of the two is what is shown. */
		if (span.state == last->state) {
			last->end = span.end > last->end ? span.end : last->end;
			return;
		}
		if (span.state > last->state)
			last->state = span.state;
		span.start = last->end;
	}
	if (last && span.start == last->end && span.state == last->state)
		last->end = span.end;
	else if (span.start < span.end)
		/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the analyser takes &a[i] for NULL */
		s->span[s->count++] = span;
}

static void make_room(struct spans *s)
{
	while (s->count == EXTENTS_MAX) {
		size_t count = s->count;

		s->rounded *= 2;
		s->count = 0;
		for (size_t i = 0; i < count; i++)
			add_span(s, s->span[i]);
	}
}

static int add_extent(void *context, const struct extent *e)
{
	enum cell_state state = e->state == SECTOR_REMAPPED ? CELL_REMAPPED
				: e->spare == ON_MAIN ? CELL_PENDING : CELL_FAULTY;

	make_room(context);
	add_span(context, (struct span){e->start, extent_end(e), state});
	return 0;
}

static unsigned lines_of(const struct cells *cells)
{
	return (unsigned)((cells->count + MAP_COLUMNS - 1) / MAP_COLUMNS);
}

static int put_extents(const struct report *r)
{
	CLEANUP_FREE struct span *span = calloc(EXTENTS_MAX, sizeof(*span));
	struct spans s = {.span = span, .rounded = 1, .end = r->main.sectors};
	uint64_t at = 0;
	int rc = span ? store_each_extent(r->status->store, add_extent, &s) : -ENOMEM;

	if (rc)
		return rc;
	fprintf(r->out, "<script type=\"application/json\" id=\"extents\">{\"sectors\":%" PRIu64
		",\"columns\":%d,\"rows\":%u,\"pitch\":%d,\"block\":%d,\"left\":%d,\"step\":%" PRIu64 ",\"extents\":[",
		r->main.sectors, MAP_COLUMNS, lines_of(&r->main), MAP_PITCH, MAP_BLOCK, MAP_LEFT,
		s.rounded);
	for (size_t i = 0; i < s.count; i++) {
		fprintf(r->out, "%s%" PRIu64 ",%" PRIu64 ",%d", i ? "," : "", span[i].start - at,
			span[i].end - span[i].start, (int)span[i].state);
		at = span[i].end;
	}
	fputs("]}</script>\n", r->out);
	if (s.rounded > 1)
		fprintf(r->out, "<p class=\"quiet hint\">There are so many that the map goes no "
			"closer than %" PRIu64 " sectors a block.</p>\n", s.rounded);
	return 0;
}

/* ---- the picture ------------------------------------------------------------------ */

static void put_title(const struct report *r, size_t i)
{
	static const char *const names[] = {"good", "remapped", "pending", "faulty spare"};
	const struct cell *cell = &r->main.cell[i];
	const char *between = ": ";

	fputs("<title>sectors ", r->out);
	put_number(r->out, i * r->main.per_cell);
	fputs(" to ", r->out);
	put_number(r->out, i * r->main.per_cell + cells_size_of(&r->main, i) - 1);
	for (enum cell_state state = CELL_REMAPPED; state < CELL_STATES; state++) {
		if (!cell->in[state])
			continue;
		fputs(between, r->out);
		put_number(r->out, cell->in[state]);
		fprintf(r->out, " %s", names[state]);
		between = ", ";
	}
	fputs("</title></rect>\n", r->out);
}

/* Good blocks are a pattern: there are many, and nothing is to be said of them. */
static void put_good(const struct report *r)
{
	unsigned lines = lines_of(&r->main);
	unsigned rest = (unsigned)(r->main.count % MAP_COLUMNS);

	fprintf(r->out, "<defs><pattern id=\"good\" x=\"%d\" width=\"%d\" height=\"%d\" "
		"patternUnits=\"userSpaceOnUse\"><rect class=\"c0\" width=\"%d\" height=\"%d\" "
		"rx=\"2\"/></pattern></defs>\n", MAP_LEFT, MAP_PITCH, MAP_PITCH, MAP_BLOCK,
		MAP_BLOCK);
	fprintf(r->out, "<rect fill=\"url(#good)\" x=\"%d\" width=\"%d\" height=\"%u\"/>\n", MAP_LEFT,
		MAP_COLUMNS * MAP_PITCH, (rest ? lines - 1 : lines) * MAP_PITCH);
	if (rest)
		fprintf(r->out, "<rect fill=\"url(#good)\" x=\"%d\" y=\"%u\" width=\"%u\" "
			"height=\"%d\"/>\n", MAP_LEFT, (lines - 1) * MAP_PITCH, rest * MAP_PITCH,
			MAP_PITCH);
}

static void put_labels(const struct report *r)
{
	fputs("<g id=\"labels\">", r->out);
	for (size_t i = 0; i < r->main.count; i += MAP_COLUMNS) {
		fprintf(r->out, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">", MAP_LEFT - 10,
			i / MAP_COLUMNS * MAP_PITCH + MAP_BLOCK - 1);
		put_number(r->out, i * r->main.per_cell);
		fputs("</text>", r->out);
	}
	fputs("</g>\n", r->out);
}

static void put_svg(const struct report *r)
{
	fprintf(r->out, "<svg id=\"map\" xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" "
		"aria-label=\"Map of the sectors of main\" viewBox=\"0 0 %d %u\">\n",
		MAP_LEFT + MAP_COLUMNS * MAP_PITCH,
		lines_of(&r->main) * MAP_PITCH);
	put_labels(r);
	fputs("<g id=\"blocks\">\n", r->out);
	put_good(r);
	for (size_t i = 0; i < r->main.count; i++) {
		enum cell_state worst = cell_worst(&r->main.cell[i]);

		if (worst == CELL_GOOD)
			continue;
		put_block(r->out, worst, (unsigned)(i % MAP_COLUMNS), (unsigned)(i / MAP_COLUMNS));
		put_title(r, i);
	}
	fputs("</g>\n</svg>\n", r->out);
}

static void put_legend(FILE *out)
{
	static const char *const texts[] = {
	    "good: served from the disk", "remapped: lives on a spare",
	    "pending: lost until it is written", "faulty spare: lost with its slot"};

	fputs("<ul class=\"legend\">", out);
	for (int state = 0; state < CELL_STATES; state++)
		fprintf(out, "<li><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"c%d\" "
			"width=\"12\" height=\"12\" rx=\"2\"/></svg>%s</li>", state, texts[state]);
	fputs("</ul>\n", out);
}

int report_map(const struct report *r)
{
	int rc;

	fputs("<section class=\"card\"><h2>The disk</h2>\n"
	      "<div class=\"controls\" id=\"controls\" hidden=\"hidden\">"
	      "<button type=\"button\" id=\"in\">Zoom in</button>"
	      "<button type=\"button\" id=\"out\">Zoom out</button>"
	      "<button type=\"button\" id=\"all\">Whole disk</button>"
	      "<button type=\"button\" id=\"back\" aria-label=\"Back\">\u2190</button>"
	      "<button type=\"button\" id=\"on\" aria-label=\"On\">\u2192</button>"
	      "<span class=\"quiet\" id=\"range\"></span></div>\n"
	      "<p class=\"quiet\" id=\"still\">A block is ", r->out);
	put_number(r->out, r->main.per_cell);
	fputs(r->main.per_cell == 1 ? " sector" : " sectors", r->out);
	fputs(" and shows the worst that is in it.</p>\n", r->out);
	put_svg(r);
	put_legend(r->out);
	fputs("<p class=\"quiet hint\">A block shows the worst that is in it; a click on it looks "
	      "closer.</p>\n", r->out);
	rc = put_extents(r);
	fputs("</section>\n", r->out);
	return rc;
}
