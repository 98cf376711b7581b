/*
 * How failures are told.
 *
 * Data-path functions return 0 or a negative errno and nothing else. Functions
 * that a person started (create, open, parse) also take a struct error and
 * leave in it one line that names the cause and the remedy. Outputs named
 * ret_… are not touched on failure.
 */
#ifndef REMAPFS_ERROR_H
#define REMAPFS_ERROR_H

struct error {
	char text[512]; /* one line without a newline; "" when there is none */
};

/*
 * Formats the line (what is unsafe in it becomes '?', see text.h, so that hostile file
 * names stay on one line) and returns -code, for "return error_set(...)".
 * code > 0. err may be NULL. Keeps errno.
 */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__
/* What is said above, for an analyser that sees one file at a time. */
#define error_set(err, code, ...) \
	((error_set)(err, code, __VA_ARGS__), __builtin_constant_p(code) ? -(code) : -1)
#endif

/* Puts "prefix: " before the line that is there. err may be NULL. */
void error_prefix(struct error *err, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * The symbolic name of a positive errno ("EIO"), or "E<number>" from a static
 * per-thread buffer; and back: 0 when the name is unknown.
 */
const char *errno_name(int code);
int errno_from_name(const char *name);

/*
 * Whether code (positive) may speak of the sectors asked for, not of the device:
 * EIO, ENODATA (SCSI medium error through O_DIRECT), EREMOTEIO (SCSI target
 * error), EILSEQ (integrity), ETIME (the time for these sectors ran out). Whether it
 * does is asked of the device elsewhere. Everything else is about the device, the
 * file system below it, or us, and must never move a sector. Contract 7.
 */
_Bool errno_is_media(int code);

#endif
