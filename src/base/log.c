#include "remapfs/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

static const char *program = "remapfs";
static enum log_level limit = LOG_LEVEL_NOTICE;
static atomic_bool use_syslog;

void log_init(const char *name, enum log_level max_level)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			abort();
	program = name;
	limit = max_level;
}

void log_to_syslog(void)
{
	openlog(program, LOG_PID, LOG_DAEMON);
	atomic_store(&use_syslog, 1);
}

__attribute__((format(printf, 2, 0))) static void emit(enum log_level level, const char *format,
						       va_list args)
{
	static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_DEBUG};
	char line[1024];

	if (level > limit)
		return;
	if (atomic_load(&use_syslog)) {
		vsyslog(priority[level], format, args);
		return;
	}
	vsnprintf(line, sizeof(line), format, args);
	fprintf(stderr, "%s: %s\n", program, line);
}

#define DEFINE_LOG(function, level)                 \
	void function(const char *format, ...)      \
	{                                           \
		va_list args;                       \
		va_start(args, format);             \
		emit(level, format, args);          \
		va_end(args);                       \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_notice, LOG_LEVEL_NOTICE)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)
