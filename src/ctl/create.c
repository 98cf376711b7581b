/* remapctl create: what is typed becomes create_options; volume_create decides. */
#include "ctl/ctl.h"
#include "ctl/disks.h"
#include "ctl/part.h"
#include "ctl/progress.h"

#include "remapfs/cleanup.h"
#include "remapfs/container.h"
#include "remapfs/parse.h"
#include "remapfs/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl create [options] <volume> --main <part> --spare <part>...\n"
    "\n"
    "Make a volume. Main and spares are checked first, and every sector of the\n"
    "spares is written and read back; nothing is changed unless all of them will do.\n"
    "What main holds is kept; what the spares hold is lost.\n"
    "\n"
    "Options:\n"
    "     --main <path>[,size=<size>]\n"
    "                          the disk image or block device to protect\n"
    "     --spare <path>[,size=<size>][,offset=<size>][,length=<size>]\n"
    "                          a file or block device that lends its sectors, or the\n"
    "                          part of it from offset on; may be given several times\n"
    "     --sector-size <n>    512 or 4096 bytes; the default is that of main\n"
    "     --force              take spares that carry data, members that belong to another\n"
    "                          volume, and those of which it cannot be told whether they\n"
    "                          overlap\n"
    " -q, --quiet              print neither progress nor summary\n"
    " -h, --help               display this help\n"
    "\n"
    "With size=, a file that is missing is made: main sparse, spares allocated.\n"
    "A spare needs room for at least 64 sectors and the tables that describe them:\n"
    "one damaged track would use up anything less.\n"
    "\n"
    "Example:\n"
    " remapctl create disk.remap --main disk.img --spare /data/spare.img,size=50M\n";

enum { OPTION_MAIN = 256, OPTION_SPARE, OPTION_SECTOR_SIZE, OPTION_FORCE };

struct request {
	struct create_options create;
	struct part_spec *spares;
	bool quiet;
	struct progress progress;
};

/* ---- options ---------------------------------------------------------------- */

static int add_spare(struct request *request, char *text, struct error *err)
{
	struct create_options *create = &request->create;
	struct part_spec *more;
	int rc;

	if (create->spare_count == SPARE_ID_MAX)
		return error_set(err, EINVAL, "--spare: there are too many; give at most %u",
				 SPARE_ID_MAX);
	more = reallocarray(request->spares, create->spare_count + 1, sizeof(*more));
	if (!more)
		return error_set(err, ENOMEM, "not enough memory; give fewer spares");
	create->spares = request->spares = more;
	rc = parse_part(text, "--spare", false, &more[create->spare_count], err);
	if (!rc)
		create->spare_count++;
	return rc;
}

static int set_main(struct request *request, char *text, struct error *err)
{
	if (request->create.main.path)
		return error_set(err, EINVAL, "--main is given twice; a volume has one main");
	return parse_part(text, "--main", true, &request->create.main, err);
}

static int set_sector_size(struct request *request, const char *text, struct error *err)
{
	bool large = strcmp(text, "4096") == 0;

	if (!large && strcmp(text, "512") != 0)
		return error_set(err, EINVAL,
				 "--sector-size: '%.60s' is not possible; give 512 "
				 "or 4096",
				 text);
	request->create.sector_size = large ? 4096 : 512;
	return 0;
}

static int take_option(struct request *request, int c, struct error *err)
{
	switch (c) {
	case OPTION_MAIN:
		return set_main(request, optarg, err);
	case OPTION_SPARE:
		return add_spare(request, optarg, err);
	case OPTION_SECTOR_SIZE:
		return set_sector_size(request, optarg, err);
	case OPTION_FORCE:
		request->create.force = true;
		return 0;
	}
	request->quiet = true;
	return 0;
}

/* 0, or an exit code (below 0: help was asked for). */
static int read_options(int argc, char **argv, struct request *request)
{
	static const struct option longs[] = {
	    {"main", required_argument, NULL, OPTION_MAIN},
	    {"spare", required_argument, NULL, OPTION_SPARE},
	    {"sector-size", required_argument, NULL, OPTION_SECTOR_SIZE},
	    {"force", no_argument, NULL, OPTION_FORCE},
	    {"quiet", no_argument, NULL, 'q'},
	    {"help", no_argument, NULL, 'h'},
	    {0}};
	static const char *const names[] = {"VOLUME"};
	struct error err = {0};
	int c, rc;

	while ((c = next_option("create", argc, argv, ":qh", longs)) != -1) {
		if (c == 'h')
			return -1;
		if (c == '?')
			return EXIT_MISUSED;
		if (take_option(request, c, &err))
			return refuse_misuse(&err);
	}
	rc = check_operands("create", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	request->create.path = argv[optind];
	if (!request->create.main.path)
		return misuse("create", "--main is missing");
	if (!request->create.spare_count)
		return misuse("create", "--spare is missing");
	return 0;
}

/* ---- the end ---------------------------------------------------------------- */

static void print_summary(const char *path, struct store *store)
{
	const struct store_volume *volume = store_volume(store);
	uint64_t slots = 0;
	size_t count;
	const struct store_spare *spares = store_spares(store, &count);
	char main_size[32], spare_size[32];

	for (size_t i = 0; i < count; i++)
		slots += spares[i].slots;
	format_size(main_size, volume->main_sectors * volume->sector_size);
	format_size(spare_size, slots * volume->sector_size);
	fputs("Volume ", stdout);
	print_word(stdout, path);
	printf(" (%s)\n  main    ", volume->uuid);
	print_word(stdout, volume->main_path);
	printf(": %s, %" PRIu64 " sector%s of %" PRIu32 " bytes\n", main_size,
	       volume->main_sectors, plural(volume->main_sectors), volume->sector_size);
	printf("  spare%-2s %zu with %" PRIu64 " slots (%s)\n", plural(count), count, slots,
	       spare_size);
	fputs("Next, mount it on an empty folder:\n  mkdir MOUNTPOINT\n  remapfs ", stdout);
	print_word(stdout, path);
	fputs(" MOUNTPOINT\n", stdout);
}

static void warn_format(const char *path)
{
	struct container container;

	if (!container_find(path, &container))
		return;
	warn_text("main '%.200s' is %s, not a disk: disk.img will show the file and not what is in "
		  "it; %s", path, container.name, container.qemu
		? "attach it with 'qemu-nbd --connect' and give that device, or turn it into a disk "
		  "image with 'qemu-img convert -O raw'" : "unpack it first");
}

/* What works, and is hardly what was meant. */
static void warn_of_places(const struct create_options *o)
{
	warn_format(o->main.path);
	disks_warn_memory("the database", o->path);
	for (size_t i = 0; i < o->spare_count; i++)
		disks_warn_memory("the spare", o->spares[i].path);
}

static int create(struct request *request)
{
	struct error err = {0}, warning = {0};
	struct store *store;

	progress_begin(&request->progress, request->quiet);
	request->create.progress = progress_show;
	request->create.context = &request->progress;
	if (volume_create(&request->create, &warning, &err)) {
		progress_end(&request->progress);
		return refuse(&err);
	}
	progress_end(&request->progress);
	if (warning.text[0])
		warn_text("%s", warning.text);
	warn_of_places(&request->create);
	if (request->quiet)
		return EXIT_DONE;
	if (store_open(request->create.path, STORE_READ, &store, &err))
		return refuse(&err);
	print_summary(request->create.path, store);
	store_close(store);
	return EXIT_DONE;
}

int run_create(int argc, char **argv)
{
	struct request request = {0};
	int rc = read_options(argc, argv, &request);

	if (rc < 0)
		rc = print_help(help_text);
	else if (rc == 0)
		rc = create(&request);
	free(request.spares);
	return rc;
}
