/*
 * What is wrong with a volume: contract 13. Each trouble has its cause and its
 * remedy; the gravest of them is the state of the volume. The daemon lists them
 * for an open volume (volume_status), remapctl for one that nobody serves.
 */
#ifndef REMAPFS_TROUBLE_H
#define REMAPFS_TROUBLE_H

#include "remapfs/extent.h"

#include <stddef.h>

/* Gravest last. */
enum volume_state {
	VOLUME_OK,
	VOLUME_PENDING, /* sectors are lost: reading them fails */
	VOLUME_FULL,    /* no room: too few free slots, or a file system is full */
	VOLUME_FAILED,  /* main, a spare, a flush, the database or the daemon failed */
};

/* "ok", "pending", "full", "failed"; and back, VOLUME_FAILED where it is none of them. */
const char *volume_state_name(enum volume_state);
enum volume_state volume_state_from_name(const char *name);

struct trouble {
	enum volume_state state; /* VOLUME_OK: no request fails for it yet */
	spare_id_t spare;        /* whose it is; ON_MAIN: no spare's */
	char cause[320], remedy[400];
};

/* More than so many are not listed: the least grave are left out. */
#define TROUBLES_MAX 16

struct troubles {
	struct trouble all[TROUBLES_MAX]; /* gravest first */
	size_t count;
};

/* Adds one, in its place. format makes the cause. */
void trouble_add(struct troubles *, enum volume_state, spare_id_t spare, const char *remedy,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same from one line "cause; remedy", as in struct error. */
void trouble_add_line(struct troubles *, enum volume_state, spare_id_t spare, const char *line);

/* The state of a volume that has these: that of the gravest. */
enum volume_state troubles_state(const struct troubles *);

/* "cause; remedy", or "" where there is none of that number. */
struct trouble_text {
	char text[sizeof(((struct trouble *)0)->cause) + sizeof(((struct trouble *)0)->remedy) + 1];
};
struct trouble_text trouble_text(const struct troubles *, size_t i);

#endif
