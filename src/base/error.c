#include "remapfs/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "remapfs/text.h"

/*
 * What is too long is nearly always a path in the middle; the cause is at the
 * beginning and the remedy at the end, and both are kept.
 */
static void fit(struct error *err, const char *line)
{
	size_t length = strlen(line), tail = sizeof(err->text) / 2;

	if (length < sizeof(err->text)) {
		memcpy(err->text, line, length + 1);
		return;
	}
	memcpy(err->text, line, sizeof(err->text) - 1 - tail);
	memcpy(err->text + sizeof(err->text) - 1 - tail, line + length - tail, tail + 1);
	memcpy(err->text + sizeof(err->text) - 1 - tail - 3, "...", 3);
}

int (error_set)(struct error *err, int code, const char *format, ...)
{
	int kept = errno;
	char line[3 * 4096 + 512];
	va_list args;

	if (err) {
		va_start(args, format);
		vsnprintf(line, sizeof(line), format, args);
		va_end(args);
		fit(err, line);
		text_clean(err->text);
	}
	errno = kept;
	return -code;
}

void error_prefix(struct error *err, const char *format, ...)
{
	char prefix[256], rest[sizeof(err->text)];
	va_list args;

	if (!err)
		return;
	va_start(args, format);
	vsnprintf(prefix, sizeof(prefix), format, args);
	va_end(args);
	text_clean(prefix);
	memcpy(rest, err->text, sizeof(rest));
	if (snprintf(err->text, sizeof(err->text), "%s: %s", prefix, rest) < 0)
		err->text[0] = 0;
}

const char *errno_name(int code)
{
	static _Thread_local char other[16];
	const char *name = strerrorname_np(code);

	if (name)
		return name;
	snprintf(other, sizeof(other), "E%d", code);
	return other;
}

int errno_from_name(const char *name)
{
	for (int code = 1; code < 134; code++) {
		const char *known = strerrorname_np(code);

		if (known && strcmp(known, name) == 0)
			return code;
	}
	return 0;
}

_Bool errno_is_media(int code)
{
	return code == EIO || code == ENODATA || code == EREMOTEIO || code == EILSEQ || code == ETIME;
}
