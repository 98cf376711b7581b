/* Lines of a worker, from its pipe to the supervisor's log: see worker_log.h. */
#include "fuse/worker_log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "remapfs/cleanup.h"

/* More than this at a time, and a worker that never stops would have all of our time. */
#define READS 16

int worker_log_begin(struct worker_log *l, enum log_level others, bool wait)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	if (wait)
		fcntl(fds[1], F_SETFL, O_WRONLY);
	*l = (struct worker_log){.fd = fds[0], .others = others};
	return fds[1];
}

int worker_log_enter(int end)
{
	CLEANUP_CLOSE int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(end, STDOUT_FILENO) < 0 ||
	    dup2(end, STDERR_FILENO) < 0)
		return -errno;
	setsid();
	return 0;
}

/* A message begins with its priority, as for the journal: "<3>". */
static void pass_line(struct worker_log *l)
{
	static const struct {
		char priority;
		enum log_level level;
	} levels[] = {{'3', LOG_LEVEL_ERROR}, {'4', LOG_LEVEL_WARNING}, {'5', LOG_LEVEL_NOTICE},
		      {'7', LOG_LEVEL_DEBUG}};
	enum log_level level = l->others;
	const char *text = l->line;

	l->line[l->used] = 0;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (l->used >= 3 && text[0] == '<' && text[1] == levels[i].priority && text[2] == '>')
			level = levels[i].level;
	if (l->used >= 3 && text[0] == '<' && text[2] == '>')
		text += 3;
	if (*text)
		log_pass(level, text);
	l->used = 0;
}

static void take(struct worker_log *l, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (l->used == sizeof(l->line) - 1)
			pass_line(l);
		if (text[i] == '\n')
			pass_line(l);
		else
			l->line[l->used++] = text[i];
	}
}

/* As of a terminal that was stopped. Later messages go to syslog, and this to nowhere. */
static bool nobody_reads(void)
{
	struct pollfd own = {.fd = STDERR_FILENO, .events = POLLOUT};

	return poll(&own, 1, 0) == 0;
}

struct pollfd worker_log_poll(const struct worker_log *l)
{
	if (l->fd >= 0 && nobody_reads())
		return (struct pollfd){.fd = STDERR_FILENO, .events = POLLOUT};
	return (struct pollfd){.fd = l->fd, .events = POLLIN};
}

void worker_log_pass(struct worker_log *l)
{
	char text[4096];
	ssize_t n = 1;

	for (int i = 0; n > 0 && i < READS && l->fd >= 0 && !nobody_reads(); i++) {
		n = read(l->fd, text, sizeof(text));
		if (n > 0)
			take(l, text, (size_t)n);
	}
	/* Its end: there is nothing to wait for any more. */
	if (n == 0) {
		pass_line(l);
		cleanup_close(&l->fd);
		l->fd = -1;
	}
}

void worker_log_end(struct worker_log *l)
{
	worker_log_pass(l);
	if (l->fd < 0)
		return;
	cleanup_close(&l->fd);
	l->fd = -1;
}
