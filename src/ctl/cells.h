/*
 * A disk or a spare cut into cells of equally many sectors, as a map shows it:
 * how many sectors of each state are in every one.
 */
#ifndef REMAPFS_CTL_CELLS_H
#define REMAPFS_CTL_CELLS_H

#include "remapfs/extent.h"
#include "remapfs/store.h"

#include <stddef.h>

/* In the order of gravity: a cell is shown as the worst that is in it. */
enum cell_state {
	CELL_GOOD,     /* on main: served by it; on a spare: free */
	CELL_REMAPPED, /* on main: lives on a spare; on a spare: holds a sector */
	CELL_PENDING,  /* main could not read it, and there is no copy */
	CELL_FAULTY,   /* on main: lost with the slot that held it; on a spare: failed */
	CELL_STATES
};

struct cell {
	uint64_t in[CELL_STATES]; /* CELL_GOOD is not counted */
};

struct cells {
	struct cell *cell;
	size_t count;
	uint64_t sectors;  /* in all */
	uint64_t per_cell; /* the last one may hold fewer */
};

/*
 * Cells for sectors (> 0), at most `most` of them. round: as many to a cell as
 * a power of two, so that a cell is a handy part of the disk. -ENOMEM.
 */
int cells_new(struct cells *, uint64_t sectors, size_t most, bool round);
void cells_free(struct cells *);

/* Counts the sectors; what lies outside is left out. */
void cells_add(struct cells *, enum cell_state, uint64_t start, uint64_t count);

enum cell_state cell_worst(const struct cell *);
/* How many sectors are in cell i, of any state. */
uint64_t cells_size_of(const struct cells *, size_t i);

/*
 * Counts the whole map: main has the sectors of main, spare (may be NULL) has
 * one struct cells for each of count spares, in the order of ids. Errors: those
 * of store_each_extent.
 */
int cells_fill(struct store *, struct cells *main, struct cells *spare,
	       const struct store_spare *ids, size_t count);

#endif
