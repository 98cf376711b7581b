#include "ctl/progress.h"

#include "remapfs/parse.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static double seconds_between(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

static void print_progress(const char *what, uint64_t from, uint64_t done, uint64_t total,
			   double seconds)
{
	double rate = seconds > 0 && done > from ? (double)(done - from) / seconds : 0;
	uint64_t left = rate > 0 ? (uint64_t)((double)(total - done) / rate + 0.5) : 0;
	char rate_text[32];

	fprintf(stderr,
		"\r\033[K%.80s: %5.1f%%, %s/s, %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left", what,
		total ? (double)done * 100 / (double)total : 100,
		format_size(rate_text, (uint64_t)rate), left / 3600, left / 60 % 60, left % 60);
	fflush(stderr);
}

/* Ctrl-C stops at the next step, so that what was made can be removed. */
static volatile sig_atomic_t interrupted;

static void interrupt(int signal)
{
	(void)signal;
	interrupted = 1;
}

static void catch_interrupts(void)
{
	struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

bool progress_show(void *context, const char *what, uint64_t done, uint64_t total)
{
	struct progress *progress = context;
	struct timespec now;

	if (!progress->visible)
		return !interrupted;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!progress->what || strcmp(progress->what, what) != 0) {
		progress->what = what;
		progress->began = now;
	} else if (seconds_between(&progress->shown, &now) < 0.2 && done < total) {
		return !interrupted;
	}
	progress->shown = now;
	progress->line_open = true;
	print_progress(what, progress->from, done, total, seconds_between(&progress->began, &now));
	return !interrupted;
}

void progress_begin(struct progress *progress, bool quiet)
{
	catch_interrupts();
	*progress = (struct progress){.visible = !quiet && isatty(STDERR_FILENO)};
}

void progress_end(struct progress *progress)
{
	if (progress->line_open)
		fputs("\r\033[K", stderr);
	progress->line_open = false;
}

bool progress_pause(unsigned ms)
{
	const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

	if (!interrupted)
		nanosleep(&pause, NULL);
	return !interrupted;
}
