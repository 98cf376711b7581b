/*
 * The list of troubles: it stays sorted by gravity, so that its head is the state
 * of the volume and its text, whoever prints it.
 */
#include "remapfs/trouble.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const names[] = {
	[VOLUME_OK] = "ok",
	[VOLUME_PENDING] = "pending",
	[VOLUME_FULL] = "full",
	[VOLUME_FAILED] = "failed",
};

const char *volume_state_name(enum volume_state state)
{
	return names[state];
}

enum volume_state volume_state_from_name(const char *name)
{
	for (enum volume_state state = VOLUME_OK; name && state < VOLUME_FAILED; state++)
		if (strcmp(name, names[state]) == 0)
			return state;
	return VOLUME_FAILED;
}

/* Makes room behind those that are as grave; NULL: the list is full of graver ones. */
static struct trouble *insert(struct troubles *t, enum volume_state state)
{
	size_t at = 0;

	while (at < t->count && t->all[at].state >= state)
		at++;
	if (at == TROUBLES_MAX)
		return NULL;
	if (t->count < TROUBLES_MAX)
		t->count++;
	memmove(&t->all[at + 1], &t->all[at], (t->count - at - 1) * sizeof(t->all[0]));
	t->all[at] = (struct trouble){.state = state};
	return &t->all[at];
}

void trouble_add(struct troubles *t, enum volume_state state, spare_id_t spare, const char *remedy,
		 const char *format, ...)
{
	struct trouble *added = insert(t, state);
	va_list args;

	if (!added)
		return;
	added->spare = spare;
	snprintf(added->remedy, sizeof(added->remedy), "%s", remedy);
	va_start(args, format);
	vsnprintf(added->cause, sizeof(added->cause), format, args);
	va_end(args);
}

void trouble_add_line(struct troubles *t, enum volume_state state, spare_id_t spare,
		      const char *line)
{
	const char *end = strstr(line, "; ");
	size_t length = end ? (size_t)(end - line) : strlen(line);

	trouble_add(t, state, spare, end ? end + 2 : "", "%.*s", (int)length, line);
}

enum volume_state troubles_state(const struct troubles *t)
{
	return t->count ? t->all[0].state : VOLUME_OK;
}

struct trouble_text trouble_text(const struct troubles *t, size_t i)
{
	struct trouble_text ret = {""};

	if (i < t->count)
		snprintf(ret.text, sizeof(ret.text), "%s%s%s", t->all[i].cause,
			 t->all[i].remedy[0] ? "; " : "", t->all[i].remedy);
	return ret;
}
