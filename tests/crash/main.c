/*
 * The crash simulator: the engine on devices and a database that lose power
 * together. See --help, and explore.h and sweep.h for what it does.
 */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "engine.h"
#include "explore.h"
#include "memory.h"
#include "sim.h"
#include "sweep.h"

struct settings settings = {.seed = 1, .states = 10, .inner = 2, .rebuild = 16, .every = 1};

static const char *only_workload, *sweep_kind;
static uint64_t only_nth;
static uint64_t rounds = 1;

static const char help[] =
	"usage: crash [--seed N] [--states N] [--inner N] [--rebuild N]\n"
	"             [--every N] [--rounds N | --long]\n"
	"       crash --seed N --workload NAME [--point P] [--state S] [--verbose]\n"
	"       crash --seed N --sweep eio|burst|enospc|enomem [--workload NAME]\n"
	"             [--nth N | --every N]\n"
	"       crash --plant NAME | --list\n"
	"\n"
	"Cuts the power at each step of I/O of the engine and checks what is left.\n"
	"\n"
	"  --states N   cuts of each point: what the caches had written of what was not\n"
	"               flushed (0: nothing, 1: all, as after a kill; from 6 on at random)\n"
	"  --inner N    of each state, points of its recovery where it is cut once more\n"
	"  --rebuild N  of one state in N, and of one orderly end in N, the database is lost\n"
	"               and made anew from the spares (default 16, 0: never)\n"
	"  --every N    only one point, or one failing call, in N: others with another seed\n"
	"  --rounds N   goes on with the following seeds; --long: 20 rounds with more of each\n"
	"  --sweep KIND fails the 1st, 2nd, 3rd … call (I/O error, six in a row, disk full,\n"
	"               no memory) until none is left to fail, with cuts afterwards\n"
	"  --plant NAME breaks the engine: succeeds when that is found\n"
	"\n"
	"A failure prints what to say to have it again. The exit status is 1 then, 2 for\n"
	"usage and 3 when the simulator cannot go on.\n";

/* ---- ending ----------------------------------------------------------------------- */

static void print_where(FILE *to)
{
	if (!where.workload)
		return;
	fprintf(to, "crash: again with: --seed %llu --workload %s/%u --states %u --inner %u "
		"--rebuild %u", (unsigned long long)settings.seed, where.workload->name,
		where.workload->sector_size, settings.states, settings.inner, settings.rebuild);
	if (where.point != SIZE_MAX)
		fprintf(to, " --point %zu --state %u", where.point, where.state);
	if (settings.plant)
		fprintf(to, " --plant %s", settings.plant);
	if (where.sweep)
		fprintf(to, " --sweep %s --nth %llu", where.sweep,
			(unsigned long long)where.nth);
	if (where.inner_point != SIZE_MAX)
		fprintf(to, " (cut again at point %zu, state %u)", where.inner_point,
			where.inner_state);
	if (where.older)
		fprintf(to, " (with a copy of spare %u from point %zu)", where.older,
			where.older_point);
	if (where.without)
		fprintf(to, " (without the database%s", where.without == REBUILT_ALL ? ")" : "");
	if (where.without && where.without != REBUILT_ALL)
		fprintf(to, " and spare %u)", where.without);
	fputc('\n', to);
}

void fail(const char *format, ...)
{
	FILE *to = settings.plant ? stdout : stderr;
	va_list args;

	fflush(stdout);
	fprintf(to, "crash: %s: ", settings.plant ? "found" : "FAILED");
	va_start(args, format);
	vfprintf(to, format, args);
	va_end(args);
	fputc('\n', to);
	print_where(to);
	fflush(to);
	_exit(settings.plant ? 0 : 1);
}

void give_up(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("crash: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	print_where(stderr);
	_exit(3);
}

/* ---- the command line ------------------------------------------------------------- */

static void __attribute__((noreturn)) usage(void)
{
	fputs(help, stderr);
	exit(2);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n;

	if (!text || !*text)
		usage();
	n = strtoull(text, &end, 0);
	if (*end)
		usage();
	return n;
}

static void list(void)
{
	struct workload w;

	for (unsigned i = 0; workload_get(i, settings.seed, &w); i++)
		printf("workload %s/%u\n", w.name, w.sector_size);
	for (unsigned i = 0; engine_plant_name(i); i++)
		printf("plant %s\n", engine_plant_name(i));
	exit(0);
}

static void take_option(const char *name, const char *value)
{
	if (strcmp(name, "--seed") == 0)
		settings.seed = number(value);
	else if (strcmp(name, "--states") == 0)
		settings.states = (unsigned)number(value);
	else if (strcmp(name, "--inner") == 0)
		settings.inner = (unsigned)number(value);
	else if (strcmp(name, "--rebuild") == 0)
		settings.rebuild = (unsigned)number(value);
	else if (strcmp(name, "--every") == 0 && number(value))
		settings.every = number(value);
	else if (strcmp(name, "--rounds") == 0)
		rounds = number(value);
	else if (strcmp(name, "--point") == 0)
		only.point = number(value);
	else if (strcmp(name, "--state") == 0)
		only.state = (unsigned)number(value);
	else if (strcmp(name, "--nth") == 0)
		only_nth = number(value);
	else if (strcmp(name, "--sweep") == 0 && value && sweep_known(value))
		sweep_kind = value;
	else if (strcmp(name, "--workload") == 0 && value)
		only_workload = value;
	else if (strcmp(name, "--plant") == 0 && value)
		settings.plant = value;
	else
		usage();
}

static void take_options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0)
			exit(fputs(help, stdout) < 0);
		if (strcmp(argv[i], "--list") == 0)
			list();
		if (strcmp(argv[i], "--verbose") == 0) {
			settings.verbose = true;
		} else if (strcmp(argv[i], "--long") == 0) {
			rounds = 20;
			settings.states = 16;
			settings.inner = 8;
		} else {
			take_option(argv[i], argv[i + 1]);
			i++;
		}
	}
	if (settings.plant && !engine_plant(settings.plant))
		usage();
}

/* ---- running ---------------------------------------------------------------------- */

static bool is_wanted(const struct workload *w)
{
	char name[64];

	snprintf(name, sizeof(name), "%s/%u", w->name, w->sector_size);
	return !only_workload || strcmp(only_workload, name) == 0 ||
	       strcmp(only_workload, w->name) == 0;
}

static void run_round(void)
{
	struct workload w;

	for (unsigned i = 0; workload_get(i, settings.seed, &w); i++) {
		struct counts before = counts;

		if (!is_wanted(&w))
			continue;
		if (sweep_kind)
			sweep(&w, sweep_kind, only_nth);
		else
			explore(&w);
		if (settings.verbose)
			printf("crash: %s/%u: %llu points, %llu failed calls, %llu states\n", w.name,
			       w.sector_size, (unsigned long long)(counts.points - before.points),
			       (unsigned long long)(counts.sweeps - before.sweeps),
			       (unsigned long long)(counts.states - before.states));
	}
}

int main(int argc, char **argv)
{
	struct timespec start, end;

	/* Buffers that come and go with every opening stay with us. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 256 << 20);
	memory_init();
	sim_init();
	take_options(argc, argv);
	engine_verbose(settings.verbose);
	clock_gettime(CLOCK_MONOTONIC, &start);
	printf("crash: --seed %llu --states %u --inner %u --rounds %llu\n",
	       (unsigned long long)settings.seed, settings.states, settings.inner,
	       (unsigned long long)rounds);
	fflush(stdout);
	for (uint64_t i = 0; i < rounds; i++, settings.seed++)
		run_round();
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("crash: %llu workloads, %llu crash points, %llu failed calls, %llu crash states "
	       "(%llu of them cut again during recovery), %llu rebuilds, %llu older copies of spares "
	       "(%llu not refused), %.1f s\n",
	       (unsigned long long)counts.workloads, (unsigned long long)counts.points,
	       (unsigned long long)counts.sweeps, (unsigned long long)counts.states,
	       (unsigned long long)counts.inner, (unsigned long long)counts.rebuilds,
	       (unsigned long long)counts.older, (unsigned long long)counts.taken,
	       (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9);
	if (settings.plant)
		fprintf(stderr, "crash: FAILED: the plant '%s' was not found\n", settings.plant);
	return settings.plant != NULL;
}
