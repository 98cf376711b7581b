/* remapctl inject clear. */
#include "ctl/inject.h"

#include "remapfs/cleanup.h"
#include "remapfs/parse.h"

#include <inttypes.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl inject <volume> clear [options]\n"
    "\n"
    "Remove simulated faults; all of them without an option. Sectors that moved to\n"
    "a spare because of them stay there.\n"
    "\n"
    "Options:\n"
    "     --sectors <sectors>  those that touch one of these sectors\n"
    "     --spare <id>         on this spare; the default with --sectors is main\n"
    "     --id <number>        the one that 'list' shows with this number\n"
    " -h, --help               display this help\n";

static const char name[] = "inject VOLUME clear";

enum { OPTION_SECTORS = 256, OPTION_SPARE, OPTION_ID };

struct request {
	const char *list;
	spare_id_t spare;
	uint64_t id;
};

/* ---- options ---------------------------------------------------------------- */

static int take_list(struct request *request, const char *text)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct error err = {0};
	size_t count;

	request->list = text;
	if (parse_sectors(text, SECTOR_MAX, &ranges, &count, &err) == 0)
		return 0;
	error_prefix(&err, "--sectors");
	return refuse_misuse(&err);
}

static int take_id(struct request *request, const char *text)
{
	struct error err = {0};

	if (parse_number(text, 1, INT64_MAX, &request->id, &err) == 0)
		return 0;
	error_prefix(&err, "--id");
	return refuse_misuse(&err);
}

static int take_option(struct request *request, int c, const char *text)
{
	switch (c) {
	case OPTION_SECTORS:
		return take_list(request, text);
	case OPTION_SPARE:
		return take_spare(text, &request->spare);
	case OPTION_ID:
		return take_id(request, text);
	}
	return EXIT_MISUSED;
}

/* 0, an exit code, or below 0: help was asked for. */
static int read_options(int argc, char **argv, struct request *request)
{
	static const struct option longs[] = {{"sectors", required_argument, NULL, OPTION_SECTORS},
					      {"spare", required_argument, NULL, OPTION_SPARE},
					      {"id", required_argument, NULL, OPTION_ID},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	int c, rc;

	while ((c = next_option(name, argc, argv, ":h", longs)) != -1) {
		if (c == 'h')
			return -1;
		rc = take_option(request, c, optarg);
		if (rc)
			return rc;
	}
	rc = check_operands(name, argc, argv, 0, 0, NULL);
	if (!rc && request->id && (request->list || request->spare))
		rc = misuse(name, "--id goes with no other option");
	return rc;
}

/* ---- clearing --------------------------------------------------------------- */

static bool has_fault(const struct fault *faults, size_t count, uint64_t id)
{
	for (size_t i = 0; i < count; i++)
		if ((uint64_t)faults[i].id == id)
			return true;
	return false;
}

static int check_id(const char *volume, struct store *store, uint64_t id)
{
	CLEANUP_FREE struct fault *faults = NULL;
	size_t count = 0;
	int rc = store_load_faults(store, &faults, &count);

	if (rc)
		return refuse_store(volume, rc);
	if (has_fault(faults, count, id))
		return 0;
	return refuse_text("%.200s has no fault %" PRIu64 "; 'inject VOLUME list' shows those it "
			   "has",
			   volume, id);
}

static int clear_ranges(struct store *store, spare_id_t spare, const struct sector_range *ranges,
			size_t count, uint64_t *ret_cleared)
{
	int rc = 0;

	*ret_cleared = 0;
	for (size_t i = 0; i < count && !rc; i++) {
		uint64_t cleared = 0;

		rc =
		    store_clear_faults_in(store, spare, ranges[i].start, ranges[i].count, &cleared);
		*ret_cleared += cleared;
	}
	return rc;
}

static int clear(struct store *store, const struct request *request,
		 const struct sector_range *ranges, size_t count, uint64_t *ret_cleared)
{
	if (count)
		return clear_ranges(store, request->spare, ranges, count, ret_cleared);
	if (!request->id)
		return store_clear_all_faults(store, ret_cleared);
	*ret_cleared = 1;
	return store_clear_fault(store, (int64_t)request->id);
}

static int clear_and_tell(const char *volume, struct store *store, const struct request *request,
			  const struct sector_range *ranges, size_t count)
{
	struct event event = {.kind = EVENT_FAULTS_CLEARED};
	uint64_t cleared = 0;
	int rc = begin_faults(volume, store);

	if (rc)
		return rc;
	rc = clear(store, request, ranges, count, &cleared);
	if (!rc && !cleared) {
		store_rollback(store);
		puts("there was nothing to clear");
		return EXIT_DONE;
	}
	snprintf(event.detail, sizeof(event.detail), "%" PRIu64 " fault%s cleared", cleared,
		 cleared == 1 ? "" : "s");
	return end_faults(volume, store, rc, &event, event.detail);
}

static int find_and_clear(const char *volume, struct store *store, const struct request *request)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct sector_range whole = {0};
	struct error err = {0};
	size_t count = 0;
	int rc = find_limit(volume, store, request->spare, &whole.count);

	if (!rc && request->id)
		rc = check_id(volume, store, request->id);
	if (rc)
		return rc;
	if (!request->list)
		return clear_and_tell(volume, store, request, &whole, request->spare ? 1 : 0);
	if (parse_sectors(request->list, whole.count, &ranges, &count, &err))
		return refuse(&err);
	return clear_and_tell(volume, store, request, ranges, count);
}

int inject_clear(const char *volume, int argc, char **argv)
{
	struct request request = {0};
	struct error err = {0};
	struct store *store;
	int rc = read_options(argc, argv, &request);

	if (rc)
		return rc < 0 ? print_help(help_text) : rc;
	if (store_open(volume, STORE_WRITE, &store, &err))
		return refuse(&err);
	rc = find_and_clear(volume, store, &request);
	store_close(store);
	return rc;
}
