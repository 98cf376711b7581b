/*
 * A volume as one picture: what the database says and, where one runs, the
 * daemon. Everything that looks at a volume as a whole begins with it.
 */
#ifndef REMAPFS_CTL_STATUS_H
#define REMAPFS_CTL_STATUS_H

#include "ctl/ctl.h"
#include "remapfs/trouble.h"

struct status {
	char *path; /* absolute where it can be told */
	struct store *store; /* NULL: a daemon answered, and its database cannot be read */
	struct error store_error; /* why; "": the daemon says so itself */
	const struct store_volume *volume; /* this and what follows, up to scrub: with store */
	const struct store_spare *spares;
	size_t spare_count;
	uint64_t *used, *bad, *free; /* slots of each spare; free: those that can be used */
	enum volume_state *health;   /* of each spare */
	struct store_totals totals;
	uint64_t slots, bad_slots, free_slots; /* of the spares that have not left */
	struct store_scrub scrub; /* as noted a few seconds ago */
	json_t *daemon; /* what it said, or NULL: asked first, so that another database that took
			   the place of its own is not opened: SQLite would delete its log */
	bool no_daemon; /* none runs; otherwise without an answer: */
	int daemon_code; /* positive errno of control_ask */
	struct error daemon_error;
	bool out_of_reach; /* a mount of it is dead, or hidden: see remains.h */
	struct troubles troubles; /* all that is wrong, gravest first */
	enum volume_state state;
	/* The last close before something else wrote to main, UTC; "": nothing did. */
	char changed_since[32];
};

/* err has the line. After a failure nothing is left to be closed. */
int status_open(const char *path, struct status *ret, struct error *err);
void status_close(struct status *);
/* The same; says that the database cannot be read, where so, and returns the exit code. */
int status_end(struct status *);

/* Of status_open: fills in troubles, state, and what of the spares can be used (judge.c). */
void status_judge(struct status *);

bool spare_has_left(const struct store_spare *);

/* What the daemon answered; false, "" or 0 where it said nothing of the kind. */
bool daemon_says(const struct status *, const char *key);
const char *daemon_text(const struct status *, const char *key);
uint64_t daemon_number(const struct status *, const char *key);

/* JSON is UTF-8 and a path any bytes: those that cannot be said become '?'. NULL: no memory. */
json_t *json_text(const char *text);
/*
 * Prints object, what is unsafe in its strings as \uXXXX (text.h), lets go of it, and
 * returns the exit code. NULL: no memory.
 */
int print_json(json_t *object);

#endif
