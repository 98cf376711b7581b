/* remapctl: makes volumes, shows what is in them, and tries them out. */
#include "ctl/ctl.h"

#include "remapfs/log.h"

#include <errno.h>
#include <locale.h>
#include <string.h>

static const struct command commands[] = {
    {"create", run_create, "make a volume from a main disk image and spares"},
    {"status", run_status, "show the state of a volume, its spares and its daemon"},
    {"list", run_list, "list the sectors that live on a spare"},
    {"pending", run_pending, "list the sectors that are lost until written"},
    {"history", run_history, "list everything that happened to a volume"},
    {"map", run_map, "show the disk and its spares as blocks"},
    {"report", run_report, "write a page of HTML about a volume"},
    {"metrics", run_metrics, "print the figures of a volume for Prometheus"},
    {"health", run_health, "say in one line how a volume is, for monitoring"},
    {"doctor", run_doctor, "look for what is in the way, and say what to do about it"},
    {"inject", run_inject, "simulate bad sectors"},
    {"attach", run_attach, "make a block device of a mounted volume"},
    {"detach", run_detach, "undo attach"},
    {"add-spare", run_add_spare, "give a volume one more spare, also while it is mounted"},
    {"retire-spare", run_retire_spare, "move everything off a spare, so that it can be taken away"},
    {"mark", run_mark, "move sectors that are known to be bad to the spares now"},
    {"unmap", run_unmap, "move sectors back to a main that was repaired or replaced"},
    {"import", run_import, "take the sectors of a badblocks or ddrescue list for bad"},
    {"export", run_export, "write the bad sectors as such a list"},
    {"scrub", run_scrub, "read everything, and find bad sectors before they hurt"},
    {"upgrade", run_upgrade, "let a mounted volume go on with the installed program"},
    {"check", run_check, "compare database and spares, and repair them"},
    {"rebuild", run_rebuild, "make a lost database anew from main and spares"},
};

static int help(void)
{
	print_help("\n"
		   "Usage:\n"
		   " remapctl <command> [options] <volume> ...\n"
		   "\n"
		   "Make and look after remapfs volumes: disk images with bad sectors that are\n"
		   "kept usable by spare sectors elsewhere.\n"
		   "\n"
		   "Commands:\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		printf(" %-12s %s\n", commands[i].name, commands[i].summary);
	return print_help(
	    "\n"
	    "Options:\n"
	    " -h, --help     display this help; after a command: that of the command\n"
	    " -V, --version  display version\n"
	    "\n"
	    "Arguments:\n"
	    " <volume> is the path of the SQLite file that remapctl create makes.\n"
	    " <size> is in bytes, or with a suffix: K, M, G, T, P (or KiB, MiB, ...) are\n"
	    " powers of 1024; KB, MB, GB, TB, PB are powers of 1000.\n"
	    " <sectors> is a list such as 0,2,5000-5004, in sectors of the volume.\n"
	    "\n"
	    "Exit status:\n"
	    " 0  done\n"
	    " 1  refused or failed: nothing was changed, unless the message says so\n"
	    " 2  wrong command line: unknown option or command, missing or extra\n"
	    "    argument, malformed value\n"
	    "Those of check are of its own.\n"
	    "\n"
	    "An error is one line on standard error: the cause; then what to do about it.\n");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static int dispatch(int argc, char **argv)
{
	const struct command *command;

	if (argc < 2)
		return misuse("", "no command is given");
	if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
		return help();
	if (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)
		return print_help("remapctl from remapfs " REMAPFS_VERSION "\n");
	command = find_command(argv[1]);
	if (command)
		return command->run(argc - 1, argv + 1);
	if (argv[1][0] == '-')
		return misuse("", "unknown option '%.60s'", argv[1]);
	return misuse("", "unknown command '%.60s'", argv[1]);
}

/* Output that did not arrive is a failure, and is known only at the end. */
static int close_output(int code)
{
	bool failed = ferror(stdout);

	errno = 0;
	failed |= fclose(stdout) != 0;
	if (!failed)
		return code;
	refuse_text("cannot write the output: %s; what the command did stands, send its output "
		    "elsewhere",
		    strerror(errno ? errno : EIO));
	return code ? code : EXIT_REFUSED;
}

int main(int argc, char **argv)
{
	log_init("remapctl", LOG_LEVEL_WARNING);
	setlocale(LC_CTYPE, "");
	return close_output(dispatch(argc, argv));
}
