/*
 * What the subcommands of remapctl share: how they end, how they read their
 * options, and the tables they print.
 */
#ifndef REMAPFS_CTL_H
#define REMAPFS_CTL_H

#include "remapfs/control.h"
#include "remapfs/error.h"
#include "remapfs/store.h"

#include <getopt.h>
#include <stdio.h>

/* Exit codes, as remapctl --help tells them. */
enum { EXIT_DONE = 0, EXIT_REFUSED = 1, EXIT_MISUSED = 2 };

struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is the name; returns an exit code */
	const char *summary;
};

int run_create(int argc, char **argv);
int run_status(int argc, char **argv);
int run_list(int argc, char **argv);
int run_pending(int argc, char **argv);
int run_history(int argc, char **argv);
int run_inject(int argc, char **argv);
int run_attach(int argc, char **argv);
int run_detach(int argc, char **argv);
int run_add_spare(int argc, char **argv);
int run_retire_spare(int argc, char **argv);
int run_set_path(int argc, char **argv);
int run_mark(int argc, char **argv);
int run_unmap(int argc, char **argv);
int run_import(int argc, char **argv);
int run_export(int argc, char **argv);
int run_scrub(int argc, char **argv);
int run_upgrade(int argc, char **argv);
int run_check(int argc, char **argv);
int run_rebuild(int argc, char **argv);
int run_map(int argc, char **argv);
int run_metrics(int argc, char **argv);
int run_health(int argc, char **argv);
int run_doctor(int argc, char **argv);
int run_report(int argc, char **argv);

/* ---- ends that are told (usage.c) -------------------------------------------- */

/* Each prints one line on stderr and returns the exit code to end with. */
int refuse(const struct error *err);
int refuse_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
int refuse_misuse(const struct error *err);
/* One line on stderr, of what does not end the command. */
void warn_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* As above, with a remedy of its own: try 'remapctl COMMAND --help'. */
int misuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a store_ call other than store_open returned (negative) about volume. */
int explain_store(const char *volume, int rc, struct error *err); /* returns rc */
int refuse_store(const char *volume, int rc);

int print_help(const char *text);

/* What a noun, and what its verb, is with so many: "" or "s", "is" or "are". */
const char *plural(uint64_t count);
const char *is_or_are(uint64_t count);

/*
 * getopt_long, with its messages turned into ours. shorts begins with ':'.
 * -1: no more options; '?': told, end with EXIT_MISUSED.
 */
int next_option(const char *command, int argc, char **argv, const char *shorts,
		const struct option *longs);

/*
 * Checks what is left after the options: between min and max arguments (named
 * in names, for messages) and none empty. 0 or the exit code.
 */
int check_operands(const char *command, int argc, char **argv, int min, int max,
		   const char *const *names);

/* Prints path so that bash reads it back as one word; what is unsafe (text.h) as \ooo. */
void print_word(FILE *, const char *path);

/* ---- tables (table.c) --------------------------------------------------------- */

struct table_options {
	bool json, raw, noheadings;
	const char *columns; /* as given with -o, or NULL */
};

/* In the option lists of every command that prints a table. */
#define TABLE_SHORTS "Jno:r"
#define TABLE_LONGS                                                                                \
	{"json", no_argument, NULL, 'J'}, {"noheadings", no_argument, NULL, 'n'},                  \
	    {"output", required_argument, NULL, 'o'},                                              \
	{                                                                                          \
		"raw", no_argument, NULL, 'r'                                                      \
	}
#define TABLE_HELP                                                                                 \
	" -J, --json             use JSON output format\n"                                         \
	" -n, --noheadings       don't print headings\n"                                           \
	" -o, --output <list>    columns to print; +<list> adds to the default ones\n"             \
	" -r, --raw              use raw output format, blanks as \\x20\n"

/* Takes option c if it is one of TABLE_LONGS. */
bool take_table_option(int c, const char *argument, struct table_options *);

struct table;

/*
 * name is the key of the array in JSON. -EINVAL: options name a column that
 * there is not (err has the line).
 */
int table_new(const char *name, const struct store_column *columns, const struct table_options *,
	      struct table **ret, struct error *err);
/* values: one for each of columns, shown or not; NULL is an empty cell. -ENOMEM. */
int table_add(struct table *, const char *const *values);
int table_print(struct table *);
void table_free(struct table *); /* NULL is allowed */

/* The "Available output columns" part of a help text. */
void print_columns(const struct store_column *columns);

/* Opens volume, prints one of its tables, and returns the exit code. */
int show_table(const char *volume, enum store_table, const char *name, const struct table_options *,
	       const struct store_filter *);

#endif
