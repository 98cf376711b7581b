/* Events over time, as stacked bars from the first one to now. */
#include "ctl/report/report.h"

#include <inttypes.h>
#include <string.h>

#define BARS 72
#define BAR_PITCH 15
#define LEFT 60
#define HEIGHT 150

enum series { SERIES_REMAPPED, SERIES_PENDING, SERIES_SLOT_BAD, SERIES_TROUBLE, SERIES_OTHER,
	      SERIES_COUNT };

static const struct {
	const char *style, *name;
} series[SERIES_COUNT] = {
    [SERIES_REMAPPED] = {"c1", "remapped or moved"},
    [SERIES_PENDING] = {"c2", "pending"},
    [SERIES_SLOT_BAD] = {"c3", "bad slots"},
    [SERIES_TROUBLE] = {"trouble", "trouble: a write, flush, commit or device that failed"},
    [SERIES_OTHER] = {"other", "everything else"},
};

struct timeline {
	time_t first, span;
	uint64_t count[BARS][SERIES_COUNT];
};

static enum series series_of(const char *event)
{
	static const struct {
		const char *event;
		enum series series;
	} known[] = {
	    {"remapped", SERIES_REMAPPED}, {"moved", SERIES_REMAPPED},
	    {"pending", SERIES_PENDING},   {"slot_bad", SERIES_SLOT_BAD},
	    {"spares_full", SERIES_TROUBLE}, {"gave_up", SERIES_TROUBLE},
	    {"spare_lost", SERIES_TROUBLE},
	};
	const char *failed = strstr(event, "_failed");

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (strcmp(event, known[i].event) == 0)
			return known[i].series;
	return failed && failed[7] == 0 ? SERIES_TROUBLE : SERIES_OTHER;
}

static int add_event(void *context, const char *const *values)
{
	struct timeline *t = context;
	time_t at = event_time(values[HISTORY_AT]);
	time_t bar = (at - t->first) * BARS / t->span;

	if (bar < 0)
		bar = 0;
	if (bar >= BARS)
		bar = BARS - 1;
	t->count[bar][series_of(values[HISTORY_EVENT])]++;
	return 0;
}

static uint64_t sum_of(const uint64_t *count)
{
	uint64_t sum = 0;

	for (int i = 0; i < SERIES_COUNT; i++)
		sum += count[i];
	return sum;
}

static void put_bar_title(FILE *out, const struct timeline *t, int bar)
{
	fputs("<title>from ", out);
	put_time(out, t->first + t->span * bar / BARS);
	for (int i = 0; i < SERIES_COUNT; i++) {
		if (!t->count[bar][i])
			continue;
		fputs("; ", out);
		put_number(out, t->count[bar][i]);
		fprintf(out, " %s", series[i].name);
	}
	fputs("</title>", out);
}

static void put_bar(FILE *out, const struct timeline *t, int bar, uint64_t most)
{
	double y = HEIGHT;

	fputs("<g>", out);
	put_bar_title(out, t, bar);
	for (int i = 0; i < SERIES_COUNT; i++) {
		double height = (double)t->count[bar][i] * (HEIGHT - 20) / (double)most;

		if (!t->count[bar][i])
			continue;
		if (height < 2)
			height = 2; /* one among many can still be seen */
		y -= height;
		fprintf(out, "<rect class=\"%s\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\"/>",
			series[i].style, LEFT + bar * BAR_PITCH, y, BAR_PITCH - 3, height);
	}
	fputs("</g>\n", out);
}

static void put_axes(FILE *out, const struct timeline *t, uint64_t most)
{
	static const char *const anchors[] = {"start", "middle", "end"};

	fprintf(out, "<line class=\"axis\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>"
		"<line class=\"axis\" x1=\"%d\" y1=\"20\" x2=\"%d\" y2=\"20\"/>"
		"<text x=\"%d\" y=\"24\" text-anchor=\"end\">", LEFT, HEIGHT,
		LEFT + BARS * BAR_PITCH, HEIGHT, LEFT, LEFT + BARS * BAR_PITCH, LEFT - 8);
	put_number(out, most);
	fprintf(out, "</text><text x=\"%d\" y=\"%d\" text-anchor=\"end\">0</text>\n", LEFT - 8,
		HEIGHT);
	for (int i = 0; i < 3; i++) {
		fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"%s\">",
			LEFT + BARS * BAR_PITCH * i / 2, HEIGHT + 18, anchors[i]);
		put_time(out, t->first + t->span * i / 2);
		fputs("</text>", out);
	}
}

static void put_chart(const struct report *r, const struct timeline *t)
{
	uint64_t most = 1;

	for (int bar = 0; bar < BARS; bar++)
		if (sum_of(t->count[bar]) > most)
			most = sum_of(t->count[bar]);
	fprintf(r->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" "
		"aria-label=\"Events over time\" viewBox=\"0 0 %d %d\">\n", LEFT + BARS * BAR_PITCH,
		HEIGHT + 24);
	put_axes(r->out, t, most);
	for (int bar = 0; bar < BARS; bar++)
		if (sum_of(t->count[bar]))
			put_bar(r->out, t, bar, most);
	fputs("</svg>\n<ul class=\"legend\">", r->out);
	for (int i = 0; i < SERIES_COUNT; i++)
		fprintf(r->out, "<li><svg viewBox=\"0 0 12 12\"><rect class=\"%s\" width=\"12\" "
			"height=\"12\" rx=\"2\"/></svg>%s</li>", series[i].style, series[i].name);
	fputs("</ul>\n", r->out);
}

int report_timeline(const struct report *r)
{
	const struct store_filter all = {0};
	struct timeline t = {.first = r->events.first, .span = r->now - r->events.first};
	struct error err;
	int rc;

	if (t.span < BARS)
		t.span = BARS; /* at least a second a bar */
	rc = store_query(r->status->store, STORE_HISTORY, &all, add_event, &t, &err);
	if (rc)
		return rc;
	fputs("<section class=\"card\"><h2>Events over time</h2>\n", r->out);
	put_chart(r, &t);
	fputs("</section>\n", r->out);
	return 0;
}
