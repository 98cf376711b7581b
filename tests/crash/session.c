#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "crash.h"
#include "engine.h"
#include "memory.h"
#include "own_io.h"
#include "spare/spare_impl.h"
#include "volume/volume_impl.h"

void session_start(struct session *s, uint32_t sector_size, uint64_t sectors)
{
	s->sector_size = sector_size;
	s->sectors = sectors;
	s->sim = (struct sim){.disk = &s->disk, .sector_size = sector_size};
	if (!s->io)
		s->io = volume_io_new();
	if (!s->io ||
	    (!s->buffer && posix_memalign((void **)&s->buffer, VOLUME_ALIGNMENT, 64 * 4096) != 0))
		give_up("out of memory");
	sim_use(&s->sim);
	sim_reset();
}

void session_end(struct session *s)
{
	if (s->volume)
		session_cut(s);
	sim_end(&s->sim);
	disk_clear(&s->disk);
	free(s->buffer);
	free(s->turns);
	volume_io_free(s->io);
	*s = (struct session){0};
}

/* What was copied before is older from now on. */
static void note_turn(struct session *s)
{
	s->turns = must(realloc(s->turns, (s->turn_count + 1) * sizeof(*s->turns)));
	s->turns[s->turn_count++] = (struct turn){
		.began = s->sim.stamped_at < s->sim.journal.count ? s->sim.stamped_at
								  : s->sim.journal.count,
		.ended = s->sim.journal.count,
	};
}

int session_open(struct session *s)
{
	const struct volume_options o = {.opener = "the simulator", .parts = &sim_parts};
	struct error err = {""};
	int rc;

	sim_use(&s->sim);
	engine_volume(NULL);
	memory_spare(false);
	s->sim.stamped_at = SIZE_MAX;
	rc = volume_open(SIM_PATH, &o, &s->volume, &err);
	if (rc < 0 && settings.verbose && !s->sim.cut)
		printf("  not opened: %s\n", err.text);
	if (rc == 0)
		engine_scribe(s->volume);
	memory_spare(true);
	if (rc < 0)
		s->volume = NULL;
	else
		note_turn(s);
	engine_volume(s->volume);
	return rc;
}

int session_close(struct session *s)
{
	struct volume *v = s->volume;
	bool in_doubt = tables_in_doubt(v);
	int rc;

	s->volume = NULL;
	memory_spare(false);
	s->sim.stamped_at = SIZE_MAX;
	rc = volume_close(v);
	memory_spare(true);
	if (rc == 0 && !in_doubt && !s->sim.cut && !s->record.forgiving)
		note_turn(s);
	return rc;
}

void session_cut(struct session *s)
{
	s->sim.cut = true;
	session_close(s);
	s->sim.cut = false;
	engine_volume(NULL);
}

struct extent session_place(struct session *s, uint64_t sector)
{
	return map_get(s->volume->map, sector, 1);
}

/* ---- operations ------------------------------------------------------------------- */

static void add_defect(struct session *s, enum file file, uint64_t offset, uint64_t length,
		       unsigned defect)
{
	sim_step(&s->sim, (struct step){.kind = STEP_DEFECT, .file = file, .offset = offset,
					.length = length, .defect = (enum defect)defect}, NULL);
}

static void note_loss(struct session *s, const struct op *op)
{
	struct asked *q;

	if (!(op->arg & DEFECT_READ))
		return;
	q = record_begin(&s->record, REQUEST_LOSS, op->start, op->count,
			 !(op->arg & DEFECT_HEALS), s->sim.journal.count);
	q->end = q->begin;
}

static void break_slots(struct session *s, const struct op *op)
{
	for (uint64_t i = 0; i < op->count; i++) {
		struct extent e = session_place(s, op->start + i);
		const struct spare *spare;

		/* After a cut it may be elsewhere, or nowhere. */
		if (e.state != SECTOR_REMAPPED)
			continue;
		spare = volume_spare(s->volume, e.spare);
		add_defect(s, FILE_MAIN + e.spare,
			   spare->layout.slots_offset + e.slot * s->sector_size, s->sector_size,
			   op->arg);
		note_loss(s, &(struct op){.start = op->start + i, .count = 1, .arg = op->arg});
	}
}

static void break_table(struct session *s, const struct op *op)
{
	const struct spare *spare = volume_spare(s->volume, (spare_id_t)op->start);

	add_defect(s, FILE_MAIN + (enum file)op->start, spare->layout.table_offset, s->sector_size,
		   op->arg);
}

static int do_request(struct session *s, const struct op *op, unsigned value)
{
	uint64_t offset = op->start * s->sector_size, length = op->count * s->sector_size;

	switch (op->kind) {
	case OP_WRITE:
		record_fill(&s->record, s->buffer, op->start, op->count, value);
		return write_some_way(s->volume, s->buffer, length, offset, s->io,
				      op->start + value);
	case OP_ZERO:
		return volume_zero(s->volume, offset, length);
	case OP_DISCARD:
		return volume_discard(s->volume, offset, length);
	case OP_READ:
		return read_some_way(s->volume, s->buffer, length, offset, s->io,
				     op->start + value);
	default:
		return engine_flush(s->volume);
	}
}

/* Which of the sectors changed their place or state: those were moved or cured. */
static uint64_t moved(struct session *s, const struct op *op, const struct extent *before)
{
	uint64_t mask = 0;

	for (uint64_t i = 0; i < op->count; i++) {
		struct extent now = session_place(s, op->start + i);

		if (now.state != before[i].state || now.spare != before[i].spare ||
		    now.slot != before[i].slot)
			mask |= UINT64_C(1) << i;
	}
	return mask;
}

/* What a read may answer while nothing was cut. */
static void check_read(struct session *s, const struct asked *q)
{
	struct possible *p = must(malloc(s->sectors * sizeof(*p)));
	bool lost = s->record.forgiving;

	record_possible(&s->record, s->sim.journal.count, p);
	for (uint64_t i = 0; i < q->count; i++) {
		lost = lost || p[q->start + i].lost;
		if (q->rc == 0)
			record_check(&s->record, q->start + i, &p[q->start + i], true, 0,
				     s->buffer + i * s->sector_size);
	}
	if (q->rc < 0 && !lost)
		fail("reading sector %llu failed without a reason", (unsigned long long)q->start);
	free(p);
}

static void request(struct session *s, const struct op *op)
{
	static const enum request_kind kinds[] = {REQUEST_WRITE, REQUEST_READ, REQUEST_WRITE,
						  REQUEST_WRITE, REQUEST_FLUSH};
	bool erases = op->kind == OP_ZERO || op->kind == OP_DISCARD;
	unsigned value = op->kind == OP_WRITE ? s->record.values : erases ? VALUE_ZEROS : 0;
	size_t index = s->record.count;
	struct extent before[64];
	struct asked *q;
	int rc;

	record_begin(&s->record, kinds[op->kind], op->start, op->count, value,
		     s->sim.journal.count);
	for (uint64_t i = 0; i < op->count; i++)
		before[i] = session_place(s, op->start + i);
	memory_spare(false);
	rc = do_request(s, op, value);
	memory_spare(true);
	q = &s->record.requests[index];
	q->rc = rc;
	q->end = s->sim.journal.count;
	if (q->kind == REQUEST_WRITE && rc == 0)
		q->settled = moved(s, op, before);
	q->events = audit_events(s->volume);
	if (q->kind == REQUEST_READ)
		check_read(s, q);
}

static void fill(struct session *s, const struct op *op)
{
	struct op write = {.kind = OP_WRITE, .start = op->start};
	uint64_t left;

	/* A spare that has failed keeps what is free of it: then main ends it. */
	while (s->volume && write.start + op->count <= s->sectors &&
	       (left = spare_counts(s->volume->spares.all[0]).free) > op->arg) {
		write.count = left - op->arg < op->count ? left - op->arg : op->count;
		request(s, &write);
		write.start += write.count;
		if (s->record.requests[s->record.count - 1].rc < 0)
			return;
	}
}

/* ---- spares that come and go ------------------------------------------------------ */

static int format_blank(struct session *s, struct store_spare *info)
{
	const struct file_device_options o = {.role = "spare"};
	struct spare_identity id = {
		.id = info->id,
		.sector_size = s->sector_size,
		.main_sectors = s->sectors,
		.spares = info->id,
		.in_use = SPARE_OUTSIDE,
	};
	struct error err = {""};
	struct device *d;
	int rc = sim_parts.open_device(NULL, info->path, &o, &d, &err);

	if (rc < 0)
		return rc;
	uuid_parse(volume_uuid(s->volume), id.volume);
	uuid_generate(id.spare);
	uuid_unparse_lower(id.spare, info->uuid);
	rc = spare_format(d, &id);
	device_close(d);
	return rc;
}

static void add_spare(struct session *s)
{
	char path[32];
	struct store_spare info = {.id = s->volume->last_spare + 1, .path = path};
	struct error err = {""};
	int rc;

	if (info.id > SPARES || !s->disk.files[FILE_MAIN + info.id].exists)
		return;
	snprintf(path, sizeof(path), "/sim/spare%u", info.id);
	memory_spare(false);
	rc = volume_may_add_spare(s->volume, &err);
	rc = rc < 0 ? rc : format_blank(s, &info);
	rc = rc < 0 ? rc : volume_add_spare(s->volume, &info, &err);
	memory_spare(true);
	if (rc < 0 && !s->record.forgiving)
		fail("a spare cannot be added: %s", err.text);
}

/* What is on it may be lost from now on. */
static void note_given_up(struct session *s, spare_id_t id)
{
	s->record.given_up = true;
	for (uint64_t sector = 0; sector < s->sectors; sector++) {
		struct extent e = session_place(s, sector);

		if (e.state == SECTOR_REMAPPED && e.spare == id)
			note_loss(s, &(struct op){.start = sector, .count = 1,
						  .arg = DEFECT_READ | DEFECT_HEALS});
	}
}

static void retire(struct session *s, const struct op *op)
{
	const struct spare *spare = volume_spare(s->volume, (spare_id_t)op->start);
	struct error err = {""};
	int rc;

	if (!spare || spare_state(spare) >= SPARE_RETIRED)
		return;
	if (op->arg)
		note_given_up(s, (spare_id_t)op->start);
	memory_spare(false);
	rc = volume_retire_spare(s->volume, (spare_id_t)op->start, op->arg, &err);
	memory_spare(true);
	/* The last one that lends stays. */
	if (rc < 0 && rc != -EINVAL && !s->record.forgiving)
		fail("spare %u cannot be retired: %s", (spare_id_t)op->start, err.text);
}

static void empty(struct session *s, const struct op *op)
{
	struct extent *before = must(malloc(s->sectors * sizeof(*before)));
	size_t begin = s->sim.journal.count;
	bool left;

	for (uint64_t i = 0; i < s->sectors; i++)
		before[i] = session_place(s, i);
	memory_spare(false);
	left = engine_empty(s->volume);
	memory_spare(true);
	if (left && op->arg && !s->record.forgiving)
		fail("a spare does not leave");
	for (uint64_t i = 0; i < s->sectors; i++) {
		struct extent now = session_place(s, i);
		struct asked *q;

		/* It could not be read, or its commit is in doubt. */
		if (s->record.forgiving && now.state == SECTOR_PENDING && before[i].state != now.state) {
			q = record_begin(&s->record, REQUEST_LOSS, i, 1, 0, begin);
			q->end = begin;
		}
		if (now.state != SECTOR_REMAPPED || before[i].state != SECTOR_REMAPPED ||
		    (now.spare == before[i].spare && now.slot == before[i].slot))
			continue;
		q = record_begin(&s->record, REQUEST_MOVE, i, 1, 0, begin);
		q->end = s->sim.journal.count;
	}
	free(before);
}

/* ---- what else happens ------------------------------------------------------------ */

static void fail_commits(struct session *s, const struct op *op)
{
	s->sim.calls = 0;
	s->sim.fail_at = op->count + 1;
	s->sim.fail_count = op->arg;
	s->sim.fail_error = (int)op->start;
	s->sim.fail_changes = s->sim.fail_database = true;
	s->record.forgiving = true;
}

static void reopen(struct session *s)
{
	if (s->volume)
		session_close(s);
	if (session_open(s) == 0)
		return;
	/* Calls that were made to fail may be the reason; they are not many. */
	for (unsigned tries = s->sim.failed || memory_failed() ? 8 : 0; tries > 0; tries--)
		if (session_open(s) == 0)
			return;
	fail("the volume cannot be opened again");
}

static void run_one(struct session *s, const struct op *op)
{
	switch (op->kind) {
	case OP_KILL:
		session_cut(s);
		reopen(s);
		return;
	case OP_REOPEN:
		reopen(s);
		return;
	case OP_DEFECT:
		add_defect(s, FILE_MAIN, op->start * s->sector_size, op->count * s->sector_size,
			   op->arg);
		note_loss(s, op);
		return;
	case OP_SLOT_DEFECT:
		break_slots(s, op);
		return;
	case OP_TABLE_DEFECT:
		break_table(s, op);
		return;
	case OP_COMMIT_FAILS:
		fail_commits(s, op);
		return;
	case OP_FILL:
		fill(s, op);
		return;
	case OP_FLUSH_FAILS:
		s->sim.fail_main_flush = op->arg != 0;
		return;
	case OP_SYNC_FAILS:
		s->sim.fail_sync = op->arg != 0;
		s->record.forgiving = true;
		return;
	case OP_ADD_SPARE:
		add_spare(s);
		return;
	case OP_RETIRE:
		retire(s, op);
		return;
	case OP_EMPTY:
		empty(s, op);
		return;
	default:
		request(s, op);
	}
}

void session_run(struct session *s, const struct op *ops, size_t count)
{
	for (size_t i = 0; i < count && s->volume; i++) {
		run_one(s, &ops[i]);
		if (!s->volume)
			return;
		memory_spare(false);
		engine_scribe(s->volume);
		memory_spare(true);
	}
}

/* ---- looking at all of it --------------------------------------------------------- */

void session_read_all(struct session *s, const struct record *r, const struct possible *p, bool live,
		      struct record *ret_observed)
{
	s->sim.quiet = true;
	memory_spare(true);
	for (uint64_t sector = 0; sector < s->sectors; sector++) {
		int rc = volume_read(s->volume, s->buffer, s->sector_size,
				     sector * s->sector_size);

		record_check(r, sector, &p[sector], live, rc, s->buffer);
		if (!ret_observed)
			continue;
		ret_observed->lost[sector] = rc < 0;
		if (rc == 0)
			memcpy(ret_observed->initial + sector * s->sector_size, s->buffer,
			       s->sector_size);
	}
	memory_spare(false);
	s->sim.quiet = false;
}
