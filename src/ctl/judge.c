/*
 * How a volume is: the one place where that is judged, for every command that tells
 * it (contract 13). A daemon that answers has listed what is wrong. Of a volume that
 * nobody serves, its members and its database tell; of a daemon that does not answer,
 * that it does not, and the database what was recorded.
 */
#include "ctl/remains.h"
#include "ctl/status.h"

#include "remapfs/check.h"

#include <errno.h>
#include <string.h>

/* ---- what the daemon says ------------------------------------------------------ */

static void take_trouble(struct status *s, const json_t *item)
{
	const char *state = json_string_value(json_object_get(item, "state"));
	const char *cause = json_string_value(json_object_get(item, "cause"));
	const char *remedy = json_string_value(json_object_get(item, "remedy"));
	json_int_t spare = json_integer_value(json_object_get(item, "spare"));

	trouble_add(&s->troubles, volume_state_from_name(state), (spare_id_t)spare,
		    remedy ? remedy : "", "%s", cause ? cause : "");
}

static void take_spare(struct status *s, const json_t *item)
{
	json_int_t id = json_integer_value(json_object_get(item, "id"));

	for (size_t i = 0; i < s->spare_count; i++)
		if (s->spares[i].id == (spare_id_t)id) {
			s->free[i] = (uint64_t)json_integer_value(json_object_get(item, "free"));
			s->health[i] = volume_state_from_name(
			    json_string_value(json_object_get(item, "health")));
		}
}

/* Its worker has the volume open. Otherwise it knows nothing of sectors. */
static bool is_served(const struct status *s)
{
	return json_object_get(s->daemon, "worker_pid");
}

/* What it knows of sectors may not have been recorded yet. */
static void take_answer(struct status *s)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(s->daemon, "troubles"), i, item)
		take_trouble(s, item);
	json_array_foreach(json_object_get(s->daemon, "spares"), i, item)
		take_spare(s, item);
	if (is_served(s)) {
		s->totals.remapped_sectors = daemon_number(s, "remapped_sectors");
		s->totals.pending_sectors = daemon_number(s, "pending_sectors");
	}
	json_object_del(s->daemon, "troubles");
	json_object_del(s->daemon, "spares");
}

/* ---- what can be told without it ------------------------------------------------ */

static void judge_silence(struct status *s)
{
	/* One that belongs to somebody else may be well. */
	enum volume_state state = s->daemon_code == EACCES ? VOLUME_OK : VOLUME_FAILED;

	trouble_add_line(&s->troubles, state, ON_MAIN, s->daemon_error.text);
}

/* Nobody serves a mount of it any more, or nobody gets at it. */
static void judge_reach(struct status *s)
{
	struct error line = {""};
	struct dead_mount dead;

	/* Asked of the mount itself: of one that is served, that may take long. */
	if (s->no_daemon && dead_mount_of(s->path, &dead))
		dead_mount_explain(&dead, &line);
	else if (!s->daemon || mount_reach(s->path, s->daemon, &line) != MOUNT_HIDDEN)
		return;
	s->out_of_reach = true;
	trouble_add_line(&s->troubles, VOLUME_FAILED, ON_MAIN, line.text);
}

static void judge_members(struct status *s)
{
	volume_look(s->store, &s->troubles, s->changed_since);
	for (size_t i = 0; i < s->troubles.count; i++)
		for (size_t j = 0; j < s->spare_count; j++)
			if (s->troubles.all[i].spare == s->spares[j].id) {
				s->health[j] = s->troubles.all[i].state;
				s->free[j] = 0;
			}
}

static uint64_t sum_free(const struct status *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->spare_count; i++)
		sum += s->free[i];
	return sum;
}

static void judge_records(struct status *s)
{
	if (sum_free(s) == 0)
		trouble_add(&s->troubles, VOLUME_FULL, ON_MAIN, "add a spare with 'remapctl add-spare'",
			    "no slot is free: writes to bad sectors fail");
	if (s->totals.pending_sectors)
		trouble_add(&s->troubles, VOLUME_PENDING, ON_MAIN, "see 'remapctl pending', and restore "
			    "what is there", "some sectors are lost: reading them fails until they are "
			    "written");
}

void status_judge(struct status *s)
{
	if (s->store)
		snprintf(s->changed_since, sizeof(s->changed_since), "%s",
			 s->volume->main.changed_since);
	judge_reach(s);
	if (s->daemon)
		take_answer(s);
	else if (!s->no_daemon)
		judge_silence(s);
	else if (s->store)
		judge_members(s);
	if (s->store_error.text[0])
		trouble_add_line(&s->troubles, VOLUME_FAILED, ON_MAIN, s->store_error.text);
	if (!is_served(s))
		judge_records(s);
	s->state = troubles_state(&s->troubles);
	s->free_slots = sum_free(s);
}
