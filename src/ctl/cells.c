#include "ctl/cells.h"

#include <errno.h>
#include <stdlib.h>

int cells_new(struct cells *cells, uint64_t sectors, size_t most, bool round)
{
	uint64_t per_cell = (sectors + most - 1) / most;

	if (round)
		for (uint64_t power = 1;; power *= 2)
			if (power >= per_cell) {
				per_cell = power;
				break;
			}
	*cells = (struct cells){.sectors = sectors,
				.per_cell = per_cell,
				.count = (size_t)((sectors + per_cell - 1) / per_cell)};
	cells->cell = calloc(cells->count, sizeof(*cells->cell));
	return cells->cell ? 0 : -ENOMEM;
}

void cells_free(struct cells *cells)
{
	free(cells->cell);
	cells->cell = NULL;
}

void cells_add(struct cells *cells, enum cell_state state, uint64_t start, uint64_t count)
{
	uint64_t end = start + count < cells->sectors ? start + count : cells->sectors;

	while (start < end) {
		uint64_t i = start / cells->per_cell;
		uint64_t stop = (i + 1) * cells->per_cell < end ? (i + 1) * cells->per_cell : end;

		cells->cell[i].in[state] += stop - start;
		start = stop;
	}
}

enum cell_state cell_worst(const struct cell *cell)
{
	for (enum cell_state state = CELL_STATES - 1; state > CELL_GOOD; state--)
		if (cell->in[state])
			return state;
	return CELL_GOOD;
}

uint64_t cells_size_of(const struct cells *cells, size_t i)
{
	uint64_t start = i * cells->per_cell;

	return cells->sectors - start < cells->per_cell ? cells->sectors - start : cells->per_cell;
}

struct filling {
	struct cells *main, *spare;
	const struct store_spare *ids;
	size_t count;
};

static struct cells *find_spare(const struct filling *f, spare_id_t id)
{
	for (size_t i = 0; f->spare && i < f->count; i++)
		if (f->ids[i].id == id)
			return &f->spare[i];
	return NULL;
}

static int add_extent(void *context, const struct extent *e)
{
	const struct filling *f = context;
	struct cells *spare = find_spare(f, e->spare);

	cells_add(f->main, e->state == SECTOR_REMAPPED ? CELL_REMAPPED
			   : e->spare == ON_MAIN ? CELL_PENDING : CELL_FAULTY,
		  e->start, e->count);
	if (spare && e->state == SECTOR_REMAPPED)
		cells_add(spare, CELL_REMAPPED, e->slot, e->count);
	return 0;
}

static int add_bad_slots(void *context, spare_id_t id, slot_t first, uint64_t count)
{
	struct cells *spare = find_spare(context, id);

	if (spare)
		cells_add(spare, CELL_FAULTY, first, count);
	return 0;
}

int cells_fill(struct store *store, struct cells *main, struct cells *spare,
	       const struct store_spare *ids, size_t count)
{
	struct filling f = {main, spare, ids, count};
	int rc = store_each_extent(store, add_extent, &f);

	return rc || !spare ? rc : store_each_bad_slots(store, add_bad_slots, &f);
}
