/*
 * Whether main is the disk that the volume was last used with, and whether
 * something else wrote to it since. One judgement for all that accept a main.
 * Internal.
 *
 * Two things are known of main: which device or file it was, and what it held in
 * some places at the last orderly close. The places are compared only after such a
 * close (or when the volume is new): after any other end they may hold anything.
 */
#ifndef VOLUME_IDENTITY_H
#define VOLUME_IDENTITY_H

#include "remapfs/device.h"
#include "remapfs/map.h"
#include "remapfs/store.h"

enum main_is {
	MAIN_SAME,    /* nothing speaks against it */
	MAIN_CHANGED, /* it is the one, and something else wrote to it */
	MAIN_COPY,    /* another one, with the same in all places that could be compared */
	MAIN_DOUBTED, /* maybe another one: a blank file, or what tells may change from start to start */
	MAIN_BLANK,   /* another disk, and all places are blank, so nothing can be compared */
	MAIN_UNKNOWN, /* another one, and the places cannot be compared: the end was not orderly */
	MAIN_OTHER,   /* another one, with other content */
};

struct main_judgement {
	enum main_is is;
	struct device_identity now;
	char since[32]; /* when it was last closed in order, or made; UTC */
};

/*
 * Compares main, which is open, with what the store knows. Sectors that the map says
 * do not live on main are left out, and so is what cannot be read; no more is read
 * once that takes long. map is the volume's. -ENOMEM, or those of the store.
 */
int main_judge(struct store *, struct map *map, struct device *main, struct main_judgement *ret);

/*
 * Whether a volume may be opened with what was found at path: 0, or -EBADMSG with the
 * line in err. A copy may, where a file took the place of a file.
 */
int main_refuse(const struct store_volume *, const char *path, const struct main_judgement *,
		struct error *err);

/* Whether something is to be told of it all the same; then warning has the line. */
bool main_warn(const char *path, const struct main_judgement *, struct error *warning);

/*
 * What is to be kept of main from now on, without places; before (NULL: nothing) is what
 * was kept so far.
 */
void main_identify(struct device *main, const struct store_identity *before,
		   struct store_identity *ret);

/*
 * The map that the rows make, for a volume that is not open; the caller's. -EUCLEAN: they
 * contradict each other; -ENOMEM, or those of the store.
 */
int main_map(struct store *, struct map **ret);

/* Reads the places. map NULL: all sectors live on main. ret->places is the caller's. -ENOMEM. */
int main_read_places(struct device *main, struct map *map, uint32_t sector_size,
		     struct store_identity *ret);

#endif
