/*
 * Reading a piece of the volume, and finding out what is wrong with it.
 *
 *   look      the whole piece at once, at idle priority
 *   survey    where that failed or was slow: each group of it, 4 KiB
 *   resolve   each sector of a group that failed or was slow again, alone
 *
 * A sector that failed with the others, failed alone, and then could be read is
 * weak. So is a whole group that failed while none of its sectors did alone: it
 * is one physical sector, or a part of one. A slow group is weak when the piece
 * was slow as well and its neighbours are not; where many are, the disk is slow.
 * So each sector is tried four times at most. Weak ones are moved as by a write
 * that could not stay (contract 1); lost ones become pending (contract 3).
 *
 * Looking holds no range of main: what is read is thrown away, so nobody has to
 * wait for it. What a slot holds is read with its range shared, or its spare
 * might leave meanwhile. Only resolving owns its sectors, a group at a time.
 */
#include "volume/examine.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "volume/volume_impl.h"

#define GROUP_BYTES 4096u
#define GROUP_SECTORS_MAX (GROUP_BYTES / 512)
#define SUSPECTS_MAX (EXAMINE_BYTES / 512)
#define SLOW_MS 1000
#define PATIENCE_MS 10000 /* of one group, as of a request */
#define SURVEYS 3         /* before a failure that does not come again is let be */

/* Sectors of one place, at most a group, that failed or (ETIMEDOUT) were slow. */
struct suspect {
	struct extent extent;
	int error;
};

struct examiner {
	struct volume *volume;
	char *buf; /* EXAMINE_BYTES, aligned */
	struct scrub_counts found;
	char why[100];
	struct suspect suspects[SUSPECTS_MAX];
	size_t suspect_count;
};

/* ---- life --------------------------------------------------------------------------- */

struct examiner *examiner_new(struct volume *v)
{
	struct examiner *x = malloc(sizeof(*x));

	if (!x)
		return NULL;
	*x = (struct examiner){.volume = v};
	if (posix_memalign((void **)&x->buf, VOLUME_ALIGNMENT, EXAMINE_BYTES) == 0)
		return x;
	free(x);
	return NULL;
}

void examiner_free(struct examiner *x)
{
	if (!x)
		return;
	free(x->buf);
	free(x);
}

/* Where the kernel does not have it, the rate is all that bounds the scrub. */
void be_idle(bool idle)
{
	syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
		IOPRIO_PRIO_VALUE(idle ? IOPRIO_CLASS_IDLE : IOPRIO_CLASS_NONE, 0));
}

static bool may_go_on(const struct examiner *x)
{
	return background_pause(&x->volume->scrub.thread, 0);
}

static bool may_move(const struct volume *v)
{
	return !v->options.read_only && !v->options.no_remap;
}

static uint64_t group_sectors(const struct volume *v)
{
	return GROUP_BYTES / v->sector_size;
}

static bool is_slow(const struct volume *v, int64_t began)
{
	return now_ms() - began > (v->options.slow_ms ? v->options.slow_ms : SLOW_MS);
}

static bool same_place(const struct extent *a, const struct extent *b)
{
	return a->state == b->state && a->spare == b->spare && a->slot == b->slot &&
	       a->count == b->count;
}

/* ---- whether it is the device ---------------------------------------------------------- */

static int judge_main(const struct examiner *x, int error, const struct extent *e)
{
	const struct request r = {.deadline = now_ms() + PATIENCE_MS};

	return judge_main_read(x->volume, &r, error, e->start, e->count);
}

/* Reading e was answered with error. 0: it is about the sectors. Contract 7. */
static int judge(struct examiner *x, int error, const struct extent *e)
{
	int rc = e->spare == ON_MAIN
			 ? judge_main(x, error, e)
			 : judge_spare(x->volume, volume_spare(x->volume, e->spare), error, false);

	if (rc == 0 || rc == -ENOMEM)
		return rc;
	if (e->spare == ON_MAIN)
		snprintf(x->why, sizeof(x->why), "main does not answer; check the disk and its "
			 "cables, then resume");
	else
		snprintf(x->why, sizeof(x->why), "spare %u does not answer; check the disk and its "
			 "cables, then resume", e->spare);
	return -EIO;
}

/* ---- looking ------------------------------------------------------------------------------ */

/* 0; the errno of the sectors, or ETIMEDOUT: slow; or below 0, as judge. */
static int ask(struct examiner *x, const struct extent *e)
{
	struct volume *v = x->volume;
	uint64_t known = errors_known(v);
	int64_t began = now_ms();
	int rc = read_extent(v, e, x->buf), verdict;

	if (rc < 0) {
		verdict = judge(x, -rc, e);
		return verdict < 0 ? verdict : -rc;
	}
	if (e->spare == ON_MAIN)
		note_read(v, e->start, known);
	return is_slow(v, began) ? ETIMEDOUT : 0;
}

/* One that is known to be gone is not asked again. */
static bool is_asked(const struct spare *spare)
{
	return !spare_failed(spare) && spare_state(spare) != SPARE_LOST;
}

static int ask_slot(struct examiner *x, const struct extent *e)
{
	struct volume *v = x->volume;
	struct range_ticket ticket;
	struct extent now;
	int rc = 0;

	range_share(&v->locks, &ticket, e->start, e->count);
	now = map_get(v->map, e->start, e->count);
	/* Elsewhere by now: somebody has just written it. */
	if (same_place(&now, e)) {
		if (!is_asked(volume_spare(v, e->spare)))
			x->found.skipped += e->count;
		else
			rc = ask(x, e);
	}
	range_unlock(&v->locks, &ticket);
	return rc;
}

static void suspect(struct examiner *x, const struct extent *e, int error)
{
	if (x->suspect_count < SUSPECTS_MAX)
		x->suspects[x->suspect_count++] = (struct suspect){*e, error};
}

/* Adds to the suspects. The worst of them: 0, ETIMEDOUT, another errno; or below 0. */
static int look(struct examiner *x, sector_t start, uint64_t count)
{
	struct volume *v = x->volume;
	int worst = 0;

	while (count > 0) {
		struct extent e = map_get(v->map, start, count);
		int rc = e.state == SECTOR_GOOD ? ask(x, &e)
			 : e.state == SECTOR_REMAPPED ? ask_slot(x, &e) : 0;

		if (rc == -ENOMEM)
			x->found.skipped += e.count;
		else if (rc < 0)
			return rc;
		if (rc > 0)
			suspect(x, &e, rc);
		if (rc > 0 && (worst == 0 || rc != ETIMEDOUT))
			worst = rc;
		start += e.count;
		count -= e.count;
	}
	return worst;
}

/* ---- looking closer ----------------------------------------------------------------------- */

/* Where much is slow, it is not the sectors. */
static void let_slow_ones_be(struct examiner *x, uint64_t groups)
{
	size_t slow = 0, kept = 0;

	for (size_t i = 0; i < x->suspect_count; i++)
		slow += x->suspects[i].error == ETIMEDOUT;
	if (slow < 2 || slow <= groups / 4)
		return;
	for (size_t i = 0; i < x->suspect_count; i++)
		if (x->suspects[i].error != ETIMEDOUT)
			x->suspects[kept++] = x->suspects[i];
	x->suspect_count = kept;
}

/* Fills the suspects anew, group by group. */
static int survey(struct examiner *x, sector_t start, uint64_t count)
{
	uint64_t most = group_sectors(x->volume), skipped = x->found.skipped, groups = 0;
	sector_t end = start + count;

	x->suspect_count = 0;
	for (uint64_t n; start < end; start += n, groups++) {
		int rc;

		n = most - start % most;
		n = n < end - start ? n : end - start;
		if (!may_go_on(x))
			return -EINTR;
		rc = look(x, start, n);
		if (rc < 0)
			return rc;
	}
	/* That has been counted. */
	x->found.skipped = skipped;
	let_slow_ones_be(x, groups);
	return 0;
}

/* ---- resolving ------------------------------------------------------------------------------ */

/* What the sectors of a suspect said alone. */
struct resolution {
	struct request request;
	struct settlement weak, lost;
	bool all_fine; /* each was read, at once */
};

static uint64_t sectors_of(const struct settlement *s)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->move_count; i++)
		n += s->moves[i].from.count;
	return n;
}

/* Twice at most. 0 or -ENOMEM. */
static int try_alone(struct examiner *x, struct resolution *r, const struct extent *one, void *to)
{
	int64_t began = now_ms();
	int rc = read_extent(x->volume, one, to), error = -rc;

	if (rc == 0 && is_slow(x->volume, began))
		error = ETIMEDOUT;
	if (error == 0)
		return 0;
	r->all_fine = false;
	if (rc < 0)
		rc = read_extent(x->volume, one, to);
	return rc < 0 ? settlement_move(&r->lost, *one, NULL, error)
		      : settlement_move(&r->weak, *one, to, error);
}

/* A sector of the suspect, if it is still where it was when that failed. */
static bool part_is_there(struct examiner *x, const struct suspect *s, uint64_t i,
			  struct extent *ret)
{
	struct extent was = extent_part(s->extent, s->extent.start + i, 1);

	*ret = map_get(x->volume->map, was.start, 1);
	return same_place(ret, &was);
}

static int try_each(struct examiner *x, struct resolution *r, const struct suspect *s)
{
	int rc = 0;

	r->all_fine = true;
	for (uint64_t i = 0; rc == 0 && i < s->extent.count; i++) {
		struct extent one;

		if (!part_is_there(x, s, i, &one)) {
			r->all_fine = false;
		} else if (now_ms() >= r->request.deadline) {
			r->all_fine = false;
			x->found.skipped++;
		} else {
			rc = try_alone(x, r, &one, x->buf + bytes_of(x->volume, i));
		}
	}
	if (rc == 0 && r->all_fine)
		rc = settlement_move(&r->weak, s->extent, x->buf, s->error);
	return rc;
}

/* Counts what was found, and does what may be done. */
static void act(struct examiner *x, struct resolution *r)
{
	struct volume *v = x->volume;
	uint64_t weak = sectors_of(&r->weak);

	x->found.lost += sectors_of(&r->lost);
	if (r->lost.move_count && !v->options.no_remap)
		mark_pending(v, &r->lost);
	x->found.weak += weak;
	if (weak && may_move(v) && settle(v, &r->weak) == 0)
		x->found.moved += weak;
}

static int resolve(struct examiner *x, const struct suspect *s)
{
	struct volume *v = x->volume;
	struct resolution r = {0};
	int rc;

	range_own(&v->locks, &r.request.ticket, s->extent.start, s->extent.count);
	r.request.deadline =
	    now_ms() + (v->options.isolation_ms ? v->options.isolation_ms : PATIENCE_MS);
	rc = try_each(x, &r, s);
	/* It may have gone since the survey. */
	if (rc == 0 && r.lost.move_count)
		rc = judge(x, r.lost.moves[0].error, &s->extent);
	if (rc == 0)
		act(x, &r);
	else if (rc == -ENOMEM)
		x->found.skipped += s->extent.count;
	range_unlock(&v->locks, &r.request.ticket);
	settlement_clear(&r.weak);
	settlement_clear(&r.lost);
	return rc == -ENOMEM ? 0 : rc;
}

/* The piece said error at once: what of it does? */
static int look_closer(struct examiner *x, sector_t start, uint64_t count, int error)
{
	int surveys = error == ETIMEDOUT ? 1 : SURVEYS, rc = 0;

	x->suspect_count = 0;
	for (int i = 0; rc == 0 && i < surveys && x->suspect_count == 0; i++)
		rc = survey(x, start, count);
	x->found.unsteady += rc == 0 && x->suspect_count == 0;
	for (size_t i = 0; rc == 0 && i < x->suspect_count; i++)
		rc = may_go_on(x) ? resolve(x, &x->suspects[i]) : -EINTR;
	return rc;
}

/* ---- lost sectors that came back -------------------------------------------------------------- */

static int join_cured(struct settlement *s, const struct extent *one)
{
	struct extent *last = s->cured_count ? &s->cured[s->cured_count - 1].from : NULL;

	if (!last || extent_end(last) != one->start)
		return settlement_cured(s, *one, NULL);
	last->count++;
	return 0;
}

/* Contract 2 holds by is_main_intact. One that is slow is better kept elsewhere. */
static int try_lost(struct examiner *x, const struct extent *one, void *to, struct settlement *s)
{
	int64_t began = now_ms();

	if (read_extent(x->volume, one, to) < 0)
		return 0;
	return is_slow(x->volume, began) ? settlement_move(s, *one, to, ETIMEDOUT)
					 : join_cured(s, one);
}

static void clear_lost(struct examiner *x, struct settlement *s)
{
	struct volume *v = x->volume;
	uint64_t slow = sectors_of(s);

	if ((s->move_count == 0 && s->cured_count == 0) || settle(v, s) < 0)
		return;
	x->found.weak += slow;
	x->found.moved += slow;
	x->found.cured += slow;
	for (size_t i = 0; i < s->cured_count; i++)
		x->found.cured += s->cured[i].from.count;
}

/* A group of the intact sectors, each of which is read once. */
static void retry_group(struct examiner *x, sector_t start, uint64_t count)
{
	struct volume *v = x->volume;
	struct settlement s = {0};
	struct range_ticket ticket;
	int64_t deadline = now_ms() + PATIENCE_MS;
	int rc = 0;

	range_own(&v->locks, &ticket, start, count);
	for (uint64_t i = 0; rc == 0 && i < count && now_ms() < deadline; i++) {
		struct extent one = map_get(v->map, start + i, 1);

		if (is_main_intact(v, one.start))
			rc = try_lost(x, &one, x->buf + bytes_of(v, i), &s);
	}
	if (rc == 0)
		clear_lost(x, &s);
	range_unlock(&v->locks, &ticket);
	settlement_clear(&s);
}

static int retry_lost(struct examiner *x, sector_t start, uint64_t count)
{
	struct volume *v = x->volume;
	sector_t end = start + count;

	if (!may_move(v))
		return 0;
	while ((start = map_next_special(v->main_intact, start)) < end) {
		uint64_t most = group_sectors(v), left = end - start;
		struct extent e = map_get(v->main_intact, start, left < most ? left : most);

		if (!may_go_on(x))
			return -EINTR;
		retry_group(x, e.start, e.count);
		start = extent_end(&e);
	}
	return 0;
}

/* ---- all of it ---------------------------------------------------------------------------------- */

/*
 * First the lost ones: what is lost now is not tried again at once. Whoever owns
 * sectors, or commits, is not idle: others wait for him.
 */
static int examine_piece(struct examiner *x, sector_t start, uint64_t count)
{
	int rc = retry_lost(x, start, count);

	if (rc < 0)
		return rc;
	x->suspect_count = 0;
	be_idle(true);
	rc = look(x, start, count);
	be_idle(false);
	return rc > 0 ? look_closer(x, start, count, rc) : rc;
}

int examine(struct examiner *x, sector_t start, uint64_t count, struct scrub_counts *ret_found,
	    const char **ret_why)
{
	int rc;

	x->found = (struct scrub_counts){0};
	rc = examine_piece(x, start, count);
	*ret_why = x->why;
	*ret_found = x->found;
	return rc;
}
