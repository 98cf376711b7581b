/* remapctl set-path: main and spares that have another path than before. */
#include "ctl/ctl.h"

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"
#include "remapfs/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl set-path [options] <volume> [--main <path>] [--spare <number>=<path>]...\n"
    "\n"
    "Tell a volume that is not mounted where main or a spare is now, because a disk has\n"
    "another name or a file was moved. What is there must be it: a spare is known by\n"
    "its superblock, main by its serial number or by what it holds in some places.\n"
    "The data stay where they are. All of it is changed, or nothing.\n"
    "\n"
    "Options:\n"
    "     --main <path>            the path that main has now\n"
    "     --spare <number>=<path>  the path that the spare of this number has now; may\n"
    "                              be given several times. 'remapctl status' has the\n"
    "                              numbers.\n"
    "     --force                  take another disk for main, whatever is on it\n"
    " -q, --quiet                  print no summary\n"
    " -h, --help                   display this help\n"
    "\n"
    "Give a disk by a name that stays, such as /dev/disk/by-id/...\n"
    "\n"
    "Example:\n"
    " remapctl set-path disk.remap --main /dev/disk/by-id/ata-DISK --spare 1=/data/spare.img\n";

enum { OPTION_MAIN = 256, OPTION_SPARE, OPTION_FORCE };

struct request {
	const char *volume;
	struct path_change *changes;
	size_t count;
	bool quiet, force;
};

/* ---- options ---------------------------------------------------------------- */

static int add_change(struct request *request, spare_id_t spare, const char *path,
		      struct error *err)
{
	struct path_change *more = reallocarray(request->changes, request->count + 1, sizeof(*more));

	if (!more)
		return error_set(err, ENOMEM, "not enough memory; give fewer paths");
	request->changes = more;
	if (!*path)
		return error_set(err, EINVAL, "%s: the path is empty; name a file or block device",
				 spare == ON_MAIN ? "--main" : "--spare");
	more[request->count++] = (struct path_change){.spare = spare, .path = path};
	return 0;
}

/* <number>=<path>; text is cut. */
static int add_spare(struct request *request, char *text, struct error *err)
{
	char *path = strchr(text, '=');
	uint64_t id;
	int rc;

	if (!path)
		return error_set(err, EINVAL, "--spare: '%.60s' names no spare; give its number and its "
				 "path, such as 1=/data/spare.img", text);
	*path++ = 0;
	rc = parse_number(text, 1, SPARE_ID_MAX, &id, err);
	if (rc < 0) {
		error_prefix(err, "--spare");
		return rc;
	}
	return add_change(request, (spare_id_t)id, path, err);
}

/* 0, or an exit code (below 0: help was asked for). */
static int read_options(int argc, char **argv, struct request *request)
{
	static const struct option longs[] = {{"main", required_argument, NULL, OPTION_MAIN},
					      {"spare", required_argument, NULL, OPTION_SPARE},
					      {"force", no_argument, NULL, OPTION_FORCE},
					      {"quiet", no_argument, NULL, 'q'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	struct error err = {0};
	int c, rc;

	while ((c = next_option("set-path", argc, argv, ":qh", longs)) != -1) {
		rc = 0;
		if (c == 'h')
			return -1;
		if (c == '?')
			return EXIT_MISUSED;
		request->quiet |= c == 'q';
		request->force |= c == OPTION_FORCE;
		if (c == OPTION_MAIN)
			rc = add_change(request, ON_MAIN, optarg, &err);
		else if (c == OPTION_SPARE)
			rc = add_spare(request, optarg, &err);
		if (rc < 0)
			return refuse_misuse(&err);
	}
	rc = check_operands("set-path", argc, argv, 1, 1, names);
	if (rc)
		return rc;
	request->volume = argv[optind];
	return request->count ? 0 : misuse("set-path", "neither --main nor --spare is given");
}

/* ---- the change ------------------------------------------------------------- */

static void print_path(const char *what, uint32_t number, const char *path)
{
	printf("%s", what);
	if (number)
		printf(" %" PRIu32, number);
	fputs(": ", stdout);
	print_word(stdout, path);
	putchar('\n');
}

static bool is_named(const struct request *request, spare_id_t id)
{
	for (size_t i = 0; i < request->count; i++)
		if (request->changes[i].spare == id)
			return true;
	return false;
}

/* As the volume has them now. */
static int print_paths(const struct request *request)
{
	struct error err = {0};
	struct store *store;
	const struct store_spare *spares;
	size_t count;

	if (store_open(request->volume, STORE_READ, &store, &err) < 0)
		return refuse(&err);
	if (is_named(request, ON_MAIN))
		print_path("main", 0, store_volume(store)->main_path);
	spares = store_spares(store, &count);
	for (size_t i = 0; i < count; i++)
		if (is_named(request, spares[i].id))
			print_path("spare", spares[i].id, spares[i].path);
	store_close(store);
	return EXIT_DONE;
}

static int set_paths(const struct request *request)
{
	struct error err = {0}, warning = {0};

	if (volume_set_paths(request->volume, request->changes, request->count, request->force,
			     &warning, &err) < 0)
		return refuse(&err);
	if (warning.text[0])
		warn_text("%s", warning.text);
	return request->quiet ? EXIT_DONE : print_paths(request);
}

int run_set_path(int argc, char **argv)
{
	struct request request = {0};
	int rc = read_options(argc, argv, &request);

	if (rc < 0)
		rc = print_help(help_text);
	else if (rc == 0)
		rc = set_paths(&request);
	free(request.changes);
	return rc;
}
