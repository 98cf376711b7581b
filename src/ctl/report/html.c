#include "ctl/report/report.h"

#include <string.h>

/* U+FFFE and U+FFFF are characters, but none of XML. */
static bool is_no_character(const char *c)
{
	return (unsigned char)c[0] == 0xef && (unsigned char)c[1] == 0xbf &&
	       ((unsigned char)c[2] & 0xfe) == 0xbe;
}

static void put_character(FILE *out, char c)
{
	switch (c) {
	case '&':
		fputs("&amp;", out);
		return;
	case '<':
		fputs("&lt;", out);
		return;
	case '>':
		fputs("&gt;", out);
		return;
	case '"':
		fputs("&quot;", out);
		return;
	case '\'':
		fputs("&#39;", out);
		return;
	}
	fputc((unsigned char)c < ' ' || c == 0x7f ? '?' : c, out);
}

void put_text(FILE *out, const char *text)
{
	json_t *utf8 = json_text(text);
	const char *c = json_string_value(utf8);

	for (; c && *c; c++) {
		if (is_no_character(c)) {
			fputc('?', out);
			c += 2;
			continue;
		}
		put_character(out, *c);
	}
	json_decref(utf8);
}

void put_number(FILE *out, uint64_t number)
{
	char digits[24];
	int length = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);

	for (int i = 0; i < length; i++) {
		if (i && (length - i) % 3 == 0)
			fputs("\u202f", out);
		fputc(digits[i], out);
	}
}

void put_time(FILE *out, time_t time)
{
	struct tm tm;
	char text[32];

	gmtime_r(&time, &tm);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &tm);
	fputs(text, out);
}

void put_block(FILE *out, enum cell_state state, unsigned column, unsigned line)
{
	fprintf(out, "<rect class=\"c%d\" x=\"%u\" y=\"%u\" width=\"%d\" height=\"%d\" rx=\"2\">",
		(int)state, MAP_LEFT + column * MAP_PITCH, line * MAP_PITCH, MAP_BLOCK, MAP_BLOCK);
}
