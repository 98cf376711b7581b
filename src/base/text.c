/*
 * What may be printed of what others chose. One loop over characters of UTF-8, and one
 * table of those that are unsafe.
 */
#include "remapfs/text.h"

#include <stdbool.h>
#include <string.h>

/* ---- characters ----------------------------------------------------------------- */

/* The bytes that follow a first byte. -1: no character begins so. */
static int more_after(unsigned char first)
{
	if (first < 0x80)
		return 0;
	if (first >= 0xc2 && first <= 0xdf)
		return 1;
	if (first >= 0xe0 && first <= 0xef)
		return 2;
	return first >= 0xf0 && first <= 0xf4 ? 3 : -1;
}

/* Longer than it needs to be, half of a surrogate pair, or past the last one. */
static bool is_misspelt(uint32_t c, int more)
{
	return (more == 2 && c < 0x800) || (more == 3 && c < 0x10000) ||
	       (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff;
}

uint32_t text_character(const char *text, size_t *ret_length)
{
	const unsigned char *byte = (const unsigned char *)text;
	int more = more_after(*byte);
	uint32_t c = more > 0 ? *byte & (0x3fu >> more) : *byte;

	*ret_length = 1;
	for (int i = 1; i <= more; i++) {
		if ((byte[i] & 0xc0) != 0x80)
			return TEXT_INVALID;
		c = c << 6 | (byte[i] & 0x3f);
	}
	if (more < 0 || is_misspelt(c, more))
		return TEXT_INVALID;
	*ret_length = (size_t)more + 1;
	return c;
}

bool text_is_unsafe(uint32_t character)
{
	static const struct {
		uint32_t first, last;
	} unsafe[] = {
		{0, 0x1f},	  {0x7f, 0x9f},	    {0x61c, 0x61c},   {0x200e, 0x200f},
		{0x2028, 0x202e}, {0x2066, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
		{0xfffe, 0xffff}, {0xe0000, 0xe007f}, {TEXT_INVALID, TEXT_INVALID},
	};

	for (size_t i = 0; i < sizeof(unsafe) / sizeof(*unsafe); i++)
		if (character >= unsafe[i].first && character <= unsafe[i].last)
			return true;
	return false;
}

/* ---- texts ---------------------------------------------------------------------- */

static bool is_invalid(uint32_t character)
{
	return character == TEXT_INVALID;
}

/* A character is at least as long as what takes its place. */
static char *replace(char *text, bool (*is_bad)(uint32_t))
{
	char *to = text;
	size_t length;

	for (const char *from = text; *from; from += length) {
		if (is_bad(text_character(from, &length))) {
			*to++ = '?';
			continue;
		}
		memmove(to, from, length);
		to += length;
	}
	*to = 0;
	return text;
}

char *text_clean(char *text)
{
	return replace(text, text_is_unsafe);
}

char *text_make_utf8(char *text)
{
	return replace(text, is_invalid);
}

/* ---- JSON ----------------------------------------------------------------------- */

static void put_escaped(FILE *to, uint32_t c)
{
	if (c == TEXT_INVALID)
		fputc('?', to);
	else if (c > 0xffff)
		fprintf(to, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
			0xdc00 + ((c - 0x10000) & 0x3ff));
	else
		fprintf(to, "\\u%04x", c);
}

/* A newline stands between strings only: in one it is escaped already. */
void text_put_json(FILE *to, const char *json)
{
	size_t length;

	for (; *json; json += length) {
		uint32_t c = text_character(json, &length);

		if (c != '\n' && c != '\t' && text_is_unsafe(c))
			put_escaped(to, c);
		else
			fwrite(json, 1, length, to);
	}
}
