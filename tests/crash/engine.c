#include "engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <uuid/uuid.h>

#include "crash.h"
#include "remapfs/storage.h"
#include "../model/random.h"
#include "sim.h"
#include "volume/cross.h"
#include "volume/volume_impl.h"

int __wrap_pthread_create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
int __wrap_pthread_join(pthread_t, void **);
bool __wrap_storage_in_use(const struct storage *, dev_t *ret, const char **ret_why);
int64_t __wrap_now_ms(void);
void __wrap_uuid_generate(uuid_t);
bool __wrap_background_pause(struct background *, unsigned ms);
void __wrap_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void __wrap_log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void __wrap_log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));

static struct volume *open_volume;
static bool verbose;

void engine_volume(struct volume *v)
{
	open_volume = v;
}

void engine_verbose(bool on)
{
	verbose = on;
}

/* ---- surroundings ----------------------------------------------------------------- */

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
			  void *(*run)(void *), void *context)
{
	(void)attributes, (void)run, (void)context;
	*thread = pthread_self();
	return 0;
}

int __wrap_pthread_join(pthread_t thread, void **ret)
{
	(void)thread, (void)ret;
	return 0;
}

/* Asking goes through every block device of this machine: not our business. */
bool __wrap_storage_in_use(const struct storage *storage, dev_t *ret, const char **ret_why)
{
	(void)storage, (void)ret, (void)ret_why;
	return false;
}

int64_t __wrap_now_ms(void)
{
	return sim_now_ms();
}

void __wrap_uuid_generate(uuid_t to)
{
	static uint64_t state = 7;

	for (size_t i = 0; i < sizeof(uuid_t); i++)
		to[i] = (unsigned char)random_next(&state);
}

/* Nobody else wants the time that the thread of the emptying leaves to others. */
bool __wrap_background_pause(struct background *b, unsigned ms)
{
	(void)b, (void)ms;
	return true;
}

/*
 * It makes all tables anew to compare with, which takes longer than the rest of an
 * opening: a few of the many openings will do.
 */
int __real_store_check_schema(struct store *, int, const char *, struct error *);
int __wrap_store_check_schema(struct store *, int, const char *, struct error *);

int __wrap_store_check_schema(struct store *s, int version, const char *path, struct error *err)
{
	static unsigned opened;

	return opened++ % 64 ? 0 : __real_store_check_schema(s, version, path, err);
}

static void say(const char *format, va_list args)
{
	if (!verbose || sim_current()->cut)
		return;
	fputs("  engine: ", stdout);
	vprintf(format, args);
	putchar('\n');
}

#define SAY(name)                                   \
	void name(const char *format, ...)          \
	{                                           \
		va_list args;                       \
                                                    \
		va_start(args, format);             \
		say(format, args);                  \
		va_end(args);                       \
	}
SAY(__wrap_log_error)
SAY(__wrap_log_warning)
SAY(__wrap_log_notice)

void engine_scribe(struct volume *v)
{
	struct change nothing = {0};

	if (v->committer.kept)
		commit_record(&v->committer, &nothing);
}

/* ---- plants ----------------------------------------------------------------------- */

enum plant {
	PLANT_NONE,
	COMMIT_BEFORE_SPARE_FLUSH,
	ACKNOWLEDGE_BEFORE_COMMIT,
	PUBLISH_BEFORE_COMMIT,
	FSYNC_WITHOUT_MAIN,
	SLOT_REUSED_EARLY,
	CURE_WITHOUT_FLUSH,
	REBUILD_BELIEVES_ALL,
	OVERWRITTEN_UNCONFIRMED,
	CONFIRMED_EARLY,
	LEFT_DESCRIBED,
	WIPED_EARLY,
	MISSING_IS_LOST,
	NO_AGE_RECORDED,
};

static const char *const plant_names[] = {
	[PLANT_NONE] = "none",
	[COMMIT_BEFORE_SPARE_FLUSH] = "commit-before-spare-flush",
	[ACKNOWLEDGE_BEFORE_COMMIT] = "acknowledge-before-commit",
	[PUBLISH_BEFORE_COMMIT] = "publish-before-commit",
	[FSYNC_WITHOUT_MAIN] = "fsync-without-main",
	[SLOT_REUSED_EARLY] = "slot-reused-early",
	[CURE_WITHOUT_FLUSH] = "cure-without-flush",
	[REBUILD_BELIEVES_ALL] = "rebuild-believes-all",
	[OVERWRITTEN_UNCONFIRMED] = "overwritten-unconfirmed",
	[CONFIRMED_EARLY] = "confirmed-early",
	[LEFT_DESCRIBED] = "left-described",
	[WIPED_EARLY] = "wiped-early",
	[MISSING_IS_LOST] = "missing-is-lost",
	[NO_AGE_RECORDED] = "no-age-recorded",
};

static enum plant planted;
static bool in_commit;   /* commit_change is under way */
static struct spare *unflushed;
static bool uncommitted; /* a transaction is open that was told to be committed */

const char *engine_plant_name(unsigned i)
{
	return i + 1 < sizeof(plant_names) / sizeof(plant_names[0]) ? plant_names[i + 1] : NULL;
}

bool engine_plant(const char *name)
{
	for (unsigned i = 0; engine_plant_name(i); i++)
		if (strcmp(engine_plant_name(i), name) == 0)
			planted = (enum plant)(i + 1);
	return planted != PLANT_NONE;
}

int __real_spare_flush(struct spare *);
int __wrap_spare_flush(struct spare *);
int __real_commit_change(struct committer *, struct change *);
int __wrap_commit_change(struct committer *, struct change *);
int __real_store_commit(struct store *);
int __wrap_store_commit(struct store *);
int __real_store_begin(struct store *);
int __wrap_store_begin(struct store *);
void __real_store_close(struct store *);
void __wrap_store_close(struct store *);
int __real_flush_main(struct volume *);
int __wrap_flush_main(struct volume *);

int __wrap_spare_flush(struct spare *s)
{
	if (planted != COMMIT_BEFORE_SPARE_FLUSH || !in_commit)
		return __real_spare_flush(s);
	unflushed = s;
	return 0;
}

static void publish_early(const struct change *c)
{
	for (size_t i = 0; i < c->extent_count; i++)
		map_set(open_volume->map, &c->extents[i].extent);
}

int __wrap_commit_change(struct committer *m, struct change *c)
{
	int rc;

	if (planted == PUBLISH_BEFORE_COMMIT && open_volume)
		publish_early(c);
	in_commit = true;
	rc = __real_commit_change(m, c);
	in_commit = false;
	if (unflushed)
		__real_spare_flush(unflushed);
	unflushed = NULL;
	/* As if a commit that failed could not turn out to be durable. */
	if (planted == SLOT_REUSED_EARLY)
		c->uncertain = false;
	return rc;
}

int __wrap_store_commit(struct store *s)
{
	if (planted != ACKNOWLEDGE_BEFORE_COMMIT || !in_commit)
		return __real_store_commit(s);
	uncommitted = true;
	return 0;
}

static void commit_late(struct store *s)
{
	if (uncommitted)
		__real_store_commit(s);
	uncommitted = false;
}

int __wrap_store_begin(struct store *s)
{
	commit_late(s);
	return __real_store_begin(s);
}

void __wrap_store_close(struct store *s)
{
	commit_late(s);
	__real_store_close(s);
}

int __wrap_flush_main(struct volume *v)
{
	return planted == CURE_WITHOUT_FLUSH ? 0 : __real_flush_main(v);
}

int engine_flush(struct volume *v)
{
	int rc;

	sim_current()->skip_main_flush = planted == FSYNC_WITHOUT_MAIN;
	rc = volume_flush(v);
	sim_current()->skip_main_flush = false;
	return rc;
}

/* ---- plants of spares that come, go and are read again -------------------------------- */

uint64_t __real_spare_confirmed(const struct spare *);
uint64_t __wrap_spare_confirmed(const struct spare *);
int __real_commit_confirm(struct committer *, struct spare *, slot_t, uint64_t);
int __wrap_commit_confirm(struct committer *, struct spare *, slot_t, uint64_t);
uint64_t __real_stale_confirmable(const struct committer *, spare_id_t);
uint64_t __wrap_stale_confirmable(const struct committer *, spare_id_t);
int __real_spare_clear_sequence(struct spare *, slot_t, uint64_t, uint64_t);
int __wrap_spare_clear_sequence(struct spare *, slot_t, uint64_t, uint64_t);

static bool rebuilding;

/* As if every descriptor of this life were that of a committed change. */
uint64_t __wrap_spare_confirmed(const struct spare *s)
{
	uint64_t confirmed = __real_spare_confirmed(s);

	return planted == REBUILD_BELIEVES_ALL && rebuilding
	       ? confirmed | ((UINT64_C(1) << SEQUENCE_EPOCH) - 1) : confirmed;
}

int __wrap_commit_confirm(struct committer *m, struct spare *s, slot_t first, uint64_t count)
{
	return planted == OVERWRITTEN_UNCONFIRMED ? 0 : __real_commit_confirm(m, s, first, count);
}

/* The round that is under way confirms itself. */
uint64_t __wrap_stale_confirmable(const struct committer *m, spare_id_t id)
{
	return planted == CONFIRMED_EARLY ? m->sequence : __real_stale_confirmable(m, id);
}

int __wrap_spare_clear_sequence(struct spare *s, slot_t first, uint64_t count, uint64_t sequence)
{
	return planted == LEFT_DESCRIBED ? 0
	       : __real_spare_clear_sequence(s, first, count, sequence);
}

int engine_rebuild(const struct rebuild_options *o, struct rebuild_result *ret, struct error *err)
{
	int rc;

	rebuilding = true;
	rc = volume_rebuild(o, ret, err);
	rebuilding = false;
	return rc;
}

/* ---- plants of older copies ------------------------------------------------------------ */

const struct spare_found *__real_spare_found(const struct spare *);
const struct spare_found *__wrap_spare_found(const struct spare *);
int __real_store_set_confirmed(struct store *, spare_id_t, uint64_t);
int __wrap_store_set_confirmed(struct store *, spare_id_t, uint64_t);
int __real_spare_stamp(struct spare *, uint64_t, uint64_t);
int __wrap_spare_stamp(struct spare *, uint64_t, uint64_t);
int __real_store_set_stamp(struct store *, spare_id_t, uint64_t, uint64_t, unsigned);
int __wrap_store_set_stamp(struct store *, spare_id_t, uint64_t, uint64_t, unsigned);

/* As if a used slot without a descriptor had always lost it. */
const struct spare_found *__wrap_spare_found(const struct spare *s)
{
	static struct spare_found found;

	if (planted != MISSING_IS_LOST)
		return __real_spare_found(s);
	found = *__real_spare_found(s);
	found.vouched = UINT64_MAX;
	return &found;
}

/* One stamp for ever, and no watermark. */
int __wrap_store_set_confirmed(struct store *s, spare_id_t id, uint64_t confirmed)
{
	return planted == NO_AGE_RECORDED ? 0 : __real_store_set_confirmed(s, id, confirmed);
}

int __wrap_spare_stamp(struct spare *s, uint64_t number, uint64_t sequence)
{
	struct sim *sim = sim_current();

	if (sim->journal.count < sim->stamped_at)
		sim->stamped_at = sim->journal.count;
	return __real_spare_stamp(s, planted == NO_AGE_RECORDED ? 1 : number, sequence);
}

int __wrap_store_set_stamp(struct store *s, spare_id_t id, uint64_t stamp, uint64_t next,
			   unsigned stamped)
{
	if (planted == NO_AGE_RECORDED)
		next = 1;
	return __real_store_set_stamp(s, id, stamp, next, stamped);
}

static void wipe_early(struct volume *v)
{
	for (size_t i = 0; i < spare_set_count(&v->spares); i++)
		if (spare_state(v->spares.all[i]) == SPARE_RETIRING)
			spare_wipe(v->spares.all[i]);
}

bool engine_empty(struct volume *v)
{
	if (planted == WIPED_EARLY)
		wipe_early(v);
	return volume_empty_spares(v);
}
