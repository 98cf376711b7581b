#include <inttypes.h>

#include "lists/lists.h"

static uint64_t main_bytes(const struct list_writer *w)
{
	return w->disk.sectors * w->disk.sector_size;
}

/* ---- each format: count sectors from start, not before what was written last --------- */

static void write_blocks(struct list_writer *w)
{
	uint64_t first = w->start * w->disk.sector_size;
	uint64_t last = first + w->count * w->disk.sector_size - 1;
	uint64_t block = first / w->disk.block_size;

	if (block < w->next_block)
		block = w->next_block;
	for (; block <= last / w->disk.block_size; block++)
		fprintf(w->to, "%" PRIu64 "\n", block);
	w->next_block = block;
}

static void write_block(struct list_writer *w, uint64_t start, uint64_t end, char status)
{
	if (start < end)
		fprintf(w->to, "0x%08" PRIX64 "  0x%08" PRIX64 "  %c\n", start, end - start, status);
	w->next_block = end;
}

static void write_gap(struct list_writer *w, uint64_t end)
{
	write_block(w, w->next_block, end, '+');
}

static void write_bad(struct list_writer *w)
{
	uint64_t start = w->start * w->disk.sector_size;

	write_gap(w, start);
	write_block(w, start, start + w->count * w->disk.sector_size, '-');
}

static const char *name_of(enum sector_state state)
{
	return state == SECTOR_REMAPPED ? "remapped" : "pending";
}

static void write_entry(struct list_writer *w, const struct extent *e)
{
	if (w->format == LIST_CSV)
		fprintf(w->to, "%" PRIu64 ",%" PRIu64 ",%s,%" PRIu32 "\n", e->start, e->count,
			name_of(e->state), w->disk.sector_size);
	else
		fprintf(w->to, "%s\n      {\"sector\": %" PRIu64 ", \"sectors\": %" PRIu64
			", \"state\": \"%s\"}", w->entries ? "," : "", e->start, e->count,
			name_of(e->state));
	w->entries++;
}

/* ---- the interface ------------------------------------------------------------------- */

void list_begin(struct list_writer *w, FILE *to, enum list_format format,
		const struct list_disk *disk)
{
	*w = (struct list_writer){.to = to, .format = format, .disk = *disk};
	switch (format) {
	case LIST_BADBLOCKS:
		break;
	case LIST_DDRESCUE:
		fprintf(to, "# Mapfile. Created by remapctl from remapfs " REMAPFS_VERSION "\n"
			    "# current_pos  current_status  current_pass\n"
			    "0x00000000     +               1\n"
			    "#      pos        size  status\n");
		break;
	case LIST_JSON:
		fprintf(to, "{\n   \"sector_size\": %" PRIu32 ",\n   \"main_sectors\": %" PRIu64
			    ",\n   \"bad_sectors\": [", disk->sector_size, disk->sectors);
		break;
	case LIST_CSV:
		fputs("sector,sectors,state,sector_size\n", to);
		break;
	}
}

static void write_run(struct list_writer *w)
{
	if (w->count == 0)
		return;
	if (w->format == LIST_BADBLOCKS)
		write_blocks(w);
	else
		write_bad(w);
	w->count = 0;
}

void list_add(struct list_writer *w, const struct extent *e)
{
	if (w->format == LIST_JSON || w->format == LIST_CSV) {
		write_entry(w, e);
		return;
	}
	/* Neither knows states: neighbours are one. */
	if (w->count && w->start + w->count == e->start) {
		w->count += e->count;
		return;
	}
	write_run(w);
	w->start = e->start;
	w->count = e->count;
}

void list_end(struct list_writer *w)
{
	write_run(w);
	if (w->format == LIST_DDRESCUE)
		write_gap(w, main_bytes(w));
	if (w->format == LIST_JSON)
		fprintf(w->to, "%s]\n}\n", w->entries ? "\n   " : "");
}
