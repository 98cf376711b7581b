/* remapctl: makes volumes, shows what is in them, and tries them out. */
#include "ctl/ctl.h"

#include "remapfs/log.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the groups of the manual; a heading has no run, and names the page. */
static const struct command commands[] = {
    {NULL, NULL, "Make a volume and mend it: remapctl-create(8)"},
    {"create", run_create, "make a volume from a main disk image and spares"},
    {"check", run_check, "compare database and spares, and repair them"},
    {"rebuild", run_rebuild, "make a lost database anew from main and spares"},
    {"set-path", run_set_path, "tell a volume where main or a spare is now"},
    {NULL, NULL, "Look at it: remapctl-look(8)"},
    {"status", run_status, "show the state of a volume, its spares and its daemon"},
    {"list", run_list, "list the sectors that live on a spare"},
    {"pending", run_pending, "list the sectors that are lost until written"},
    {"history", run_history, "list everything that happened to a volume"},
    {"map", run_map, "show the disk and its spares as blocks"},
    {"report", run_report, "write a page of HTML about a volume"},
    {"metrics", run_metrics, "print the figures of a volume for Prometheus"},
    {"health", run_health, "say in one line how a volume is, for monitoring"},
    {"doctor", run_doctor, "look for what is in the way, and say what to do about it"},
    {NULL, NULL, "Use it as a block device: remapctl-attach(8)"},
    {"attach", run_attach, "make a block device of a mounted volume"},
    {"detach", run_detach, "undo attach"},
    {"upgrade", run_upgrade, "let a mounted volume go on with the installed program"},
    {NULL, NULL, "Spares: remapctl-spares(8)"},
    {"add-spare", run_add_spare, "give a volume one more spare, also while it is mounted"},
    {"retire-spare", run_retire_spare, "move everything off a spare, so that it can be taken away"},
    {NULL, NULL, "Bad sectors that are known: remapctl-lists(8)"},
    {"mark", run_mark, "move sectors that are known to be bad to the spares now"},
    {"unmap", run_unmap, "move sectors back to a main that was repaired or replaced"},
    {"import", run_import, "take the sectors of a badblocks or ddrescue list for bad"},
    {"export", run_export, "write the bad sectors as such a list"},
    {NULL, NULL, "Bad sectors that are not known yet: remapctl-scrub(8)"},
    {"scrub", run_scrub, "read everything, and find bad sectors before they hurt"},
    {NULL, NULL, "Simulated bad sectors: remapctl-inject(8)"},
    {"inject", run_inject, "simulate bad sectors"},
};

static void print_commands(void)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].name)
			printf(" %-12s  %s\n", commands[i].name, commands[i].summary);
		else
			printf("\n%s\n", commands[i].summary);
}

static int help(void)
{
	print_help("\n"
		   "Usage:\n"
		   " remapctl <command> [options] <volume> ...\n"
		   "\n"
		   "Make and look after remapfs volumes: disk images with bad sectors that are\n"
		   "kept usable by spare sectors elsewhere. Each command has --help.\n");
	print_commands();
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
	    "Those of check, health and doctor are of their own.\n"
	    "\n"
	    "An error is one line on standard error: the cause; then what to do about it.\n");
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].name && strcmp(name, commands[i].name) == 0)
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

/* What is mapped of a file is the index of the database's log alone. */
static void no_room(int signal)
{
	static const char line[] = "remapctl: the log of the database cannot be read: the disk that it is "
				   "on is full or fails; free it, or check it\n";

	(void)signal;
	if (write(STDERR_FILENO, line, sizeof(line) - 1) < 0)
		abort();
	_exit(EXIT_REFUSED);
}

int main(int argc, char **argv)
{
	log_init("remapctl", LOG_LEVEL_WARNING);
	/* Past a limit on file sizes a write fails, and what was made is removed again. */
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGBUS, no_room);
	setlocale(LC_CTYPE, "");
	return close_output(dispatch(argc, argv));
}
