/* The spares: how full each is, and where its bad slots are. */
#include "ctl/report/report.h"

#include "remapfs/parse.h"

#include <inttypes.h>

static void put_part(FILE *out, enum cell_state state, double *x, uint64_t slots, uint64_t of)
{
	double width = of ? (double)slots * 1000 / (double)of : 0;

	if (slots && width < 2)
		width = 2; /* what there is can be seen */
	if (*x + width > 1000)
		width = 1000 - *x;
	fprintf(out, "<rect class=\"c%d\" x=\"%.1f\" width=\"%.1f\" height=\"14\"/>", (int)state, *x,
		width);
	*x += width;
}

static void put_bar(const struct report *r, size_t i)
{
	const struct status *s = r->status;
	double x = 0;

	fputs("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1000 14\" role=\"img\" "
	      "aria-label=\"How full the spare is\">"
	      "<rect class=\"c0\" width=\"1000\" height=\"14\"/>", r->out);
	put_part(r->out, CELL_REMAPPED, &x, s->used[i], s->spares[i].slots);
	put_part(r->out, CELL_FAULTY, &x, s->bad[i], s->spares[i].slots);
	fputs("</svg>\n", r->out);
}

static void put_strip(const struct report *r, size_t i)
{
	static const char *const names[] = {"free", "used", "", "bad"};
	const struct cells *cells = &r->spare[i];

	fprintf(r->out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"%d 0 %d %zu\" "
		"role=\"img\" aria-label=\"Map of the slots\">\n", MAP_LEFT,
		MAP_COLUMNS * MAP_PITCH,
		(cells->count + MAP_COLUMNS - 1) / MAP_COLUMNS * MAP_PITCH);
	for (size_t j = 0; j < cells->count; j++) {
		enum cell_state worst = cell_worst(&cells->cell[j]);

		put_block(r->out, worst, (unsigned)(j % MAP_COLUMNS), (unsigned)(j / MAP_COLUMNS));
		fprintf(r->out, "<title>slots %" PRIu64 " to %" PRIu64 ": %s</title></rect>\n",
			(uint64_t)j * cells->per_cell,
			(uint64_t)j * cells->per_cell + cells_size_of(cells, j) - 1, names[worst]);
	}
	fputs("</svg>\n", r->out);
}

static void put_count(FILE *out, uint64_t count, const char *what)
{
	put_number(out, count);
	fputs(what, out);
}

static void put_spare(const struct report *r, size_t i)
{
	const struct store_spare *spare = &r->status->spares[i];
	char size[32];

	fprintf(r->out, "<div class=\"spare\"><h3>Spare %" PRIu32 " <span class=\"mono\"><bdi>",
		spare->id);
	put_text(r->out, spare->path);
	fprintf(r->out, "</bdi></span></h3>\n<p class=\"quiet\">%s, %s: ",
		r->status->health[i] == VOLUME_OK ? spare_state_name(spare->state)
						  : volume_state_name(r->status->health[i]), format_size(size, spare->length));
	put_count(r->out, r->status->used[i], " used, ");
	put_count(r->out, r->status->bad[i], " bad, ");
	put_count(r->out, r->status->free[i], " free of ");
	put_count(r->out, spare->slots, " slots");
	fputs("</p>\n", r->out);
	put_bar(r, i);
	if (!spare_has_left(spare))
		put_strip(r, i);
	fputs("</div>\n", r->out);
}

int report_spares(const struct report *r)
{
	fputs("<section class=\"card\"><h2>The spares</h2>\n", r->out);
	for (size_t i = 0; i < r->spares_shown; i++)
		put_spare(r, i);
	if (r->spares_shown < r->status->spare_count)
		fprintf(r->out, "<p class=\"quiet\">And %zu more.</p>\n",
			r->status->spare_count - r->spares_shown);
	fputs("<ul class=\"legend\">"
	      "<li><svg viewBox=\"0 0 12 12\"><rect class=\"c0\" width=\"12\" height=\"12\" rx=\"2\"/>"
	      "</svg>free</li>"
	      "<li><svg viewBox=\"0 0 12 12\"><rect class=\"c1\" width=\"12\" height=\"12\" rx=\"2\"/>"
	      "</svg>used</li>"
	      "<li><svg viewBox=\"0 0 12 12\"><rect class=\"c3\" width=\"12\" height=\"12\" rx=\"2\"/>"
	      "</svg>bad</li></ul>\n</section>\n", r->out);
	return 0;
}
