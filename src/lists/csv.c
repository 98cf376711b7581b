/*
 * A table with a line of names. "sector" has to be there; without "sectors" each
 * line is one; without "sector_size" they are sectors of the volume. Other columns
 * do not matter. Fields may stand in quotes, but hold no comma.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lists/lists.h"

#define FIELDS_MAX 32

enum column { SECTOR, SECTORS, SECTOR_SIZE, COLUMNS };

static const char *const names[COLUMNS] = {"sector", "sectors", "sector_size"};

struct csv {
	struct reader *reader;
	size_t width;
	size_t places[COLUMNS]; /* FIELDS_MAX: it is not there */
	const char *fields[FIELDS_MAX];
};

static char *unquoted(char *field)
{
	size_t length;

	field += strspn(field, " \t");
	for (length = strlen(field); length && strchr(" \t", field[length - 1]);)
		field[--length] = 0;
	if (length > 1 && field[0] == '"' && field[length - 1] == '"') {
		field[length - 1] = 0;
		field++;
	}
	return field;
}

/* Cuts the line; how many fields it has, FIELDS_MAX + 1: more than that. */
static size_t split(struct csv *c)
{
	char *at = c->reader->text, *next;
	size_t n = 0;

	do {
		next = strchr(at, ',');
		if (next)
			*next++ = 0;
		if (n < FIELDS_MAX)
			c->fields[n] = unquoted(at);
		n++;
		at = next;
	} while (at && n <= FIELDS_MAX);
	return n;
}

static int take_names(struct csv *c)
{
	c->width = split(c);
	if (c->width > FIELDS_MAX)
		return reader_refuse(c->reader, "there are more than %d columns; leave some out",
				     FIELDS_MAX);
	for (size_t k = 0; k < COLUMNS; k++) {
		c->places[k] = FIELDS_MAX;
		for (size_t i = 0; i < c->width; i++)
			if (strcmp(c->fields[i], names[k]) == 0)
				c->places[k] = i;
	}
	if (c->places[SECTOR] == FIELDS_MAX)
		return reader_refuse(c->reader, "no column is called 'sector'; begin with a line such "
				     "as sector,sectors");
	return 0;
}

/* A column that is not there is `other`. */
static int take_field(struct csv *c, enum column column, uint64_t other, uint64_t *ret)
{
	const char *field, *at;

	*ret = other;
	if (c->places[column] == FIELDS_MAX)
		return 0;
	field = at = c->fields[c->places[column]];
	if (reader_number(&at, false, ret) < 0 || *at)
		return reader_refuse(c->reader, "'%.40s' is no %s; write a number", field,
				     column == SECTOR ? "sector" : column == SECTORS
				     ? "number of sectors" : "sector size");
	return 0;
}

static int take_row(struct csv *c)
{
	struct reader *r = c->reader;
	uint64_t sector, count, size;
	int rc;

	if (split(c) != c->width)
		return reader_refuse(r, "the line has not the %zu fields that the first one has; "
				     "correct it", c->width);
	rc = take_field(c, SECTOR, 0, &sector);
	rc = rc < 0 ? rc : take_field(c, SECTORS, 1, &count);
	rc = rc < 0 ? rc : take_field(c, SECTOR_SIZE, r->disk->sector_size, &size);
	rc = rc < 0 ? rc : reader_check_size(r, size);
	return rc < 0 ? rc : reader_add_sectors(r, sector, count, size);
}

int read_csv(struct reader *r)
{
	struct csv c = {.reader = r};
	int rc;

	while ((rc = reader_line(r)) > 0) {
		if (r->text[0] == 0 || r->text[0] == '#')
			continue;
		rc = c.width ? take_row(&c) : take_names(&c);
		if (rc < 0)
			return rc;
	}
	if (rc == 0 && !c.width)
		return reader_refuse(r, "the file is empty; begin with a line such as sector,sectors");
	return rc;
}
