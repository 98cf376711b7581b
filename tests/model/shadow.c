#include "shadow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A content that the sector may have besides the one in the image. */
struct other {
	struct other *next;
	uint8_t data[];
};

struct shadow {
	uint64_t size;
	uint32_t sector_size;
	uint8_t *image;
	struct other **others; /* by sector */
};

/* The part of a request that lies in one sector. */
struct part {
	uint64_t sector;
	uint32_t from, length; /* bytes, within the sector */
	uint64_t done;	       /* bytes of the request before it */
};

static void *must(void *p)
{
	if (!p) {
		fputs("model: out of memory\n", stderr);
		abort();
	}
	return p;
}

struct shadow *shadow_new(uint64_t size, uint32_t sector_size)
{
	struct shadow *s = must(calloc(1, sizeof(*s)));

	s->size = size;
	s->sector_size = sector_size;
	s->image = must(calloc(1, size));
	s->others = must(calloc(size / sector_size, sizeof(struct other *)));
	return s;
}

static void forget_others(struct shadow *s, uint64_t sector)
{
	while (s->others[sector]) {
		struct other *o = s->others[sector];

		s->others[sector] = o->next;
		free(o);
	}
}

void shadow_free(struct shadow *s)
{
	if (!s)
		return;
	for (uint64_t i = 0; i < s->size / s->sector_size; i++)
		forget_others(s, i);
	free(s->others);
	free(s->image);
	free(s);
}

static uint8_t *content(const struct shadow *s, uint64_t sector)
{
	return s->image + sector * s->sector_size;
}

static bool next_part(const struct shadow *s, struct part *p, uint64_t length, uint64_t offset)
{
	uint64_t at = offset + (p->done += p->length), left = length - p->done;

	if (left == 0)
		return false;
	p->sector = at / s->sector_size;
	p->from = (uint32_t)(at % s->sector_size);
	p->length = s->sector_size - p->from;
	if (p->length > left)
		p->length = (uint32_t)left;
	return true;
}

static void put(uint8_t *sector, const struct part *p, const uint8_t *data)
{
	if (data)
		memcpy(sector + p->from, data + p->done, p->length);
	else
		memset(sector + p->from, 0, p->length);
}

void shadow_write(struct shadow *s, const void *data, uint64_t length, uint64_t offset)
{
	for (struct part p = {0}; next_part(s, &p, length, offset);) {
		put(content(s, p.sector), &p, data);
		if (p.length == s->sector_size)
			forget_others(s, p.sector);
		for (struct other *o = s->others[p.sector]; o; o = o->next)
			put(o->data, &p, data);
	}
}

static bool known(const struct shadow *s, uint64_t sector, const uint8_t *data)
{
	if (memcmp(content(s, sector), data, s->sector_size) == 0)
		return true;
	for (const struct other *o = s->others[sector]; o; o = o->next)
		if (memcmp(o->data, data, s->sector_size) == 0)
			return true;
	return false;
}

static void add_other(struct shadow *s, uint64_t sector, const uint8_t *base,
		      const struct part *p, const uint8_t *data)
{
	struct other *o = must(malloc(sizeof(*o) + s->sector_size));

	memcpy(o->data, base, s->sector_size);
	put(o->data, p, data);
	if (known(s, sector, o->data)) {
		free(o);
		return;
	}
	o->next = s->others[sector];
	s->others[sector] = o;
}

void shadow_write_failed(struct shadow *s, const void *data, uint64_t length, uint64_t offset)
{
	for (struct part p = {0}; next_part(s, &p, length, offset);) {
		/* New ones go in front: this walk does not meet them. */
		struct other *o = s->others[p.sector];

		add_other(s, p.sector, content(s, p.sector), &p, data);
		for (; o; o = o->next)
			add_other(s, p.sector, o->data, &p, data);
	}
}

static bool shows(const uint8_t *sector, const struct part *p, const uint8_t *data)
{
	return memcmp(sector + p->from, data + p->done, p->length) == 0;
}

/* Drops what a read has shown not to be. False: nothing is left. */
static bool settle(struct shadow *s, const struct part *p, const uint8_t *data)
{
	struct other **link = &s->others[p->sector];
	bool image_fits = shows(content(s, p->sector), p, data);

	while (*link) {
		struct other *o = *link;

		if (shows(o->data, p, data) && image_fits) {
			link = &o->next;
			continue;
		}
		if (shows(o->data, p, data)) {
			memcpy(content(s, p->sector), o->data, s->sector_size);
			image_fits = true;
		}
		*link = o->next;
		free(o);
	}
	return image_fits;
}

bool shadow_accept(struct shadow *s, const void *data, uint64_t length, uint64_t offset,
		   uint64_t *ret_sector)
{
	for (struct part p = {0}; next_part(s, &p, length, offset);) {
		if (!s->others[p.sector] ? shows(content(s, p.sector), &p, data)
					 : settle(s, &p, data))
			continue;
		*ret_sector = p.sector;
		return false;
	}
	return true;
}

static bool zeros(const uint8_t *sector, const struct part *p)
{
	for (uint32_t i = 0; i < p->length; i++)
		if (sector[p->from + i])
			return false;
	return true;
}

bool shadow_may_be_zero(const struct shadow *s, uint64_t length, uint64_t offset)
{
	for (struct part p = {0}; next_part(s, &p, length, offset);) {
		bool may = zeros(content(s, p.sector), &p);

		for (const struct other *o = s->others[p.sector]; o && !may; o = o->next)
			may = zeros(o->data, &p);
		if (!may)
			return false;
	}
	return true;
}

unsigned shadow_possible(const struct shadow *s, uint64_t sector)
{
	unsigned n = 1;

	for (const struct other *o = s->others[sector]; o; o = o->next)
		n++;
	return n;
}
