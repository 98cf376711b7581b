#include "suspicion.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FAULTS_MAX 512

struct sector_story {
	uint8_t read_faults, write_faults, lasting_write_faults; /* on main, maybe in force */
	bool lost;	      /* main may have failed to read it since it was last written */
	bool may_be_remapped; /* something once gave reason for it */
	bool surely_remapped; /* written while main could not take it */
	uint64_t written_at;  /* spare_read_faults when it was known to be well */
};

struct suspicion {
	uint64_t sectors;
	struct sector_story *stories;
	struct fault faults[FAULTS_MAX];
	size_t fault_count;
	uint64_t spare_read_faults;  /* that came or went so far */
	size_t spare_reads_in_force; /* maybe */
	bool slots_may_fail;
};

static void *must(void *p)
{
	if (!p) {
		fputs("model: out of memory\n", stderr);
		abort();
	}
	return p;
}

struct suspicion *suspicion_new(uint64_t sectors)
{
	struct suspicion *s = must(calloc(1, sizeof(*s)));

	s->sectors = sectors;
	s->stories = must(calloc(sectors, sizeof(*s->stories)));
	return s;
}

void suspicion_free(struct suspicion *s)
{
	if (!s)
		return;
	free(s->stories);
	free(s);
}

size_t suspect_faults(const struct suspicion *s)
{
	return s->fault_count;
}

/* Counts a fault in (sign 1) or out (-1). */
static void count_fault(struct suspicion *s, const struct fault *f, int sign)
{
	bool on_read = f->on & FAULT_ON_READ, on_write = f->on & FAULT_ON_WRITE;

	if (f->spare != ON_MAIN) {
		/* Until it is cleared it may have struck: that is another event. */
		s->spare_read_faults += on_read;
		s->spare_reads_in_force += on_read ? (size_t)sign : 0;
		return;
	}
	for (sector_t i = f->start; i < f->start + f->count; i++) {
		struct sector_story *t = &s->stories[i];

		t->read_faults = (uint8_t)(t->read_faults + (on_read ? sign : 0));
		t->write_faults = (uint8_t)(t->write_faults + (on_write ? sign : 0));
		if (on_write && f->life == FAULT_PERMANENT)
			t->lasting_write_faults = (uint8_t)(t->lasting_write_faults + sign);
	}
}

void suspect_fault(struct suspicion *s, const struct fault *f)
{
	if (s->fault_count == FAULTS_MAX || f->error == 0) {
		fputs("model: a fault that cannot be followed\n", stderr);
		abort();
	}
	s->faults[s->fault_count++] = *f;
	count_fault(s, f, 1);
	if (f->spare != ON_MAIN) {
		s->slots_may_fail |= (f->on & FAULT_ON_WRITE) != 0;
		return;
	}
	for (sector_t i = f->start; i < f->start + f->count; i++) {
		s->stories[i].lost |= (f->on & FAULT_ON_READ) != 0;
		s->stories[i].may_be_remapped |= (f->on & FAULT_ON_WRITE) != 0;
	}
}

/* As the database does: what touches the range goes, whole. The caller puts in
 * faults that do not last sector by sector, as they stand there. */
void suspect_cleared(struct suspicion *s, spare_id_t spare, sector_t start, uint64_t count)
{
	for (size_t i = 0; i < s->fault_count;) {
		const struct fault *f = &s->faults[i];

		if (f->spare != spare || f->start >= start + count || f->start + f->count <= start) {
			i++;
			continue;
		}
		count_fault(s, f, -1);
		s->faults[i] = s->faults[--s->fault_count];
	}
}

void suspect_all_cleared(struct suspicion *s)
{
	while (s->fault_count)
		count_fault(s, &s->faults[--s->fault_count], -1);
}

void suspect_written(struct suspicion *s, sector_t start, uint64_t count, bool discard)
{
	for (sector_t i = start; i < start + count; i++) {
		struct sector_story *t = &s->stories[i];

		/* A lost sector may have been cured on a spare. */
		t->may_be_remapped |= t->lost;
		t->lost = t->read_faults > 0;
		t->written_at = s->spare_read_faults;
		t->surely_remapped = !discard && t->lasting_write_faults > 0;
	}
}

void suspect_write_failed(struct suspicion *s, sector_t start, uint64_t count)
{
	/* It may have moved nothing, or cured some; a remap stays in any case. */
	for (sector_t i = start; i < start + count; i++)
		s->stories[i].may_be_remapped |= s->stories[i].lost;
}

void suspect_read(struct suspicion *s, sector_t start, uint64_t count)
{
	for (sector_t i = start; i < start + count; i++) {
		struct sector_story *t = &s->stories[i];

		/* Not pending now, so it is lost only by what is in force. */
		t->lost = t->read_faults > 0;
		t->written_at = s->spare_read_faults;
	}
}

bool may_be_unreadable(const struct suspicion *s, sector_t start, uint64_t count)
{
	for (sector_t i = start; i < start + count; i++) {
		const struct sector_story *t = &s->stories[i];

		if (t->lost && !t->surely_remapped)
			return true;
		if (t->may_be_remapped &&
		    (s->spare_reads_in_force || s->spare_read_faults > t->written_at))
			return true;
	}
	return false;
}

bool may_be_remapped(const struct suspicion *s, sector_t sector)
{
	return s->stories[sector].may_be_remapped;
}

bool must_be_remapped(const struct suspicion *s, sector_t sector)
{
	return s->stories[sector].surely_remapped;
}

bool slots_may_fail(const struct suspicion *s)
{
	return s->slots_may_fail;
}
