/*
 * The model test: random requests, faults and restarts against the engine, each
 * answer compared with what plain memory says. See --help.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exact.h"
#include "race.h"
#include "remapfs/log.h"
#include "rig.h"
#include "selftest.h"

struct settings settings = {.ops = 200000, .threads = 1};

static const char help[] =
	"usage: model [--seed N] [--ops N] [--threads N] [--seconds N]\n"
	"             [--sector-size 512|4096] [--dir FOLDER]\n"
	"       model --self-test\n"
	"\n"
	"Drives the engine over files in FOLDER (/dev/shm where there is one) with random\n"
	"reads, writes, discards, flushes, simulated faults and restarts.\n"
	"\n"
	"  --threads 1    an exact model: every byte, every error, the map at the end\n"
	"  --threads N    N threads on few sectors: is the history of each sector linear?\n"
	"  --seconds N    stop early, after the epoch that is then under way\n"
	"  --self-test    feed the checkers wrong histories: each must be found\n"
	"\n"
	"The seed is printed. The exit status is 1 when something was wrong, 2 for usage.\n";

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

static uint64_t new_seed(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return ((uint64_t)now.tv_sec << 20 ^ (uint64_t)now.tv_nsec) & 0xffffffffu;
}

int main(int argc, char **argv)
{
	settings.seed = new_seed();
	for (int i = 1; i < argc; i += 2) {
		const char *value = argv[i + 1];

		if (strcmp(argv[i], "--self-test") == 0)
			return selftest_run() ? 0 : 1;
		if (strcmp(argv[i], "--help") == 0)
			return fputs(help, stdout) < 0;
		if (strcmp(argv[i], "--seed") == 0)
			settings.seed = number(value);
		else if (strcmp(argv[i], "--ops") == 0)
			settings.ops = number(value);
		else if (strcmp(argv[i], "--threads") == 0)
			settings.threads = (unsigned)number(value);
		else if (strcmp(argv[i], "--seconds") == 0)
			settings.seconds = (unsigned)number(value);
		else if (strcmp(argv[i], "--sector-size") == 0)
			settings.sector_size = (uint32_t)number(value);
		else if (strcmp(argv[i], "--dir") == 0 && value)
			settings.dir = value;
		else
			usage();
	}
	if (settings.threads == 0 || (settings.sector_size && settings.sector_size != 512 &&
				      settings.sector_size != 4096))
		usage();
	/* The engine warns of every fault it meets: here that is the point. */
	log_init("model", LOG_LEVEL_ERROR);
	printf("model: --seed %llu --ops %llu --threads %u --sector-size %u\n",
	       (unsigned long long)settings.seed, (unsigned long long)settings.ops,
	       settings.threads, settings.sector_size);
	fflush(stdout);
	if (settings.threads == 1)
		exact_run();
	else
		race_run();
	return 0;
}
