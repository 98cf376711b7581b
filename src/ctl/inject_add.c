/* remapctl inject add. */
#include "ctl/choose.h"
#include "ctl/inject.h"

#include "remapfs/cleanup.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl inject <volume> add <which> [options]\n"
    "\n"
    "Let sectors fail, or be slow.\n"
    "\n"
    "Which sectors, one of:\n"
    "     --sectors <sectors>  these, such as 0,2,5000-5004\n"
    "     --file <list>        those in a file, one sector or range a line; '-' reads\n"
    "                            standard input\n"
    "     --random <number>    that many, drawn at random\n"
    "     --percent <number>   that part of all, drawn at random\n"
    "\n"
    "Options:\n"
    "     --spare <id>         on this spare, in sectors from the start of its part;\n"
    "                            the default is main\n"
    "     --on <what>          fail on read, write or both (default)\n"
    "     --errno <name>       how: EIO (default), ENODATA, ...; 'none' with --delay\n"
    "                            is only slow\n"
    "     --delay <ms>         let each request that meets a sector wait, up to 3600000\n"
    "     --times <number>     each sector fails that often, then no more\n"
    "     --until-rewritten    reads fail until the sector is written\n"
    "     --seed <number>      draw the same sectors as before\n"
    " -h, --help               display this help\n";

/* For messages and the remedy in them. */
static const char name[] = "inject VOLUME add";

enum {
	OPTION_SECTORS = 256,
	OPTION_FILE,
	OPTION_RANDOM,
	OPTION_PERCENT,
	OPTION_SPARE,
	OPTION_ON,
	OPTION_ERRNO,
	OPTION_DELAY,
	OPTION_TIMES,
	OPTION_REWRITTEN,
	OPTION_SEED,
};

struct request {
	struct choice choice;
	unsigned choices; /* how many were given */
	bool seeded;
	struct fault fault; /* all but its sectors */
	bool on_given;
};

/* ---- options ---------------------------------------------------------------- */

static int take_on(struct request *request, const char *text)
{
	static const char *const names[] = {"read", "write", "both"};
	static const enum fault_on values[] = {FAULT_ON_READ, FAULT_ON_WRITE, FAULT_ON_BOTH};

	for (size_t i = 0; i < 3; i++)
		if (strcmp(text, names[i]) == 0) {
			request->fault.on = values[i];
			request->on_given = true;
			return 0;
		}
	return misuse(name, "--on: '%.60s' is none of read, write, both", text);
}

static int take_errno(struct request *request, const char *text)
{
	request->fault.error = strcmp(text, "none") == 0 ? 0 : errno_from_name(text);
	if (!request->fault.error && strcmp(text, "none") != 0)
		return misuse(name, "--errno: '%.60s' is no error name such as EIO or ENODATA",
			      text);
	return 0;
}

static int take_life(struct request *request, enum fault_life life)
{
	if (request->fault.life != FAULT_PERMANENT && request->fault.life != life)
		return misuse(name, "--times and --until-rewritten exclude each other");
	request->fault.life = life;
	return 0;
}

static int take_number(const char *option, const char *text, uint64_t min, uint64_t max,
		       uint64_t *ret)
{
	struct error err = {0};

	if (parse_number(text, min, max, ret, &err) == 0)
		return 0;
	error_prefix(&err, "%s", option);
	return refuse_misuse(&err);
}

static int take_percent(struct request *request, const char *text)
{
	struct error err = {0};

	if (parse_percent(text, &request->choice.percent, &err) == 0)
		return 0;
	error_prefix(&err, "--percent");
	return refuse_misuse(&err);
}

/* What is no list at all is found before a volume is opened. */
static int take_list(struct request *request, const char *text)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct error err = {0};
	size_t count;

	request->choice.list = text;
	if (parse_sectors(text, SECTOR_MAX, &ranges, &count, &err) == 0)
		return 0;
	error_prefix(&err, "--sectors");
	return refuse_misuse(&err);
}

static int take_which(struct request *request, int c, const char *text)
{
	request->choices++;
	switch (c) {
	case OPTION_SECTORS:
		return take_list(request, text);
	case OPTION_RANDOM:
		return take_number("--random", text, 1, SECTOR_MAX, &request->choice.random);
	case OPTION_PERCENT:
		return take_percent(request, text);
	}
	request->choice.file = text;
	return *text ? 0 : misuse(name, "--file is empty");
}

static int take_option(struct request *request, int c, const char *text)
{
	uint64_t number = 0;
	int rc;

	switch (c) {
	case OPTION_SPARE:
		return take_spare(text, &request->fault.spare);
	case OPTION_ON:
		return take_on(request, text);
	case OPTION_ERRNO:
		return take_errno(request, text);
	case OPTION_DELAY:
		rc = take_number("--delay", text, 0, FAULT_DELAY_MS_MAX, &number);
		request->fault.delay_ms = (uint32_t)number;
		return rc;
	case OPTION_TIMES:
		rc = take_number("--times", text, 1, INT64_MAX, &request->fault.times);
		return rc ? rc : take_life(request, FAULT_TIMES);
	case OPTION_REWRITTEN:
		return take_life(request, FAULT_UNTIL_REWRITTEN);
	case OPTION_SEED:
		request->seeded = true;
		return take_number("--seed", text, 0, UINT64_MAX, &request->choice.seed);
	}
	return take_which(request, c, text);
}

static bool is_drawn(const struct choice *choice)
{
	return choice->random || choice->percent > 0;
}

/* What each option allows is checked; this is how they go together. */
static int check_request(struct request *request)
{
	struct fault *fault = &request->fault;

	if (request->choices != 1)
		return misuse(name, "give one of --sectors, --file, --random and --percent");
	if (request->seeded && !is_drawn(&request->choice))
		return misuse(name, "--seed is for --random and --percent");
	if (!fault->error && !fault->delay_ms)
		return misuse(name, "--errno none does nothing without --delay");
	if (fault->life == FAULT_UNTIL_REWRITTEN && !request->on_given)
		fault->on = FAULT_ON_READ;
	if (fault->life == FAULT_UNTIL_REWRITTEN && fault->on != FAULT_ON_READ)
		return misuse(name, "--until-rewritten needs --on read");
	/* Short, so that it can be typed again. */
	if (!request->seeded && getrandom(&request->choice.seed, 4, 0) != 4)
		return refuse_text("no random numbers are to be had; give --seed");
	return 0;
}

/* 0, an exit code, or below 0: help was asked for. */
static int read_options(int argc, char **argv, struct request *request)
{
	static const struct option longs[] = {
	    {"sectors", required_argument, NULL, OPTION_SECTORS},
	    {"file", required_argument, NULL, OPTION_FILE},
	    {"random", required_argument, NULL, OPTION_RANDOM},
	    {"percent", required_argument, NULL, OPTION_PERCENT},
	    {"spare", required_argument, NULL, OPTION_SPARE},
	    {"on", required_argument, NULL, OPTION_ON},
	    {"errno", required_argument, NULL, OPTION_ERRNO},
	    {"delay", required_argument, NULL, OPTION_DELAY},
	    {"times", required_argument, NULL, OPTION_TIMES},
	    {"until-rewritten", no_argument, NULL, OPTION_REWRITTEN},
	    {"seed", required_argument, NULL, OPTION_SEED},
	    {"help", no_argument, NULL, 'h'},
	    {0}};
	int c, rc;

	while ((c = next_option(name, argc, argv, ":h", longs)) != -1) {
		if (c == 'h')
			return -1;
		rc = c == '?' ? EXIT_MISUSED : take_option(request, c, optarg);
		if (rc)
			return rc;
	}
	rc = check_operands(name, argc, argv, 0, 0, NULL);
	return rc ? rc : check_request(request);
}

/* ---- adding ----------------------------------------------------------------- */

static void describe_life(const struct fault *fault, char *buf, size_t size)
{
	buf[0] = 0;
	if (fault->life == FAULT_TIMES)
		snprintf(buf, size, ", %" PRIu64 " time%s each", fault->times,
			 fault->times == 1 ? "" : "s");
	else if (fault->life == FAULT_UNTIL_REWRITTEN)
		snprintf(buf, size, ", until rewritten");
}

/* "5 sectors of main: reads fail with EIO after 20 ms, 2 times each (seed 7)" */
static void describe(const struct request *request, uint64_t sectors, char *buf, size_t size)
{
	static const char *const on[] = {[FAULT_ON_READ] = "reads",
					 [FAULT_ON_WRITE] = "writes",
					 [FAULT_ON_BOTH] = "reads and writes"};
	const struct fault *fault = &request->fault;
	char place[24] = "main", delay[40] = "", life[40], seed[40] = "";

	if (fault->spare != ON_MAIN)
		snprintf(place, sizeof(place), "spare %" PRIu32, fault->spare);
	if (fault->delay_ms)
		snprintf(delay, sizeof(delay), " after %" PRIu32 " ms", fault->delay_ms);
	describe_life(fault, life, sizeof(life));
	if (is_drawn(&request->choice))
		snprintf(seed, sizeof(seed), " (seed %" PRIu64 ")", request->choice.seed);
	snprintf(buf, size, "%" PRIu64 " sector%s of %s: %s %s%s%s%s%s", sectors,
		 plural(sectors), place, on[fault->on],
		 fault->error ? "fail with " : "succeed",
		 fault->error ? errno_name(fault->error) : "", delay, life, seed);
}

/* A fault that does not last is one row for each of its sectors. */
static int check_rows(const struct request *request, uint64_t sectors, size_t count)
{
	uint64_t rows = request->fault.life == FAULT_PERMANENT ? count : sectors;

	if (rows <= CHOICE_ROWS_MAX)
		return 0;
	return refuse_text("%" PRIu64 " faults are too many for one command; add at most %u at a "
			   "time",
			   rows, CHOICE_ROWS_MAX);
}

static int add_faults(const char *volume, struct store *store, const struct request *request,
		      const struct sector_range *ranges, size_t count)
{
	struct event event = {.kind = EVENT_FAULTS_ADDED};
	struct fault fault = request->fault;
	uint64_t sectors = count_sectors(ranges, count);
	int rc = check_rows(request, sectors, count);

	if (!rc)
		rc = begin_faults(volume, store);
	if (rc)
		return rc;
	for (size_t i = 0; i < count && !rc; i++) {
		fault.start = ranges[i].start;
		fault.count = ranges[i].count;
		rc = store_add_fault(store, &fault);
	}
	/* One place on main has columns of its own; anything else is told in words. */
	if (fault.spare == ON_MAIN && count == 1) {
		event.sector = ranges->start;
		event.sectors = ranges->count;
	}
	event.error = fault.error;
	describe(request, sectors, event.detail, sizeof(event.detail));
	return end_faults(volume, store, rc, &event, event.detail);
}

static int choose_and_add(const char *volume, struct store *store, const struct request *request)
{
	CLEANUP_FREE struct sector_range *ranges = NULL;
	struct error err = {0};
	size_t count = 0;
	sector_t limit;
	int rc = find_limit(volume, store, request->fault.spare, &limit);

	if (rc)
		return rc;
	if (choose_sectors(&request->choice, limit, &ranges, &count, &err))
		return refuse(&err);
	return add_faults(volume, store, request, ranges, count);
}

int inject_add(const char *volume, int argc, char **argv)
{
	struct request request = {.fault = {.on = FAULT_ON_BOTH, .error = EIO}};
	struct error err = {0};
	struct store *store;
	int rc = read_options(argc, argv, &request);

	if (rc)
		return rc < 0 ? print_help(help_text) : rc;
	if (store_open(volume, STORE_WRITE, &store, &err))
		return refuse(&err);
	rc = choose_and_add(volume, store, &request);
	store_close(store);
	return rc;
}
