/*
 * JSON, read as it comes: a list may be larger than memory should be, and a
 * mistake has a line.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lists/lists.h"

#define DEPTH_MAX 32
#define WORD_ROOM 64

enum token {
	END, STRING, NUMBER, WORD, /* true, false, null */
	OPEN_OBJECT = '{', CLOSE_OBJECT = '}', OPEN_ARRAY = '[', CLOSE_ARRAY = ']',
	COLON = ':', COMMA = ',',
};

struct json {
	struct reader *reader;
	enum token token;    /* the one that is looked at */
	char word[WORD_ROOM]; /* STRING, NUMBER, WORD: what it says, cut */
	uint64_t sector_size; /* of the list, bytes */
	bool counted;         /* something was read in sectors of that size */
};

/* ---- tokens ------------------------------------------------------------------------- */

static int malformed(struct json *j, const char *wanted)
{
	return reader_refuse(j->reader, "this is no JSON of bad sectors: %s is missing; give a file as "
			     "'remapctl export --format json' writes it", wanted);
}

static int next_char(struct json *j)
{
	int c = getc_unlocked(j->reader->file);

	j->reader->line += c == '\n';
	return c;
}

static void put_back(struct json *j, int c)
{
	j->reader->line -= c == '\n';
	ungetc(c, j->reader->file);
}

static int take_string(struct json *j)
{
	size_t length = 0;
	int c;

	while ((c = next_char(j)) != '"') {
		if (c == EOF || c < 0x20)
			return malformed(j, "the end of a string");
		/* What is escaped is no name that matters here. */
		if (length + 1 < WORD_ROOM)
			j->word[length++] = (char)c;
		if (c == '\\' && next_char(j) == EOF)
			return malformed(j, "the end of a string");
	}
	j->word[length] = 0;
	j->token = STRING;
	return 0;
}

static int take_word(struct json *j, int c)
{
	size_t length = 0;

	j->token = isalpha(c) ? WORD : NUMBER;
	for (; isalnum(c) || c == '-' || c == '+' || c == '.'; c = next_char(j)) {
		if (length + 1 == WORD_ROOM)
			return malformed(j, "a number of sensible length");
		j->word[length++] = (char)c;
	}
	j->word[length] = 0;
	put_back(j, c);
	if (length == 0 || (j->token == WORD && strcmp(j->word, "true") != 0 &&
			    strcmp(j->word, "false") != 0 && strcmp(j->word, "null") != 0))
		return malformed(j, "a value");
	return 0;
}

static int next_token(struct json *j)
{
	int c;

	do
		c = next_char(j);
	while (c == ' ' || c == '\t' || c == '\n' || c == '\r');
	if (ferror(j->reader->file))
		return reader_refuse(j->reader, "%s; give a file that can be read", strerror(errno));
	if (c == EOF) {
		j->token = END;
		return 0;
	}
	if (c == '"')
		return take_string(j);
	if (c == 0 || !strchr("{}[]:,", c))
		return take_word(j, c);
	j->token = (enum token)c;
	return 0;
}

static int expect(struct json *j, enum token token, const char *wanted)
{
	return j->token == token ? next_token(j) : malformed(j, wanted);
}

/* ---- values ------------------------------------------------------------------------- */

static int take_number(struct json *j, const char *what, uint64_t *ret)
{
	const char *at = j->word;

	if (j->token != NUMBER || reader_number(&at, false, ret) < 0 || *at)
		return reader_refuse(j->reader, "%s is no number from 0 on; give a file as 'remapctl "
				     "export --format json' writes it", what);
	return next_token(j);
}

/* Between two members, or the end of them. */
static int take_comma(struct json *j, enum token close)
{
	int rc;

	if (j->token == close)
		return 0;
	rc = expect(j, COMMA, "a comma");
	return rc == 0 && j->token == close ? malformed(j, "what comes after a comma") : rc;
}

/* A value of which nothing is wanted. */
static int skip(struct json *j, int depth)
{
	enum token close;
	int rc;

	if (j->token == STRING || j->token == NUMBER || j->token == WORD)
		return next_token(j);
	if (depth == DEPTH_MAX || (j->token != OPEN_OBJECT && j->token != OPEN_ARRAY))
		return malformed(j, "a value");
	close = j->token == OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY;
	rc = next_token(j);
	while (rc == 0 && j->token != close) {
		if (close == CLOSE_OBJECT) {
			rc = expect(j, STRING, "a name");
			rc = rc < 0 ? rc : expect(j, COLON, "a colon");
		}
		rc = rc < 0 ? rc : skip(j, depth + 1);
		rc = rc < 0 ? rc : take_comma(j, close);
	}
	return rc < 0 ? rc : next_token(j);
}

/* Goes through an object: member(context, j) takes the value of the name in j->word. */
static int each_member(struct json *j, int (*member)(void *context, struct json *, const char *name),
		       void *context)
{
	int rc = expect(j, OPEN_OBJECT, "an object");

	while (rc == 0 && j->token != CLOSE_OBJECT) {
		char name[WORD_ROOM];

		memcpy(name, j->word, sizeof(name));
		rc = expect(j, STRING, "a name");
		rc = rc < 0 ? rc : expect(j, COLON, "a colon");
		rc = rc < 0 ? rc : member(context, j, name);
		rc = rc < 0 ? rc : take_comma(j, CLOSE_OBJECT);
	}
	return rc < 0 ? rc : next_token(j);
}

/* ---- bad sectors ------------------------------------------------------------------------ */

struct entry {
	uint64_t sector, count;
	bool named;
};

static int entry_member(void *context, struct json *j, const char *name)
{
	struct entry *e = context;

	if (strcmp(name, "sectors") == 0)
		return take_number(j, "\"sectors\"", &e->count);
	if (strcmp(name, "sector") != 0)
		return skip(j, 0);
	e->named = true;
	return take_number(j, "\"sector\"", &e->sector);
}

static int take_entries(struct json *j)
{
	int rc = expect(j, OPEN_ARRAY, "an array of bad sectors");

	while (rc == 0 && j->token != CLOSE_ARRAY) {
		struct entry e = {.count = 1};

		rc = each_member(j, entry_member, &e);
		if (rc == 0 && !e.named)
			return malformed(j, "\"sector\"");
		rc = rc < 0 ? rc : reader_add_sectors(j->reader, e.sector, e.count, j->sector_size);
		rc = rc < 0 ? rc : take_comma(j, CLOSE_ARRAY);
	}
	return rc < 0 ? rc : next_token(j);
}

static int take_size(struct json *j)
{
	uint64_t size = 0;
	int rc = take_number(j, "\"sector_size\"", &size);

	rc = rc < 0 ? rc : reader_check_size(j->reader, size);
	if (rc == 0 && size != j->sector_size && j->counted)
		return reader_refuse(j->reader, "\"sector_size\" comes after sectors of that size; "
				     "write it first");
	j->sector_size = size;
	return rc;
}

static int check_main(struct json *j)
{
	const struct list_disk *d = j->reader->disk;
	uint64_t sectors = 0, main = d->sectors * d->sector_size / j->sector_size;
	int rc = take_number(j, "\"main_sectors\"", &sectors);

	j->counted = true;
	if (rc == 0 && sectors != main)
		return reader_refuse(j->reader, "the list is about a disk of %" PRIu64 " sectors, main "
				     "has %" PRIu64 "; give the list of this disk", sectors, main);
	return rc;
}

static int top_member(void *context, struct json *j, const char *name)
{
	bool *found = context;

	if (strcmp(name, "sector_size") == 0)
		return take_size(j);
	if (strcmp(name, "main_sectors") == 0)
		return check_main(j);
	if (strcmp(name, "bad_sectors") != 0)
		return skip(j, 0);
	*found = j->counted = true;
	return take_entries(j);
}

int read_json(struct reader *r)
{
	struct json j = {.reader = r, .sector_size = r->disk->sector_size};
	bool found = false;
	int rc;

	r->line = 1;
	rc = next_token(&j);
	rc = rc < 0 ? rc : each_member(&j, top_member, &found);
	if (rc == 0 && !found)
		return malformed(&j, "\"bad_sectors\"");
	return rc == 0 && j.token != END ? malformed(&j, "the end after the last brace") : rc;
}
