/* remapctl mark and unmap. */
#include "ctl/choose.h"
#include "ctl/ctl.h"
#include "ctl/move.h"

#include "remapfs/cleanup.h"

#include <inttypes.h>
#include <string.h>

/* ---- mark --------------------------------------------------------------------- */

static const char mark_help[] =
    "\n"
    "Usage:\n"
    " remapctl mark [options] <volume> --sectors <sectors>\n"
    " remapctl mark [options] <volume> --file <list>\n"
    "\n"
    "Treat sectors as bad before they fail: what can still be read of them moves to\n"
    "a spare now, what cannot is pending: reading it fails until it is written.\n"
    "Sectors that are remapped or pending already stay as they are. Works with the\n"
    "volume mounted and not.\n"
    "\n"
    "Options:\n"
    "     --sectors <sectors>  these, such as 0,2,5000-5004\n"
    "     --file <list>        those in a file, one sector or range a line; '-' reads\n"
    "                            standard input. See 'remapctl import' for other lists\n"
    "     --lost               their content is lost: make them pending, and do not read\n"
    "                            them first. What was written to them is lost as well\n"
    "     --force              move as many as there are free slots, if not all have room\n"
    " -q, --quiet              print neither progress nor summary\n"
    " -h, --help               display this help\n"
    "\n"
    "Example:\n"
    " remapctl mark disk.remap --sectors 81920-81927\n";

enum { OPTION_SECTORS = 256, OPTION_FILE, OPTION_LOST, OPTION_FORCE };

static int mark(struct move *m, const struct choice *choice)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct volume_shape shape;
	struct error err = {0};
	size_t count = 0;

	if (volume_shape_of(m->path, &shape, &err) < 0)
		return refuse(&err);
	if (choose_sectors(choice, shape.sectors, &ranges, &count, &err) < 0) {
		if (choice->list)
			error_prefix(&err, "--sectors");
		return choice->list ? refuse_misuse(&err) : refuse(&err);
	}
	return mark_sectors(m, ranges, count, shape.sector_size);
}

int run_mark(int argc, char **argv)
{
	static const struct option longs[] = {{"sectors", required_argument, NULL, OPTION_SECTORS},
					      {"file", required_argument, NULL, OPTION_FILE},
					      {"lost", no_argument, NULL, OPTION_LOST},
					      {"force", no_argument, NULL, OPTION_FORCE},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	struct choice choice = {0};
	struct move m = {0};
	int c, rc;

	while ((c = next_option("mark", argc, argv, ":qh", longs)) != -1) {
		if (c == 'h')
			return print_help(mark_help);
		if (c == '?')
			return EXIT_MISUSED;
		if (c == OPTION_SECTORS)
			choice.list = optarg;
		else if (c == OPTION_FILE)
			choice.file = optarg;
		m.lost |= c == OPTION_LOST;
		m.force |= c == OPTION_FORCE;
		m.quiet |= c == 'q';
	}
	rc = check_operands("mark", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	if (!choice.list == !choice.file)
		return misuse("mark", "one of --sectors and --file has to be given");
	m.path = argv[optind];
	return mark(&m, &choice);
}

/* ---- unmap -------------------------------------------------------------------- */

static const char unmap_help[] =
    "\n"
    "Usage:\n"
    " remapctl unmap [options] <volume>\n"
    "\n"
    "Move sectors from the spares back to main, after main was repaired or replaced.\n"
    "Each is written to main, flushed and read back; only when main holds it is it\n"
    "forgotten elsewhere and its slot free again. A sector that main does not hold\n"
    "stays on its spare. Works with the volume mounted and not.\n"
    "\n"
    "Options:\n"
    "     --sectors <sectors>  only these, such as 0,2,5000-5004\n"
    " -q, --quiet              print neither progress nor summary\n"
    " -h, --help               display this help\n"
    "\n"
    "Exit status 1 tells that some stay on the spares.\n"
    "\n"
    "Example:\n"
    " remapctl unmap disk.remap\n";

static int tell_unmapped(const struct move *m, int rc, const struct error *err)
{
	if (move_is_told(m, rc)) {
		printf("%" PRIu64 " sector%s %s on main again\n", m->done.moved, plural(m->done.moved),
		       is_or_are(m->done.moved));
		fflush(stdout);
	}
	if (rc < 0)
		return refuse(err);
	if (m->done.lost)
		refuse_text("%" PRIu64 " sector%s could not be read from the spares and %s pending; "
			    "write %s anew", m->done.lost, plural(m->done.lost),
			    is_or_are(m->done.lost), m->done.lost == 1 ? "it" : "them");
	if (m->done.left)
		refuse_text("%" PRIu64 " sector%s stay%s on the spares, since main does not hold %s; "
			    "repair or replace main", m->done.left, plural(m->done.left),
			    m->done.left == 1 ? "s" : "", m->done.left == 1 ? "it" : "them");
	return m->done.lost || m->done.left ? EXIT_REFUSED : EXIT_DONE;
}

static int unmap(struct move *m, const char *list)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct volume_shape shape;
	struct error err = {0};
	size_t count = 1;
	int rc;

	if (volume_shape_of(m->path, &shape, &err) < 0)
		return refuse(&err);
	if (list && parse_sectors(list, shape.sectors, &ranges, &count, &err) < 0) {
		error_prefix(&err, "--sectors");
		return refuse_misuse(&err);
	}
	if (!list) {
		ranges = malloc(sizeof(*ranges));
		if (!ranges)
			return refuse_text("not enough memory; end other programs");
		*ranges = (struct sector_range){0, shape.sectors};
	}
	rc = move_sectors(m, ranges, count, shape.sector_size, &err);
	return tell_unmapped(m, rc, &err);
}

int run_unmap(int argc, char **argv)
{
	static const struct option longs[] = {{"sectors", required_argument, NULL, OPTION_SECTORS},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	struct move m = {.command = "unmap"};
	const char *list = NULL;
	int c, rc;

	while ((c = next_option("unmap", argc, argv, ":qh", longs)) != -1) {
		if (c == 'h')
			return print_help(unmap_help);
		if (c == '?')
			return EXIT_MISUSED;
		if (c == OPTION_SECTORS)
			list = optarg;
		m.quiet |= c == 'q';
	}
	rc = check_operands("unmap", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	m.path = argv[optind];
	return unmap(&m, list);
}
