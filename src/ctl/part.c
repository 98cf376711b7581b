#include "ctl/part.h"

#include "remapfs/parse.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *const part_keys[] = {"size", "offset", "length"};
#define PART_KEYS (sizeof(part_keys) / sizeof(*part_keys))

static uint64_t *part_value(struct part_spec *part, size_t key)
{
	return key == 0 ? &part->size : key == 1 ? &part->offset : &part->length;
}

/* The key that ",key=" at text names, or PART_KEYS. */
static size_t key_at(const char *text)
{
	for (size_t key = 0; key < PART_KEYS; key++) {
		size_t length = strlen(part_keys[key]);

		if (strncmp(text + 1, part_keys[key], length) == 0 && text[1 + length] == '=')
			return key;
	}
	return PART_KEYS;
}

/* A path may hold commas; it ends before the first that begins a known key. */
static char *path_end(char *text)
{
	for (text = strchr(text, ','); text; text = strchr(text + 1, ','))
		if (key_at(text) < PART_KEYS)
			return text;
	return NULL;
}

/* A last ",word=…" that is no key is a slip rather than the end of a path. */
static const char *slip(const char *path)
{
	const char *comma = strrchr(path, ','), *c = comma ? comma + 1 : NULL;

	while (c && *c >= 'a' && *c <= 'z')
		c++;
	return c && *c == '=' && c > comma + 1 && access(path, F_OK) != 0 ? comma + 1 : NULL;
}

/* Reads ",key=value" at *text, moves *text past it, and notes the key in *seen. */
static int take_key(char **text, struct part_spec *part, unsigned *seen, struct error *err)
{
	size_t key = key_at(*text);
	char *value, *end;
	int rc;

	if (key == PART_KEYS)
		return error_set(err, EINVAL,
				 "'%.60s' is none of size=, offset=, length=; give only those",
				 *text + 1);
	if (*seen & 1u << key)
		return error_set(err, EINVAL, "%s= is given twice; give it once", part_keys[key]);
	*seen |= 1u << key;
	value = strchr(*text, '=') + 1;
	end = value + strcspn(value, ",");
	*text = *end ? end : NULL;
	if (*end)
		*end = 0;
	rc = parse_size(value, part_value(part, key), err);
	if (*text)
		**text = ',';
	if (rc)
		error_prefix(err, "%s=", part_keys[key]);
	else if (key != 1 && !*part_value(part, key))
		rc = error_set(err, EINVAL, "%s= is 0; give a size above it", part_keys[key]);
	return rc;
}

int parse_part(char *text, const char *option, bool is_main, struct part_spec *ret,
	       struct error *err)
{
	struct part_spec part = {.path = text};
	char *rest = path_end(text), *end = rest;
	unsigned seen = 0;
	int rc = 0;

	while (rest && !rc)
		rc = take_key(&rest, &part, &seen, err);
	if (end)
		*end = 0;
	if (!rc && slip(part.path))
		rc = error_set(err, EINVAL, "'%.60s' is none of size=, offset=, length=; give only "
			       "those", slip(part.path));
	if (!rc && !*part.path)
		rc = error_set(err, EINVAL, "the path is empty; name a file or block device");
	if (!rc && is_main && seen & ~1u)
		rc = error_set(err, EINVAL,
			       "main is always whole; give offset= and length= to spares only");
	if (rc) {
		error_prefix(err, "%s", option);
		return rc;
	}
	*ret = part;
	return 0;
}
