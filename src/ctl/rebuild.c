/* remapctl rebuild: a new database from main and spares. */
#include "ctl/ctl.h"
#include "ctl/part.h"

#include "remapfs/rebuild.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl rebuild [options] <volume> --main <path> --spare <part>...\n"
    "\n"
    "Make the database of a volume anew, when it was lost, from what the spares say\n"
    "of themselves. Every remap that was acknowledged is in it. History begins anew;\n"
    "lost sectors and bad slots are found again when they fail. Main and spares are\n"
    "only read.\n"
    "\n"
    "Options:\n"
    "     --main <path>        the disk image or block device; only its size is checked,\n"
    "                          so be sure that it is the right one\n"
    "     --spare <path>[,offset=<size>][,length=<size>]\n"
    "                          a spare, with the region it was made with; give all\n"
    "     --force              rename an old <volume> to <volume>.old first\n"
    "     --partial            go on although a spare is missing or descriptors on one\n"
    "                          are damaged: what they named is served as it was\n"
    "                          before it moved\n"
    " -q, --quiet              print no summary\n"
    " -h, --help               display this help\n"
    "\n"
    "Example:\n"
    " remapctl rebuild disk.remap --main disk.img --spare /data/spare.img\n";

enum { OPTION_MAIN = 256, OPTION_SPARE, OPTION_FORCE, OPTION_PARTIAL };

struct request {
	struct rebuild_options rebuild;
	struct part_spec *spares;
	bool quiet;
};

static int read_part(char *text, const char *option, bool is_main, struct part_spec *ret,
		     struct error *err)
{
	int rc = parse_part(text, option, is_main, ret, err);

	if (rc == 0 && ret->size)
		rc = error_set(err, EINVAL, "%s: size= is for files to make; leave it out", option);
	return rc;
}

static int add_spare(struct request *request, struct error *err)
{
	size_t n = request->rebuild.spare_count;
	struct part_spec *more = reallocarray(request->spares, n + 1, sizeof(*more));
	int rc;

	if (!more || n == SPARE_ID_MAX)
		return error_set(err, ENOMEM, "--spare: there are too many; give at most %u",
				 SPARE_ID_MAX);
	request->rebuild.spares = request->spares = more;
	rc = read_part(optarg, "--spare", false, &more[n], err);
	request->rebuild.spare_count += rc == 0;
	return rc;
}

static int take_option(struct request *request, int c, struct error *err)
{
	struct rebuild_options *o = &request->rebuild;

	switch (c) {
	case OPTION_MAIN:
		if (o->main.path)
			return error_set(err, EINVAL, "--main is given twice; a volume has one main");
		return read_part(optarg, "--main", true, &o->main, err);
	case OPTION_SPARE:
		return add_spare(request, err);
	case OPTION_FORCE:
		o->force = true;
		return 0;
	case OPTION_PARTIAL:
		o->partial = true;
		return 0;
	}
	request->quiet = true;
	return 0;
}

/* 0, or an exit code (below 0: help was asked for). */
static int read_options(int argc, char **argv, struct request *request)
{
	static const struct option longs[] = {{"main", required_argument, NULL, OPTION_MAIN},
					      {"spare", required_argument, NULL, OPTION_SPARE},
					      {"force", no_argument, NULL, OPTION_FORCE},
					      {"partial", no_argument, NULL, OPTION_PARTIAL},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	struct error err = {0};
	int c, rc;

	while ((c = next_option("rebuild", argc, argv, ":qh", longs)) != -1) {
		if (c == 'h')
			return -1;
		if (c == '?')
			return EXIT_MISUSED;
		if (take_option(request, c, &err))
			return refuse_misuse(&err);
	}
	rc = check_operands("rebuild", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	request->rebuild.path = argv[optind];
	if (!request->rebuild.main.path)
		return misuse("rebuild", "--main is missing");
	if (!request->rebuild.spare_count)
		return misuse("rebuild", "--spare is missing");
	return 0;
}

static int rebuild(const struct request *request)
{
	struct rebuild_result result = {0};
	struct error err = {0};

	if (volume_rebuild(&request->rebuild, &result, &err))
		return refuse(&err);
	if (result.damaged)
		fprintf(stderr, "remapctl: warning: %" PRIu64 " descriptor%s damaged; check what is on "
				"the image\n", result.damaged, result.damaged == 1 ? " was" : "s were");
	if (request->quiet)
		return EXIT_DONE;
	fputs("Volume ", stdout);
	print_word(stdout, request->rebuild.path);
	printf(": %" PRIu64 " sector%s %s remapped, %" PRIu64 " pending\n", result.remapped,
	       plural(result.remapped), is_or_are(result.remapped), result.pending);
	return EXIT_DONE;
}

int run_rebuild(int argc, char **argv)
{
	struct request request = {0};
	int rc = read_options(argc, argv, &request);

	if (rc < 0)
		rc = print_help(help_text);
	else if (rc == 0)
		rc = rebuild(&request);
	free(request.spares);
	return rc;
}
