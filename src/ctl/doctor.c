/* remapctl doctor: what is in the way of the promise, or soon will be. */
#include "ctl/doctor.h"

#include "ctl/color.h"

#include "remapfs/text.h"

#include <stdarg.h>
#include <string.h>

static const char help_text[] =
    "\n"
    "Usage:\n"
    " remapctl doctor [options] [<volume>]\n"
    "\n"
    "Look at this machine and, where one is named, at a volume, and say of each thing\n"
    "that matters whether it is in order, and what to do where it is not. Nothing is\n"
    "changed.\n"
    "\n"
    "Options:\n"
    "     --color[=<when>]  use colour: auto, always or never\n"
    " -J, --json            use JSON output format\n"
    " -h, --help            display this help\n"
    "\n"
    "Results:\n"
    " PASS  in order\n"
    " NOTE  cannot be told from here, or is only to be known\n"
    " WARN  works, but not as well as it could, or not for long\n"
    " FAIL  does not work, or data is at risk\n"
    "\n"
    "Exit status:\n"
    " 0  no FAIL\n"
    " 1  at least one FAIL\n"
    " 2  wrong command line\n";

struct finding_line {
	enum doctor_result result;
	const char *check;
	char text[700];     /* with the remedy at its end */
	const char *remedy; /* in text; NULL: none */
};

#define FINDINGS_MAX 256

struct doctor {
	struct finding_line finding[FINDINGS_MAX];
	size_t count;
	enum doctor_result worst;
	bool json, color;
};

static const struct {
	const char *name, *color, *key;
} results[] = {
    [DOCTOR_PASS] = {"PASS", "\033[32m", "pass"},
    [DOCTOR_NOTE] = {"NOTE", "\033[36m", "note"},
    [DOCTOR_WARN] = {"WARN", "\033[1;33m", "warn"},
    [DOCTOR_FAIL] = {"FAIL", "\033[1;31m", "fail"},
};

static char *find_last(char *text, const char *what)
{
	char *found = NULL;

	for (char *next = text; (next = strstr(next, what)); next++)
		found = next;
	return found;
}

void doctor_find(struct doctor *doctor, enum doctor_result result, const char *check,
		 const char *format, ...)
{
	struct finding_line *f = &doctor->finding[doctor->count];
	char text[sizeof(f->text)], *split;
	va_list args;

	if (result > doctor->worst)
		doctor->worst = result;
	if (doctor->count == FINDINGS_MAX)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(f->text, sizeof(f->text), "%s", text_clean(text));
	split = result == DOCTOR_PASS ? NULL : find_last(f->text, "; ");
	if (split)
		*split = 0;
	f->remedy = split ? split + 2 : NULL;
	f->result = result;
	f->check = check;
	doctor->count++;
}

/* ---- telling ---------------------------------------------------------------- */

static void print_text(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++) {
		const struct finding_line *f = &doctor->finding[i];

		printf("%s%s%s  %-13s %s\n", doctor->color ? results[f->result].color : "",
		       results[f->result].name, doctor->color ? "\033[0m" : "", f->check,
		       f->text);
		if (f->remedy)
			printf("%20s-> %s\n", "", f->remedy);
	}
}

static json_t *findings_json(const struct doctor *doctor)
{
	json_t *array = json_array();

	for (size_t i = 0; i < doctor->count; i++) {
		const struct finding_line *f = &doctor->finding[i];

		json_array_append_new(
		    array, json_pack("{s:s, s:s, s:o, s:o}", "check", f->check, "result",
				     results[f->result].key, "text", json_text(f->text),
				     "remedy", f->remedy ? json_text(f->remedy) : json_null()));
	}
	return array;
}

static int tell(const struct doctor *doctor, const char *volume)
{
	if (!doctor->json)
		print_text(doctor);
	else if (print_json(json_pack("{s:o, s:s, s:o}", "volume",
				      volume ? json_text(volume) : json_null(), "result",
				      results[doctor->worst].key, "checks",
				      findings_json(doctor))))
		return EXIT_REFUSED;
	return doctor->worst == DOCTOR_FAIL ? EXIT_REFUSED : EXIT_DONE;
}

/* ---- the command ------------------------------------------------------------ */

static void look_at_volume(struct doctor *doctor, const char *path)
{
	struct status status;
	struct error err = {0};

	if (status_open(path, &status, &err)) {
		doctor_find(doctor, DOCTOR_FAIL, "volume", "%s", err.text);
		return;
	}
	doctor_places(doctor, &status);
	if (status.store)
		doctor_spares(doctor, &status);
	status_close(&status);
}

int run_doctor(int argc, char **argv)
{
	enum { OPTION_COLOR = 256 };
	static const struct option longs[] = {{"color", optional_argument, NULL, OPTION_COLOR},
					      {"json", no_argument, NULL, 'J'},
					      {"help", no_argument, NULL, 'h'},
					      {0}};
	static const char *const names[] = {"VOLUME"};
	static struct doctor doctor;
	int c, rc;

	doctor.color = color_wanted();
	while ((c = next_option("doctor", argc, argv, ":Jh", longs)) != -1) {
		if (c == 'h')
			return print_help(help_text);
		if (c == '?')
			return EXIT_MISUSED;
		doctor.json |= c == 'J';
		rc = c == OPTION_COLOR ? color_option("doctor", optarg, &doctor.color) : 0;
		if (rc)
			return rc;
	}
	rc = check_operands("doctor", argc, argv, 0, 1, names);
	if (rc)
		return rc;
	doctor_system(&doctor);
	if (argv[optind])
		look_at_volume(&doctor, argv[optind]);
	return tell(&doctor, argv[optind]);
}
