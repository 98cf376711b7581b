#include "remapfs/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/text.h"

static const char *program = "remapfs";
static enum log_level limit = LOG_LEVEL_NOTICE;
static atomic_bool use_syslog;
static bool to_journal;

static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_NOTICE, LOG_DEBUG};

/* Whether stderr is what systemd connected to its journal: see systemd.exec(5). */
static bool is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(const char *name, enum log_level max_level)
{
	static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};

	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			abort();
	program = name;
	limit = max_level;
	to_journal = is_journal();
}

void log_to_syslog(void)
{
	openlog(program, LOG_PID, LOG_DAEMON);
	atomic_store(&use_syslog, 1);
}

void log_to_supervisor(void)
{
	to_journal = true;
}

/* ---- not too often ----------------------------------------------------------- */

/* One for each place that logs; those that find no room share the last one. */
#define PLACES 128

static struct place {
	const char *format; /* which says where it is */
	time_t since;     /* of the interval that runs */
	unsigned told, left_out;
} places[PLACES];
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;

static struct place *find_place(const char *format)
{
	size_t i = 0;

	while (i < PLACES - 1 && places[i].format && places[i].format != format)
		i++;
	places[i].format = format;
	return &places[i];
}

/* *ret_left_out: of this place, not told so far. */
static bool may_tell(const char *format, unsigned burst, unsigned *ret_left_out)
{
	struct place *place;
	struct timespec now;
	HOLD_LOCK(&places_lock);

	clock_gettime(CLOCK_MONOTONIC, &now);
	place = find_place(format);
	*ret_left_out = 0;
	if (place->told == 0 || now.tv_sec - place->since >= LOG_INTERVAL_S) {
		*ret_left_out = place->left_out;
		*place = (struct place){.format = format, .since = now.tv_sec};
	}
	if (place->told < burst) {
		place->told++;
		return true;
	}
	place->left_out++;
	return false;
}

/* ---- telling ------------------------------------------------------------------ */

__attribute__((format(printf, 2, 0))) static void put(enum log_level level, const char *format,
						      va_list args)
{
	char line[1024];

	vsnprintf(line, sizeof(line), format, args);
	text_clean(line);
	if (atomic_load(&use_syslog))
		syslog(priorities[level], "%s", line);
	else if (to_journal)
		fprintf(stderr, "<%d>%s\n", priorities[level], line);
	else
		fprintf(stderr, "%s: %s\n", program, line);
}

__attribute__((format(printf, 2, 3))) static void put_line(enum log_level level,
							   const char *format, ...)
{
	va_list args;

	va_start(args, format);
	put(level, format, args);
	va_end(args);
}

__attribute__((format(printf, 3, 0))) static void emit(enum log_level level, unsigned burst,
						       const char *format, va_list args)
{
	unsigned left_out = 0;

	if (level > limit || (level != LOG_LEVEL_DEBUG && !may_tell(format, burst, &left_out)))
		return;
	if (left_out)
		put_line(level, "%u messages like the next one were left out; 'remapctl history' "
			 "has every event", left_out);
	put(level, format, args);
}

#define DEFINE_LOG(function, level)                 \
	void function(const char *format, ...)      \
	{                                           \
		va_list args;                       \
		va_start(args, format);             \
		emit(level, LOG_BURST, format, args); \
		va_end(args);                       \
	}

DEFINE_LOG(log_error, LOG_LEVEL_ERROR)
DEFINE_LOG(log_warning, LOG_LEVEL_WARNING)
DEFINE_LOG(log_notice, LOG_LEVEL_NOTICE)
DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG)

__attribute__((format(printf, 2, 3))) static void pass(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	emit(level, LOG_PASS_BURST, format, args);
	va_end(args);
}

void log_pass(enum log_level level, const char *line)
{
	pass(level, "%s", line);
}
