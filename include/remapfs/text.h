/*
 * Text that others chose, such as a path, on its way to a terminal, a log, a monitor
 * or a page. Some characters do not stay where they are put: a newline begins a line of
 * its own in a log, ESC and U+009B begin a command to the terminal, U+202E turns around
 * what follows. Such a character is unsafe:
 *
 *     U+0000 to U+001F, U+007F to U+009F    control characters
 *     U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+206F    direction and format
 *     U+2028, U+2029    separators of lines and paragraphs
 *     U+FEFF, U+FFF9 to U+FFFB, U+FFFE, U+FFFF    marks that are no text
 *     U+E0000 to U+E007F    tags, which are not seen
 *
 * and so is every byte that is not part of a character in UTF-8. Thread-safe.
 */
#ifndef REMAPFS_TEXT_H
#define REMAPFS_TEXT_H

#include <stdint.h>
#include <stdio.h>

#define TEXT_INVALID UINT32_MAX

/*
 * The character that text, which is not empty, begins with; TEXT_INVALID where it begins
 * with no character of UTF-8. *ret_length: its bytes, 1 to 4; 1 for TEXT_INVALID.
 */
uint32_t text_character(const char *text, size_t *ret_length);
_Bool text_is_unsafe(uint32_t character); /* TEXT_INVALID is */

/* Makes each unsafe character one '?', in place. Returns text. */
char *text_clean(char *text);
/* Makes each byte that is not part of a character one '?', in place, for JSON. Returns text. */
char *text_make_utf8(char *text);

/* Writes a JSON document. In its strings unsafe characters become \uXXXX. */
void text_put_json(FILE *, const char *json);

#endif
