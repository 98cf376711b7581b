/*
 * The commands that look at a volume, over a database whose rows are anybody's: whatever
 * they print, they end, and with an exit code that their manual names.
 */
#include <getopt.h>
#include <unistd.h>

#include "box.h"
#include "ctl/ctl.h"
#include "spoil.h"

static const struct {
	int (*run)(int argc, char **argv);
	const char *words[4];
	int most; /* of the exit codes */
} looks[] = {
	{run_status, {"status"}, 1},
	{run_status, {"status", "--json"}, 1},
	{run_list, {"list"}, 1},
	{run_pending, {"pending", "--json"}, 1},
	{run_history, {"history"}, 1},
	{run_map, {"map", "--ascii"}, 1},
	{run_map, {"map", "--json"}, 1},
	{run_metrics, {"metrics"}, 1},
	{run_report, {"report"}, 1},
	{run_health, {"health"}, 3},
	{run_export, {"export", "--format", "badblocks"}, 1},
	{run_export, {"export", "--format", "ddrescue"}, 1},
};

static void look(size_t i)
{
	char *argv[6];
	char words[4][16], path[128];
	int argc = 0, code;

	for (; argc < 4 && looks[i].words[argc]; argc++) {
		snprintf(words[argc], sizeof(words[argc]), "%s", looks[i].words[argc]);
		argv[argc] = words[argc];
	}
	snprintf(path, sizeof(path), "%s", box_path());
	argv[argc++] = path;
	argv[argc] = NULL;
	optind = 0; /* getopt begins anew */
	code = looks[i].run(argc, argv);
	PROMISE(code >= 0 && code <= looks[i].most);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	box_prepare();
	PROMISE(freopen("/dev/null", "w", stdout));
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	uint8_t which = take_8(&in);
	struct box box;

	box_reset(&box);
	spoil(&in);
	/* Three of them: the file is the same for all, and reading it is what takes time. */
	for (size_t i = 0; i < 3; i++)
		look((which + i) % SIZE(looks));
	box_free(&box);
	return 0;
}
