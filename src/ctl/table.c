/*
 * One list of columns feeds every form of a table: libsmartcols prints it for
 * people, raw for scripts, or as JSON.
 */
#include "ctl/ctl.h"

#include "remapfs/cleanup.h"
#include "remapfs/text.h"

#include <ctype.h>
#include <errno.h>
#include <libsmartcols.h>
#include <string.h>
#include <strings.h>

#define COLUMNS_MAX 32

struct table {
	struct libscols_table *table;
	const struct store_column *columns;
	size_t shown[COLUMNS_MAX]; /* indices into columns */
	size_t count;
	bool raw, json;
};

bool take_table_option(int c, const char *argument, struct table_options *options)
{
	switch (c) {
	case 'J':
		options->json = true;
		return true;
	case 'n':
		options->noheadings = true;
		return true;
	case 'o':
		options->columns = argument;
		return true;
	case 'r':
		options->raw = true;
		return true;
	}
	return false;
}

/* ---- which columns ---------------------------------------------------------- */

static void heading(const char *name, char *buf, size_t size)
{
	size_t i;

	for (i = 0; name[i] && i + 1 < size; i++)
		buf[i] = (char)toupper((unsigned char)name[i]);
	buf[i] = 0;
}

/* Twice would be two equal keys in JSON; adding what is there already is no harm. */
static int show_column(struct table *table, size_t column, bool added, struct error *err)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->shown[i] == column)
			return added
				   ? 0
				   : error_set(err, EINVAL,
					       "--output: column '%s' is named twice; name it once",
					       table->columns[column].name);
	table->shown[table->count++] = column;
	return 0;
}

static int show_named(struct table *table, const char *name, size_t length, bool added,
		      struct error *err)
{
	for (size_t i = 0; table->columns[i].name; i++) {
		const char *known = table->columns[i].name;

		if (strlen(known) == length && strncasecmp(known, name, length) == 0)
			return show_column(table, i, added, err);
	}
	return error_set(err, EINVAL,
			 "--output: there is no column '%.*s'; --help lists the columns",
			 length < 60 ? (int)length : 60, name);
}

static int choose_columns(struct table *table, const char *list, struct error *err)
{
	bool added;
	int rc = 0;

	if (!list || *list == '+')
		for (size_t i = 0; table->columns[i].name && !rc; i++)
			if (!table->columns[i].hidden)
				rc = show_column(table, i, false, err);
	if (!list)
		return rc;
	added = *list == '+';
	list += added;
	for (;; list++) {
		size_t length = strcspn(list, ",");

		if (!rc)
			rc = show_named(table, list, length, added, err);
		list += length;
		if (rc || !*list)
			return rc;
	}
}

/* ---- the table -------------------------------------------------------------- */

static int add_columns(struct table *table)
{
	for (size_t i = 0; i < table->count; i++) {
		const struct store_column *column = &table->columns[table->shown[i]];
		struct libscols_column *added;
		char name[64];

		heading(column->name, name, sizeof(name));
		added = scols_table_new_column(table->table, name, 0,
					       column->number ? SCOLS_FL_RIGHT : 0);
		if (!added)
			return -ENOMEM;
		scols_column_set_json_type(added,
					   column->number ? SCOLS_JSON_NUMBER : SCOLS_JSON_STRING);
	}
	return 0;
}

static int build(struct table *table, const char *name, const struct table_options *options)
{
	table->raw = options->raw;
	table->json = options->json;
	table->table = scols_new_table();
	if (!table->table || scols_table_set_name(table->table, name))
		return -ENOMEM;
	scols_table_enable_json(table->table, options->json);
	scols_table_enable_raw(table->table, options->raw);
	scols_table_enable_noheadings(table->table, options->noheadings);
	return add_columns(table);
}

int table_new(const char *name, const struct store_column *columns,
	      const struct table_options *options, struct table **ret, struct error *err)
{
	struct table *table;
	int rc;

	if (options->json && options->raw)
		return error_set(err, EINVAL, "--json and --raw exclude each other; give one");
	table = calloc(1, sizeof(*table));
	if (!table)
		return error_set(err, ENOMEM, "not enough memory; end other programs first");
	table->columns = columns;
	rc = choose_columns(table, options->columns, err);
	if (!rc) {
		rc = build(table, name, options);
		if (rc)
			error_set(err, ENOMEM, "not enough memory; end other programs first");
	}
	if (rc) {
		table_free(table);
		return rc;
	}
	*ret = table;
	return 0;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	scols_unref_table(table->table);
	free(table);
}

/* Raw output and JSON escape what is unsafe, and lose nothing of it. */
static int set_cell(struct table *table, struct libscols_line *line, size_t column,
		    const char *value)
{
	char *copy = strdup(value);

	if (copy && !table->raw && !table->json)
		text_clean(copy);
	if (!copy || scols_line_refer_data(line, column, copy)) {
		free(copy);
		return -ENOMEM;
	}
	return 0;
}

int table_add(struct table *table, const char *const *values)
{
	struct libscols_line *line = scols_table_new_line(table->table, NULL);

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; i < table->count; i++) {
		const char *value = values[table->shown[i]];

		/* An empty cell between blanks would shift the fields after it. */
		if (table->raw && (!value || !*value))
			value = "-";
		if (value && set_cell(table, line, i, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

int table_print(struct table *table)
{
	CLEANUP_FREE char *text = NULL;
	int rc;

	if (!table->json)
		rc = scols_print_table(table->table);
	else if ((rc = scols_print_table_to_string(table->table, &text)) == 0)
		text_put_json(stdout, text);
	return rc == -ENOMEM ? rc : 0; /* output errors are found at the end */
}

void print_columns(const struct store_column *columns)
{
	fputs("\nAvailable output columns (those in brackets only when asked for):\n", stdout);
	for (; columns->name; columns++) {
		char name[64], shown[68];

		heading(columns->name, name, sizeof(name));
		snprintf(shown, sizeof(shown), columns->hidden ? "[%s]" : "%s", name);
		printf(" %14s  %s\n", shown, columns->help);
	}
}
