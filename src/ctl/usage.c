/* How a command line is read, and how a command ends that cannot be done. */
#include "ctl/ctl.h"

#include "remapfs/text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* ---- ends ------------------------------------------------------------------- */

int refuse(const struct error *err)
{
	fprintf(stderr, "remapctl: %s\n", err->text[0] ? err->text : "failed; no reason is known");
	return EXIT_REFUSED;
}

int refuse_misuse(const struct error *err)
{
	refuse(err);
	return EXIT_MISUSED;
}

__attribute__((format(printf, 2, 0))) static void vset(struct error *err, const char *format,
						       va_list args)
{
	char text[2 * sizeof(err->text)];

	vsnprintf(text, sizeof(text), format, args);
	error_set(err, EINVAL, "%s", text);
}

void warn_text(const char *format, ...)
{
	struct error warning;
	va_list args;

	va_start(args, format);
	vset(&warning, format, args);
	va_end(args);
	fprintf(stderr, "remapctl: warning: %s\n", warning.text);
}

int refuse_text(const char *format, ...)
{
	struct error err;
	va_list args;

	va_start(args, format);
	vset(&err, format, args);
	va_end(args);
	return refuse(&err);
}

int misuse(const char *command, const char *format, ...)
{
	struct error cause, line;
	va_list args;

	va_start(args, format);
	vset(&cause, format, args);
	va_end(args);
	error_set(&line, EINVAL, "%.400s; try 'remapctl %s%s--help'", cause.text, command,
		  *command ? " " : "");
	return refuse_misuse(&line);
}

int explain_store(const char *volume, int rc, struct error *err)
{
	static const struct {
		int code;
		const char *text;
	} reasons[] = {
	    {EBUSY, "is locked by another program; end its write transaction, then try again"},
	    {ENOSPC, "cannot grow: the disk is full; make room"},
	    {EROFS, "is read-only; make it writable"},
	    {EUCLEAN, "is damaged or was changed by hand; restore it from a copy"},
	    {ENOMEM, "needs more memory than there is; end other programs"},
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(*reasons); i++)
		if (-rc == reasons[i].code)
			return error_set(err, -rc, "%.300s %s", volume, reasons[i].text);
	return error_set(err, -rc, "%.300s: %s; see the system log for errors of its disk", volume,
			 strerror(-rc));
}

int refuse_store(const char *volume, int rc)
{
	struct error err;

	explain_store(volume, rc, &err);
	return refuse(&err);
}

int print_help(const char *text)
{
	fputs(text, stdout);
	return EXIT_DONE;
}

const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

const char *is_or_are(uint64_t count)
{
	return count == 1 ? "is" : "are";
}

/* ---- options ---------------------------------------------------------------- */

static const char *long_name(const struct option *longs, int value)
{
	for (; longs->name; longs++)
		if (longs->val == value)
			return longs->name;
	return NULL;
}

/* optopt is 0 where getopt_long did not know the word, or knew several. */
static void tell_unknown(const char *command, const char *word, const struct option *longs)
{
	const char *name = optopt ? long_name(longs, optopt) : NULL;

	if (name)
		misuse(command, "option --%s takes no value", name);
	else if (optopt && isprint(optopt))
		misuse(command, "unknown option -%c", optopt);
	else if (optopt)
		misuse(command, "unknown option in '%.60s'", word);
	else
		misuse(command, "unknown or ambiguous option '%.60s'", word);
}

int next_option(const char *command, int argc, char **argv, const char *shorts,
		const struct option *longs)
{
	int c;

	opterr = 0;
	c = getopt_long(argc, argv, shorts, longs, NULL);
	if (c == ':') {
		misuse(command, "option --%s needs a value", long_name(longs, optopt));
		return '?';
	}
	if (c == '?')
		tell_unknown(command, argv[optind - 1], longs);
	return c;
}

int check_operands(const char *command, int argc, char **argv, int min, int max,
		   const char *const *names)
{
	int given = argc - optind;

	if (given < min)
		return misuse(command, "%s is missing", names[given]);
	if (given > max)
		return misuse(command, "'%.60s' is one argument too many", argv[optind + max]);
	for (int i = 0; i < given; i++)
		if (!*argv[optind + i])
			return misuse(command, "%s is empty", names[i]);
	return 0;
}

/* ---- output ----------------------------------------------------------------- */

static bool is_plain(const char *text)
{
	return *text && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					   "0123456789/._-+:,@%")];
}

/* As ls does it: the bytes of what is unsafe stand in a word of their own, $'...'. */
static void print_escaped(FILE *out, const char *bytes, size_t length)
{
	fputs("'$'", out);
	for (size_t i = 0; i < length; i++)
		fprintf(out, "\\%03o", (unsigned char)bytes[i]);
	fputs("''", out);
}

void print_word(FILE *out, const char *path)
{
	size_t length;

	if (is_plain(path)) {
		fputs(path, out);
		return;
	}
	fputc('\'', out);
	for (; *path; path += length)
		if (text_is_unsafe(text_character(path, &length)))
			print_escaped(out, path, length);
		else if (*path == '\'')
			fputs("'\\''", out);
		else
			fwrite(path, 1, length, out);
	fputc('\'', out);
}
