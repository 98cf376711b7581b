/* remapctl map: the disk and its spares as blocks in the terminal. */
#include "ctl/cells.h"
#include "ctl/color.h"
#include "ctl/status.h"

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <string.h>
#include <sys/ioctl.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl map [options] <volume>\n"
    "\n"
    "Show the disk as blocks, each of them so many sectors, and below it the slots of\n"
    "every spare. A block shows the worst that is in it. The number at the left is the\n"
    "first sector of the line.\n"
    "\n"
    "Options:\n"
    "     --color[=<when>]   use colour: auto (on a terminal, unless NO_COLOR is set),\n"
    "                        always or never\n"
    "     --ascii            letters instead of blocks, also where the terminal has them\n"
    "     --width <columns>  of the map; by default those of the terminal, or 80\n"
    "     --rows <number>    lines for the disk at most; by default 16\n"
    " -J, --json             use JSON output format\n"
    " -h, --help             display this help\n"
    "\n"
    "Blocks, gravest last:\n"
    " good          served from main; on a spare: free\n"
    " remapped      lives on a spare; on a spare: holds a sector\n"
    " pending       could not be read, and is lost until it is written\n"
    " faulty spare  lost with the slot that held it; on a spare: failed\n";

enum { WIDTH_DEFAULT = 80, WIDTH_MIN = 40, WIDTH_MAX = 1000, ROWS_DEFAULT = 16, ROWS_MAX = 1000,
       SPARE_ROWS_MAX = 2 };

struct map_options {
	bool json, ascii, color;
	uint64_t width, rows;
};

struct map {
	struct status status;
	struct map_options options;
	struct cells main, *spare; /* one for each of status.spares */
	int label;                 /* columns for the number at the left */
};

struct look {
	const char *name /* for the legend */, *block, *letter, *color;
};

static const struct look looks[CELL_STATES] = {
    [CELL_GOOD] = {"good, free", "\u2591", ".", "\033[32m"},
    [CELL_REMAPPED] = {"remapped, used", "\u2593", "r", "\033[1;36m"},
    [CELL_PENDING] = {"pending", "\u2588", "P", "\033[1;31m"},
    [CELL_FAULTY] = {"faulty spare, bad slot", "\u2573", "X", "\033[1;97;45m"},
};

/* ---- counting --------------------------------------------------------------- */

static int digits_of(uint64_t number)
{
	int n = 1;

	while (number >= 10) {
		number /= 10;
		n++;
	}
	return n;
}

static int make_cells(struct map *map)
{
	const struct status *s = &map->status;
	size_t columns;
	int rc;

	map->label = digits_of(s->volume->main_sectors);
	columns = map->options.width - (size_t)map->label - 4;
	map->spare = calloc(s->spare_count, sizeof(*map->spare));
	rc = map->spare ? cells_new(&map->main, s->volume->main_sectors,
				    columns * map->options.rows, false)
			: -ENOMEM;
	for (size_t i = 0; i < s->spare_count && !rc; i++)
		rc = cells_new(&map->spare[i], s->spares[i].slots,
			       columns * (map->options.rows < SPARE_ROWS_MAX ? map->options.rows
									     : SPARE_ROWS_MAX),
			       false);
	return rc ? rc : cells_fill(s->store, &map->main, map->spare, s->spares, s->spare_count);
}

static void free_cells(struct map *map)
{
	for (size_t i = 0; map->spare && i < map->status.spare_count; i++)
		cells_free(&map->spare[i]);
	cells_free(&map->main);
	free(map->spare);
}

/* ---- for people --------------------------------------------------------------- */

/* Colour is set where it changes, so that a line of one state is one escape. */
static void print_block(const struct map *map, enum cell_state state, enum cell_state *shown)
{
	const struct look *look = &looks[state];

	if (map->options.color && *shown != state)
		printf("\033[0m%s", look->color);
	*shown = state;
	fputs(map->options.ascii ? look->letter : look->block, stdout);
}

static void print_cells(const struct map *map, const struct cells *cells)
{
	size_t columns = map->options.width - (size_t)map->label - 4;

	for (size_t i = 0; i < cells->count; i += columns) {
		enum cell_state shown = CELL_STATES;

		printf("  %*" PRIu64 "  ", map->label, i * cells->per_cell);
		for (size_t j = i; j < i + columns && j < cells->count; j++)
			print_block(map, cell_worst(&cells->cell[j]), &shown);
		puts(map->options.color ? "\033[0m" : "");
	}
}

static void print_title(const struct map *map, const char *what, const char *path,
			const char *unit, const struct cells *cells)
{
	uint32_t sector_size = map->status.volume->sector_size;
	char size[32];

	printf("%s  ", what);
	print_word(stdout, path);
	printf("\n%*s%" PRIu64 " %ss; 1 block = %" PRIu64 " %s%s (%s)\n", map->label + 4, "",
	       cells->sectors, unit, cells->per_cell, unit, cells->per_cell == 1 ? "" : "s",
	       format_size(size, cells->per_cell * sector_size));
}

static void print_legend(const struct map *map)
{
	for (enum cell_state state = CELL_GOOD; state < CELL_STATES; state++) {
		enum cell_state shown = CELL_STATES;

		fputs(state ? "   " : "", stdout);
		print_block(map, state, &shown);
		printf("%s %s", map->options.color ? "\033[0m" : "", looks[state].name);
	}
	putchar('\n');
}

static void print_text(const struct map *map)
{
	const struct status *s = &map->status;

	print_title(map, "main", s->volume->main_path, "sector", &map->main);
	print_cells(map, &map->main);
	for (size_t i = 0; i < s->spare_count; i++) {
		char what[64];

		if (spare_has_left(&s->spares[i]))
			continue;
		snprintf(what, sizeof(what), "spare %" PRIu32 "%s", s->spares[i].id,
			 s->spares[i].state == SPARE_RETIRING ? " (retiring)" : "");
		putchar('\n');
		print_title(map, what, s->spares[i].path, "slot", &map->spare[i]);
		print_cells(map, &map->spare[i]);
	}
	putchar('\n');
	print_legend(map);
	printf("%" PRIu64 " remapped, %" PRIu64 " pending, %" PRIu64 " of %" PRIu64
	       " slots free, %" PRIu64 " bad\n", s->totals.remapped_sectors,
	       s->totals.pending_sectors, s->free_slots, s->slots, s->bad_slots);
}

/* ---- JSON ------------------------------------------------------------------- */

static const char *const main_states[] = {"good", "remapped", "pending", "faulty_spare"};
static const char *const spare_states[] = {"free", "used", "pending", "bad"};

static json_t *cells_json(const struct cells *cells, const char *const *states)
{
	json_t *array = json_array();

	for (size_t i = 0; i < cells->count; i++) {
		const struct cell *cell = &cells->cell[i];
		enum cell_state worst = cell_worst(cell);
		json_t *object;

		if (worst == CELL_GOOD)
			continue;
		object = json_pack("{s:I, s:I, s:s}", "start", (json_int_t)(i * cells->per_cell),
				   "sectors", (json_int_t)cells_size_of(cells, i), "state",
				   states[worst]);
		for (enum cell_state state = CELL_REMAPPED; state < CELL_STATES; state++)
			if (state != CELL_PENDING || states == main_states)
				json_object_set_new(object, states[state],
						    json_integer((json_int_t)cell->in[state]));
		json_array_append_new(array, object);
	}
	return array;
}

static json_t *part_json(const char *path, const struct cells *cells, const char *const *states)
{
	return json_pack("{s:o, s:I, s:I, s:I, s:o}", "path", json_text(path), "sectors",
			 (json_int_t)cells->sectors, "sectors_per_block",
			 (json_int_t)cells->per_cell, "blocks", (json_int_t)cells->count, "not_good",
			 cells_json(cells, states));
}

static json_t *map_json(const struct map *map)
{
	const struct status *s = &map->status;
	json_t *spares = json_array();

	for (size_t i = 0; i < s->spare_count; i++) {
		json_t *spare = part_json(s->spares[i].path, &map->spare[i], spare_states);

		json_object_set_new(spare, "id", json_integer(s->spares[i].id));
		json_object_set_new(spare, "state",
				    json_string(spare_state_name(s->spares[i].state)));
		json_array_append_new(spares, spare);
	}
	return json_pack("{s:o, s:s, s:I, s:o, s:o}", "volume", json_text(s->path), "uuid",
			 s->volume->uuid, "sector_size", (json_int_t)s->volume->sector_size, "main",
			 part_json(s->volume->main_path, &map->main, main_states), "spares", spares);
}

/* ---- the command ------------------------------------------------------------ */

static int show(const char *path, const struct map_options *options)
{
	struct map map = {.options = *options};
	struct error err = {0};
	int rc;

	if (status_open(path, &map.status, &err))
		return refuse(&err);
	if (!map.status.store) {
		rc = refuse_text("%s", trouble_text(&map.status.troubles, 0).text);
		status_close(&map.status);
		return rc;
	}
	rc = make_cells(&map);
	if (rc)
		rc = refuse_store(map.status.path, rc);
	else if (options->json)
		rc = print_json(map_json(&map));
	else
		print_text(&map);
	free_cells(&map);
	status_close(&map.status);
	return rc;
}

/* The terminal's, where there is one. */
static uint64_t width_of_output(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return WIDTH_DEFAULT;
	return size.ws_col < WIDTH_MIN ? WIDTH_MIN : size.ws_col > WIDTH_MAX ? WIDTH_MAX
									     : size.ws_col;
}

static int read_count(const char *option, const char *text, uint64_t min, uint64_t max,
		      uint64_t *ret)
{
	struct error err = {0};

	if (parse_number(text, min, max, ret, &err) == 0)
		return 0;
	error_prefix(&err, "%s", option);
	return refuse_misuse(&err);
}

enum { OPTION_COLOR = 256, OPTION_ASCII, OPTION_WIDTH, OPTION_ROWS };

/* 0: taken, or the exit code. */
static int take_option(int c, struct map_options *o)
{
	switch (c) {
	case OPTION_COLOR:
		return color_option("map", optarg, &o->color);
	case OPTION_WIDTH:
		return read_count("--width", optarg, WIDTH_MIN, WIDTH_MAX, &o->width);
	case OPTION_ROWS:
		return read_count("--rows", optarg, 1, ROWS_MAX, &o->rows);
	case OPTION_ASCII:
		o->ascii = true;
		return 0;
	case 'J':
		o->json = true;
		return 0;
	}
	return EXIT_MISUSED;
}

int run_map(int argc, char **argv)
{
	static const struct option longs[] = {{"color", optional_argument, NULL, OPTION_COLOR},
					      {"ascii", no_argument, NULL, OPTION_ASCII},
					      {"width", required_argument, NULL, OPTION_WIDTH},
					      {"rows", required_argument, NULL, OPTION_ROWS},
					      {"json", no_argument, NULL, 'J'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	struct map_options options = {.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0,
				      .color = color_wanted(),
				      .width = width_of_output(),
				      .rows = ROWS_DEFAULT};
	int c, rc;

	while ((c = next_option("map", argc, argv, ":Jh", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		rc = take_option(c, &options);
		if (rc)
			return rc;
	}
	rc = check_operands("map", argc, argv, 1, 1, names);
	return rc ? rc : show(argv[optind], &options);
}
