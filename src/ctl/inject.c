/* remapctl inject: simulated bad sectors. This file: the actions, and what they share. */
#include "ctl/inject.h"

#include "remapfs/parse.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl inject <volume> add <which> [options]\n"
    " remapctl inject <volume> list [options]\n"
    " remapctl inject <volume> clear [options]\n"
    "\n"
    "Simulate bad sectors, to see what a volume does about them. They hold at once\n"
    "under a running daemon, and until they are cleared. The history keeps them.\n"
    "\n"
    "Actions:\n"
    " add    let sectors fail, or be slow\n"
    " list   list the simulated faults\n"
    " clear  remove all of them, or some\n"
    "\n"
    "Options:\n"
    " -h, --help  display this help; after an action: that of the action\n";

static const char list_help[] =
    "\n"
    "Usage:\n"
    " remapctl inject <volume> list [options]\n"
    "\n"
    "List the simulated faults of a volume.\n"
    "\n"
    "Options:\n" TABLE_HELP " -h, --help             display this help\n";

/* ---- shared by add and clear ------------------------------------------------ */

int take_spare(const char *text, spare_id_t *ret)
{
	struct error err = {0};
	uint64_t id;

	if (parse_number(text, 1, SPARE_ID_MAX, &id, &err)) {
		error_prefix(&err, "--spare");
		return refuse_misuse(&err);
	}
	*ret = (spare_id_t)id;
	return 0;
}

int find_limit(const char *volume, const struct store *store, spare_id_t spare, sector_t *ret)
{
	const struct store_volume *description = store_volume(store);
	size_t count;
	const struct store_spare *spares = store_spares(store, &count);

	if (spare == ON_MAIN) {
		*ret = description->main_sectors;
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		if (spares[i].id == spare) {
			*ret = spares[i].length / description->sector_size;
			return 0;
		}
	return refuse_text("%.200s has no spare %" PRIu32 "; 'remapctl status' lists its spares",
			   volume, spare);
}

static bool is_no_daemon(int rc)
{
	return rc == -ENOENT || rc == -ECONNREFUSED;
}

int begin_faults(const char *volume, struct store *store)
{
	struct error err = {0};
	json_t *answer = NULL;
	int rc = control_ask(volume, "status", &answer, &err);

	json_decref(answer);
	if (rc && !is_no_daemon(rc))
		return refuse(&err);
	rc = store_begin(store);
	return rc ? refuse_store(volume, rc) : 0;
}

static int tell_daemon(const char *volume, const char *done)
{
	struct error err = {0};
	json_t *answer = NULL;
	int rc = control_ask(volume, "reload-faults", &answer, &err);

	json_decref(answer);
	if (rc && !is_no_daemon(rc)) {
		error_prefix(&err, "the faults are recorded, but do not hold before the next "
				   "mount");
		return refuse(&err);
	}
	printf("%s; %s\n", done,
	       rc ? "takes effect at the next mount" : "in effect now");
	return EXIT_DONE;
}

int end_faults(const char *volume, struct store *store, int rc, const struct event *event,
	       const char *done)
{
	if (!rc)
		rc = store_add_event(store, event);
	if (!rc)
		rc = store_commit(store);
	if (rc) {
		store_rollback(store);
		return refuse_store(volume, rc);
	}
	return tell_daemon(volume, done);
}

/* ---- list, and the choice of action ----------------------------------------- */

static int inject_list(const char *volume, int argc, char **argv)
{
	static const struct option longs[] = {TABLE_LONGS, {"help", no_argument, NULL, 'h'}, {0}};
	static const struct store_filter all;
	struct table_options options = {0};
	int c, rc;

	while ((c = next_option("inject VOLUME list", argc, argv, ":" TABLE_SHORTS "h", longs)) !=
	       -1) {
		if (c == 'h') {
			print_help(list_help);
			print_columns(store_columns(STORE_FAULTS));
			return EXIT_DONE;
		}
		if (!take_table_option(c, optarg, &options))
			return EXIT_MISUSED;
	}
	rc = check_operands("inject VOLUME list", argc, argv, 0, 0, NULL);
	return rc ? rc : show_table(volume, STORE_FAULTS, "faults", &options, &all);
}

struct action {
	const char *name;
	int (*run)(const char *volume, int argc, char **argv);
};

static const struct action actions[] = {
    {"add", inject_add}, {"list", inject_list}, {"clear", inject_clear}};

static const struct action *find_action(const char *word)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++)
		if (strcmp(word, actions[i].name) == 0)
			return &actions[i];
	return NULL;
}

int run_inject(int argc, char **argv)
{
	const struct action *action;

	if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
		return print_help(help_text);
	if (argc > 1 && argv[1][0] == '-')
		return misuse("inject", "'%.60s' stands where VOLUME should be", argv[1]);
	if (argc < 3)
		return misuse("inject", argc < 2 ? "VOLUME is missing"
						 : "the action is missing: add, list or clear");
	if (!*argv[1])
		return misuse("inject", "VOLUME is empty");
	action = find_action(argv[2]);
	if (action)
		return action->run(argv[1], argc - 2, argv + 2);
	if (strcmp(argv[2], "-h") == 0 || strcmp(argv[2], "--help") == 0)
		return print_help(help_text);
	if (find_action(argv[1]))
		return misuse("inject", "the volume comes first: remapctl inject %s %s",
			      argv[2][0] == '-' ? "VOLUME" : argv[2], argv[1]);
	return misuse("inject", "unknown action '%.60s'; it is add, list or clear", argv[2]);
}
