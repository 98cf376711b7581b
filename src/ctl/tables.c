/* remapctl list, pending and history: what the store holds, as tables. */
#include "ctl/ctl.h"

#include "remapfs/parse.h"

#include <errno.h>
#include <string.h>

static int add_row(void *context, const char *const *values)
{
	return table_add(context, values);
}

static int query(const char *volume, enum store_table which, const struct store_filter *filter,
		 struct table *table)
{
	struct error err = {0};
	struct store *store;
	int rc = store_open(volume, STORE_READ, &store, &err);

	if (rc)
		return refuse(&err);
	rc = store_query(store, which, filter, add_row, table, &err);
	store_close(store);
	if (rc == -EINVAL && filter->since) {
		error_prefix(&err, "--since");
		return refuse_misuse(&err);
	}
	if (rc)
		return err.text[0] ? refuse(&err) : refuse_store(volume, rc);
	rc = table_print(table);
	return rc ? refuse_store(volume, rc) : EXIT_DONE;
}

int show_table(const char *volume, enum store_table which, const char *name,
	       const struct table_options *options, const struct store_filter *filter)
{
	struct error err = {0};
	struct table *table;
	int rc = table_new(name, store_columns(which), options, &table, &err);

	if (rc)
		return rc == -EINVAL ? refuse_misuse(&err) : refuse(&err);
	rc = query(volume, which, filter, table);
	table_free(table);
	return rc;
}

/* ---- list and pending ------------------------------------------------------- */

static int show_help(const char *text, enum store_table which)
{
	print_help(text);
	print_columns(store_columns(which));
	return EXIT_DONE;
}

static int run_simple(int argc, char **argv, enum store_table which, const char *name,
		      const char *text)
{
	static const struct option longs[] = {TABLE_LONGS, {"help", no_argument, NULL, 'h'}, {0}};
	static const char *const names[] = {"VOLUME"};
	struct table_options options = {0};
	struct store_filter filter = {0};
	int c, rc;

	while ((c = next_option(argv[0], argc, argv, ":" TABLE_SHORTS "h", longs)) != -1) {
		if (c == 'h')
			return show_help(text, which);
		if (!take_table_option(c, optarg, &options))
			return EXIT_MISUSED;
	}
	rc = check_operands(argv[0], argc, argv, 1, 1, names);
	if (rc)
		return rc;
	return show_table(argv[optind], which, name, &options, &filter);
}

int run_list(int argc, char **argv)
{
	return run_simple(argc, argv, STORE_REMAPS, "remaps",
			  "\n"
			  "Usage:\n"
			  " remapctl list [options] <volume>\n"
			  "\n"
			  "List the sectors of main that live on a spare.\n"
			  "\n"
			  "Options:\n" TABLE_HELP " -h, --help             display this help\n");
}

int run_pending(int argc, char **argv)
{
	return run_simple(argc, argv, STORE_PENDING, "pending",
			  "\n"
			  "Usage:\n"
			  " remapctl pending [options] <volume>\n"
			  "\n"
			  "List the sectors that could not be read and have no copy. Reading them\n"
			  "fails until something is written to them.\n"
			  "\n"
			  "Options:\n" TABLE_HELP " -h, --help             display this help\n");
}

/* ---- history ---------------------------------------------------------------- */

static const char history_help[] =
    "\n"
    "Usage:\n"
    " remapctl history [options] <volume>\n"
    "\n"
    "List everything that happened to a volume, oldest first. Times are UTC.\n"
    "\n"
    "Options:\n"
    "     --since <time>     only what happened then or later: '2024-05-01',\n"
    "                          '2024-05-01 12:30', or what else datetime() of SQLite\n"
    "                          reads, in UTC\n"
    "     --limit <number>   only the newest ones\n" TABLE_HELP
    " -h, --help             display this help\n";

enum { OPTION_SINCE = 256, OPTION_LIMIT };

/* 0: taken, or the exit code. */
static int take_history_option(int c, struct table_options *options, struct store_filter *filter)
{
	struct error err = {0};

	if (take_table_option(c, optarg, options))
		return 0;
	switch (c) {
	case OPTION_SINCE:
		if (!*optarg)
			return misuse("history", "--since is empty");
		filter->since = optarg;
		return 0;
	case OPTION_LIMIT:
		if (parse_number(optarg, 1, INT64_MAX, &filter->limit, &err) == 0)
			return 0;
		error_prefix(&err, "--limit");
		return refuse_misuse(&err);
	}
	return EXIT_MISUSED;
}

int run_history(int argc, char **argv)
{
	static const struct option longs[] = {TABLE_LONGS,
					      {"since", required_argument, NULL, OPTION_SINCE},
					      {"limit", required_argument, NULL, OPTION_LIMIT},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	struct table_options options = {0};
	struct store_filter filter = {0};
	int c, rc;

	while ((c = next_option(argv[0], argc, argv, ":" TABLE_SHORTS "h", longs)) != -1) {
		if (c == 'h')
			return show_help(history_help, STORE_HISTORY);
		rc = take_history_option(c, &options, &filter);
		if (rc)
			return rc;
	}
	rc = check_operands(argv[0], argc, argv, 1, 1, names);
	if (rc)
		return rc;
	return show_table(argv[optind], STORE_HISTORY, "history", &options, &filter);
}
