/*
 * Mapfiles of GNU ddrescue: comments, a line with where it is, and then the
 * whole disk in order, as "position size status", in bytes. A comment begins at a
 * '#' at the start of a line or after a blank; ddrescuelog -A adds one to each.
 *
 *   +  rescued     -  bad sectors, each tried alone
 *   ?  not tried   *  failed, not trimmed   /  failed, not scraped
 *
 * Only '-' names sectors that are bad for certain: of the blocks that were not
 * trimmed or scraped most can be read.
 *
 * Where ddrescue does not know how long the disk is, the last block is '?' and
 * ends at 2^63 - 1.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "lists/lists.h"

#define STATUSES "?*/-+"

struct mapfile {
	struct reader *reader;
	bool begun;   /* the line with the position was read */
	bool any;     /* a block was */
	uint64_t first, at; /* what it is about so far */
	uint64_t not_scraped; /* bytes of blocks that are not taken as bad */
};

#define END_UNKNOWN ((uint64_t)INT64_MAX)

/* Takes a number and the blanks after it. */
static int take_number(const char **text, uint64_t *ret)
{
	int rc = reader_number(text, true, ret);

	if (rc == 0 && **text && !strchr(" \t", **text))
		return -EINVAL;
	*text += strspn(*text, " \t");
	return rc;
}

/* "position status [pass]" */
static int take_position(struct mapfile *m)
{
	struct reader *r = m->reader;
	const char *text = r->text;
	uint64_t number;
	int rc = take_number(&text, &number);

	if (rc == 0 && *text && strchr(STATUSES "FG", *text)) {
		text += 1 + strspn(text + 1, " \t");
		rc = *text ? take_number(&text, &number) : 0;
		if (rc == 0 && !*text) {
			m->begun = true;
			return 0;
		}
	}
	return reader_refuse(r, "'%.40s' is not the first line of a mapfile, which is position, status "
			     "and pass; give the mapfile as ddrescue left it", r->text);
}

static void cut_comment(char *text)
{
	char *at = text;

	while ((at = strchr(at, '#')) && at > text && !strchr(" \t", at[-1]))
		at++;
	if (!at)
		return;
	*at = 0;
	while (at > text && strchr(" \t", at[-1]))
		*--at = 0;
}

/* *size is cut to the end of main where the block has no known end. */
static int check_place(struct mapfile *m, uint64_t start, uint64_t *size, char status)
{
	struct reader *r = m->reader;
	const struct list_disk *d = r->disk;
	uint64_t main = d->sectors * d->sector_size, end;
	uint64_t room = d->offset < main ? main - d->offset : 0;

	if (m->any && start != m->at)
		return reader_refuse(r, "the block begins at %" PRIu64 ", the one before it ends at %"
				     PRIu64 "; give the mapfile as ddrescue left it", start, m->at);
	if (__builtin_add_overflow(start, *size, &end))
		end = UINT64_MAX;
	if (status == '?' && end >= END_UNKNOWN && start <= room) {
		*size = room - start;
		return 0;
	}
	if (end > room)
		return reader_refuse(r, "the block ends beyond main, which has %" PRIu64 " bytes; give "
				     "the mapfile of this disk", main);
	return 0;
}

static int take_block(struct mapfile *m)
{
	struct reader *r = m->reader;
	const struct list_disk *d = r->disk;
	const char *text = r->text;
	uint64_t start, size;
	int rc = take_number(&text, &start);

	rc = rc < 0 ? rc : take_number(&text, &size);
	if (rc < 0 || size == 0 || !*text || !strchr(STATUSES, *text) || text[1])
		return reader_refuse(r, "'%.60s' is no block of a mapfile, which is position, size and "
				     "one of %s; give the mapfile as ddrescue left it", r->text,
				     STATUSES);
	rc = check_place(m, start, &size, *text);
	if (rc < 0)
		return rc;
	if (!m->any)
		m->first = start;
	m->any = true;
	m->at = start + size;
	if (!strchr(d->types, *text)) {
		m->not_scraped += strchr("*/", *text) ? size : 0;
		return 0;
	}
	return size ? reader_add(r, d->offset + start, size) : 0;
}

static int check_extent(struct mapfile *m)
{
	struct reader *r = m->reader;
	uint64_t main = r->disk->sectors * r->disk->sector_size;
	char size[32];

	if (!m->any)
		return reader_refuse(r, "the mapfile ends before its first block; give the mapfile as "
				     "ddrescue left it");
	if (!r->disk->part && (m->first != 0 || m->at != main))
		return reader_refuse(r, "the mapfile is about bytes %" PRIu64 " to %" PRIu64 ", main has "
				     "%" PRIu64 "; give the mapfile of the whole disk, or say where "
				     "on it the mapfile counts from (--offset)", m->first, m->at, main);
	if (m->not_scraped)
		error_set(r->warning, EINVAL, "%.100s: %s that were not trimmed or scraped are not "
			  "taken for bad; let ddrescue come to its end, or take them with --types "
			  "'-*/'", r->name, format_size(size, m->not_scraped));
	return 0;
}

int read_ddrescue(struct reader *r)
{
	struct mapfile m = {.reader = r};
	int rc;

	while ((rc = reader_line(r)) > 0) {
		cut_comment(r->text);
		if (r->text[0] == 0)
			continue;
		rc = m.begun ? take_block(&m) : take_position(&m);
		if (rc < 0)
			return rc;
	}
	return rc < 0 ? rc : check_extent(&m);
}
