/* remapctl export: bad sectors as lists that other programs read. */
#include "ctl/ctl.h"
#include "ctl/move.h"
#include "ctl/output.h"

#include "remapfs/cleanup.h"
#include "remapfs/lists.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl export --format <format> [options] <volume> [<file>]\n"
    "\n"
    "Write the sectors that main does not serve as a list, with the volume mounted\n"
    "and not. Without <file>, or with '-', to standard output; a file is replaced\n"
    "when the list is complete.\n"
    "\n"
    "Formats:\n"
    " badblocks  a number of a block a line; for e2fsck -l and mke2fs -l with -b the\n"
    "              block size of the file system, which they count in\n"
    " ddrescue   a mapfile of GNU ddrescue over all of main: '-' for what is listed,\n"
    "              '+' for the rest\n"
    " json       {\"sector_size\", \"main_sectors\", \"bad_sectors\": [{\"sector\",\n"
    "              \"sectors\", \"state\"}]}\n"
    " csv        sector,sectors,state,sector_size\n"
    "\n"
    "Options:\n"
    " -f, --format <format>    the format of the list\n"
    "     --state <state>      which sectors: pending, remapped or both (default: pending\n"
    "                            for ddrescue, since disk.img has the others, or both)\n"
    " -b, --block-size <size>  of badblocks: the size of a block; one is listed when any\n"
    "                            of it is bad (default: 1024, if nothing else is listed)\n"
    " -h, --help               display this help\n"
    "\n"
    "Example, to copy disk.img without trying what is lost:\n"
    " remapctl export --format ddrescue disk.remap lost.map\n"
    " ddrescue -m lost.map disk/disk.img new.img new.map\n"
    "What -m leaves out keeps '?' (not tried) in new.map: what is lost is named by\n"
    "lost.map itself.\n";

enum { OPTION_STATE = 256 };

struct export {
	const char *path, *file;
	enum list_format format;
	bool format_given, block_given, state_given;
	bool remapped, pending;
	struct list_disk disk;
	struct store *store;
	struct list_writer writer;
};

/* ---- what is listed --------------------------------------------------------------- */

static bool is_listed(const struct export *x, const struct extent *e)
{
	return e->state == SECTOR_REMAPPED ? x->remapped : x->pending;
}

static int write_extent(void *context, const struct extent *e)
{
	struct export *x = context;

	if (is_listed(x, e))
		list_add(&x->writer, e);
	/* A pipe without a reader, a full disk: the rest is not needed. */
	return ferror(x->writer.to) ? -EPIPE : 0;
}

/* Where the runs of listed sectors begin and end is where blocks may be cut. */
struct fit {
	const struct export *export;
	sector_t end;    /* of the run so far */
	sector_t inside; /* the first sector whose block is not whole; UINT64_MAX: none */
};

static void check_edge(struct fit *f, sector_t edge, sector_t sector)
{
	const struct list_disk *d = &f->export->disk;

	/* Main need not end where a block does. */
	if (f->inside == UINT64_MAX && edge != d->sectors &&
	    edge * d->sector_size % d->block_size)
		f->inside = sector;
}

static int check_fit(void *context, const struct extent *e)
{
	struct fit *f = context;

	if (!is_listed(f->export, e))
		return 0;
	if (e->start != f->end) {
		check_edge(f, f->end, f->end - 1);
		check_edge(f, e->start, e->start);
	}
	f->end = extent_end(e);
	return 0;
}

static int refuse_damaged(const struct export *x, int rc, struct error *err)
{
	if (rc == -EUCLEAN)
		return error_set(err, EUCLEAN, "the map in %.200s is damaged or was changed by hand; see "
				 "'remapctl check'", x->path);
	return error_set(err, -rc, "cannot read %.200s (%s); check the disk it is on", x->path,
			 errno_name(-rc));
}

/* Nobody said that a list may name more than is bad. */
static int check_blocks(struct export *x, struct error *err)
{
	struct fit f = {.export = x, .inside = UINT64_MAX};
	int rc;

	if (x->format != LIST_BADBLOCKS || x->block_given)
		return 0;
	rc = store_each_extent(x->store, check_fit, &f);
	if (rc < 0)
		return refuse_damaged(x, rc, err);
	check_edge(&f, f.end, f.end - 1);
	if (f.inside == UINT64_MAX)
		return 0;
	return error_set(err, EINVAL, "sector %" PRIu64 " is bad, but not all of its block of %" PRIu32
			 " bytes, the default of badblocks; for e2fsck -l and mke2fs -l use -b with "
			 "the block size of the file system (mostly 4096), or -b %" PRIu32 " for "
			 "exactly the bad sectors", f.inside, x->disk.block_size,
			 x->disk.sector_size);
}

static int write_list(struct export *x, FILE *to, struct error *err)
{
	int rc;

	list_begin(&x->writer, to, x->format, &x->disk);
	rc = store_each_extent(x->store, write_extent, x);
	if (rc < 0 && rc != -EPIPE)
		return refuse_damaged(x, rc, err);
	list_end(&x->writer);
	if (fflush(to) != 0 || ferror(to))
		return error_set(err, errno ? errno : EIO, "cannot write the list: %s; send it "
				 "elsewhere", strerror(errno ? errno : EIO));
	return 0;
}

static int write_file(struct export *x, struct error *err)
{
	struct output output;
	int rc = output_begin(x->file, &(struct output_volume){x->path, x->store}, &output, err);

	return rc < 0 ? rc : output_end(&output, write_list(x, output.to, err), err);
}

static int export(struct export *x)
{
	struct error err = {0};
	int rc = store_open(x->path, STORE_READ, &x->store, &err);

	if (rc < 0)
		return refuse(&err);
	x->disk.sector_size = store_volume(x->store)->sector_size;
	x->disk.sectors = store_volume(x->store)->main_sectors;
	rc = store_freeze(x->store);
	if (rc < 0)
		refuse_damaged(x, rc, &err);
	rc = rc < 0 ? rc : check_blocks(x, &err);
	rc = rc < 0 ? rc : write_file(x, &err);
	store_close(x->store);
	return rc < 0 ? refuse(&err) : EXIT_DONE;
}

/* ---- the command line ------------------------------------------------------------- */

/* 0, or what to end with. */
static int take_option(struct export *x, int c)
{
	struct error err = {0};
	int rc = 0;

	if (c == 'f') {
		rc = list_format_of(optarg, &x->format, &err);
		x->format_given = true;
	} else if (c == 'b') {
		rc = take_block_size(optarg, &x->disk.block_size, &err);
		x->block_given = true;
	} else if (c == OPTION_STATE) {
		x->state_given = true;
		x->remapped = strcmp(optarg, "pending") != 0;
		x->pending = strcmp(optarg, "remapped") != 0;
		if (x->remapped && x->pending && strcmp(optarg, "both") != 0)
			return misuse("export", "--state: '%.60s' is none of pending, remapped, both",
				      optarg);
	}
	return rc < 0 ? refuse_misuse(&err) : 0;
}

int run_export(int argc, char **argv)
{
	static const struct option longs[] = {{"format", required_argument, NULL, 'f'},
					      {"block-size", required_argument, NULL, 'b'},
					      {"state", required_argument, NULL, OPTION_STATE},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME", "FILE"};
	struct export x = {.disk = {.block_size = LIST_BLOCK_SIZE}, .file = "-"};
	int c, rc;

	while ((c = next_option("export", argc, argv, ":f:b:h", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		rc = c == '?' ? EXIT_MISUSED : take_option(&x, c);
		if (rc)
			return rc;
	}
	rc = check_operands("export", argc, argv, 1, 2, names);
	if (rc)
		return rc;
	if (!x.format_given)
		return misuse("export", "--format is missing");
	if (x.block_given && x.format != LIST_BADBLOCKS)
		return misuse("export", "-b is for --format badblocks alone");
	if (!x.state_given) {
		x.pending = true;
		x.remapped = x.format != LIST_DDRESCUE;
	}
	x.path = argv[optind];
	if (argc - optind == 2)
		x.file = argv[optind + 1];
	return export(&x);
}
