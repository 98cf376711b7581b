#include "ctl/report/report.h"

#include "remapfs/cleanup.h"
#include "remapfs/text.h"

#include <string.h>

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
	fputc(c, out);
}

void put_text(FILE *out, const char *text)
{
	CLEANUP_FREE char *clean = strdup(text);

	if (clean)
		text_clean(clean);
	for (const char *c = clean; c && *c; c++)
		put_character(out, *c);
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
