/* remapctl import: lists of bad sectors that other programs made. */
#include "ctl/choose.h"
#include "ctl/ctl.h"
#include "ctl/move.h"

#include "remapfs/cleanup.h"
#include "remapfs/lists.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl import --format <format> [options] <volume> [<file>]\n"
    "\n"
    "Take the sectors of a list for bad, as 'remapctl mark' does: what can still be\n"
    "read of them moves to a spare now, what cannot is pending. The whole list is\n"
    "read and checked first. Without <file>, or with '-', it is read from standard\n"
    "input.\n"
    "\n"
    "If main is a copy that ddrescue made, it can be read everywhere, but has no\n"
    "data where the old disk could not be read. Import its mapfile with --lost\n"
    "before the volume is mounted for the first time.\n"
    "\n"
    "Formats:\n"
    " badblocks  a number of a block a line, as badblocks(8) writes it\n"
    " ddrescue   a mapfile of GNU ddrescue; its blocks marked '-' are bad\n"
    " json, csv  as 'remapctl export' writes them\n"
    "\n"
    "Options:\n"
    " -f, --format <format>    the format of the list\n"
    " -b, --block-size <size>  of badblocks: what it was run with (default 1024, as\n"
    "                            that of badblocks); the list does not tell\n"
    "     --offset <size>      of badblocks and ddrescue: the list is about a part of\n"
    "                            main that begins there, such as a partition\n"
    "     --types <types>      of ddrescue: the blocks to take for bad, some of\n"
    "                            ? (not tried), * (not trimmed), / (not scraped), -;\n"
    "                            default '-', with --lost '?*/-'\n"
    "     --round              take the whole sector where a list in smaller sectors\n"
    "                            names a part of it\n"
    "     --lost               the content of these sectors is lost: make them pending,\n"
    "                            and do not read them first. What was written to them\n"
    "                            is lost as well\n"
    "     --force              move as many as there are free slots, if not all have room\n"
    "     --dry-run            check the list, print how many sectors it names and\n"
    "                            whether there is room for them, and change nothing\n"
    " -q, --quiet              print neither progress nor summary\n"
    " -h, --help               display this help\n"
    "\n"
    "Example:\n"
    " badblocks -b 4096 /dev/sdx >list\n"
    " remapctl import --format badblocks -b 4096 disk.remap list\n"
    " remapctl import --format ddrescue --lost copy.remap mapfile\n";

enum { OPTION_OFFSET = 256, OPTION_TYPES, OPTION_ROUND, OPTION_LOST, OPTION_FORCE, OPTION_DRY };

struct import {
	struct move move;
	enum list_format format;
	bool format_given, block_given, offset_given, dry;
	struct list_disk disk;
	const char *file;
};

/* ---- the list ------------------------------------------------------------------- */

static int check_block_size(const struct import *i, struct error *err)
{
	uint32_t block = i->disk.block_size, sector = i->disk.sector_size;

	if (i->format != LIST_BADBLOCKS || block % sector == 0 || sector % block == 0 ||
	    i->disk.round)
		return 0;
	return error_set(err, EINVAL, "blocks of %" PRIu32 " bytes and sectors of %" PRIu32 " do not "
			 "fit each other; give the block size that badblocks was run with (-b)",
			 block, sector);
}

static int read_file(const struct import *i, struct sector_range **ret, size_t *ret_count,
		     struct error *warning, struct error *err)
{
	bool standard = strcmp(i->file, "-") == 0;
	FILE *file = standard ? stdin : fopen(i->file, "re");
	struct stat st;
	int rc;

	if (!file)
		return error_set(err, errno, "cannot read '%.200s': %s; give a file that can be read",
				 i->file, strerror(errno));
	if (fstat(fileno(file), &st) == 0 && S_ISDIR(st.st_mode))
		rc = error_set(err, EISDIR, "'%.200s' is a directory; give a file", i->file);
	else
		rc = list_read(i->format, file, standard ? "standard input" : i->file, &i->disk, ret,
			       ret_count, warning, err);
	if (!standard)
		fclose(file);
	return rc;
}

/*
 * A badblocks list in another block size names other sectors, and these are mostly
 * in order. So is all of a copy that ddrescue made, where its map says that nothing
 * was copied.
 */
static void doubt(const struct import *i)
{
	if (i->move.quiet || !i->move.done.moved || i->move.done.lost)
		return;
	if (i->format == LIST_DDRESCUE)
		fprintf(stderr, "remapctl: warning: every sector of the map that was not known could "
				"be read; if main is the copy that ddrescue made, they hold no data: "
				"undo this with 'remapctl unmap', then import the map with --lost\n");
	if (i->format == LIST_BADBLOCKS)
		fprintf(stderr, "remapctl: warning: every sector of the list that was not known could "
				"be read; if that is a surprise, see whether its blocks have %" PRIu32
				" bytes and count from byte %" PRIu64 " of main (-b, --offset), and "
				"undo this with 'remapctl unmap'\n",
			i->disk.block_size, i->disk.offset);
}

static int import(struct import *i)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct error err = {0}, warning = {0};
	struct volume_shape shape;
	size_t count = 0;
	int rc;

	if (volume_shape_of(i->move.path, &shape, &err) < 0)
		return refuse(&err);
	i->disk.sector_size = shape.sector_size;
	i->disk.sectors = shape.sectors;
	if (check_block_size(i, &err) < 0 || read_file(i, &ranges, &count, &warning, &err) < 0)
		return refuse(&err);
	if (warning.text[0])
		warn_text("%s", warning.text);
	if (i->dry)
		return mark_rehearse(&i->move, ranges, count);
	rc = mark_sectors(&i->move, ranges, count, shape.sector_size);
	if (rc == EXIT_DONE)
		doubt(i);
	return rc;
}

/* ---- the command line ------------------------------------------------------------- */

/* 0, or what to end with. */
static int take_option(struct import *i, int c)
{
	struct error err = {0};
	int rc = 0;

	if (c == 'f') {
		rc = list_format_of(optarg, &i->format, &err);
		i->format_given = true;
	} else if (c == 'b') {
		rc = take_block_size(optarg, &i->disk.block_size, &err);
		i->block_given = true;
	} else if (c == OPTION_OFFSET) {
		rc = parse_size(optarg, &i->disk.offset, &err);
		i->offset_given = i->disk.part = true;
	} else if (c == OPTION_TYPES) {
		i->disk.types = optarg;
		if (!*optarg || optarg[strspn(optarg, "?*/-")])
			return misuse("import", "--types: '%.60s' are not some of ?*/-", optarg);
	}
	i->dry |= c == OPTION_DRY;
	i->disk.round |= c == OPTION_ROUND;
	i->move.lost |= c == OPTION_LOST;
	i->move.force |= c == OPTION_FORCE;
	i->move.quiet |= c == 'q';
	return rc < 0 ? refuse_misuse(&err) : 0;
}

/* An option that would be passed over may be a mistake about the format. */
static int check_options(const struct import *i)
{
	if (!i->format_given)
		return misuse("import", "--format is missing");
	if (i->block_given && i->format != LIST_BADBLOCKS)
		return misuse("import", "-b is for --format badblocks alone");
	if (i->disk.types && i->format != LIST_DDRESCUE)
		return misuse("import", "--types is for --format ddrescue alone");
	if (i->offset_given && i->format != LIST_BADBLOCKS && i->format != LIST_DDRESCUE)
		return misuse("import", "--offset is for --format badblocks and ddrescue alone");
	return 0;
}

int run_import(int argc, char **argv)
{
	static const struct option longs[] = {{"format", required_argument, NULL, 'f'},
					      {"block-size", required_argument, NULL, 'b'},
					      {"offset", required_argument, NULL, OPTION_OFFSET},
					      {"types", required_argument, NULL, OPTION_TYPES},
					      {"round", no_argument, NULL, OPTION_ROUND},
					      {"lost", no_argument, NULL, OPTION_LOST},
					      {"force", no_argument, NULL, OPTION_FORCE},
					      {"dry-run", no_argument, NULL, OPTION_DRY},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME", "FILE"};
	struct import i = {.disk = {.block_size = LIST_BLOCK_SIZE}, .file = "-"};
	int c, rc;

	while ((c = next_option("import", argc, argv, ":f:b:qh", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		rc = c == '?' ? EXIT_MISUSED : take_option(&i, c);
		if (rc)
			return rc;
	}
	rc = check_operands("import", argc, argv, 1, 2, names);
	rc = rc ? rc : check_options(&i);
	if (rc)
		return rc;
	i.move.path = argv[optind];
	if (argc - optind == 2)
		i.file = argv[optind + 1];
	/* What was not copied, for whatever reason, is not there. */
	if (!i.disk.types)
		i.disk.types = i.move.lost ? "?*/-" : "-";
	return import(&i);
}
