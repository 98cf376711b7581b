/*
 * Messages for the operator: what a fault is, and what to do about it. Until
 * log_to_syslog they go to stderr, as "program: message", or with the priority
 * that the journal reads ("<3>message") where stderr is a unit's journal;
 * afterwards to syslog (facility daemon). A message is one line of up to 1023 bytes:
 * what is unsafe in it becomes '?' (text.h). Thread-safe.
 *
 * A dying disk fails a thousand times a second: each place that logs may do so
 * LOG_BURST times in LOG_INTERVAL_S, and the next message says how many were left
 * out. Debug messages are not counted.
 */
#ifndef REMAPFS_LOG_H
#define REMAPFS_LOG_H

#define LOG_BURST 10
#define LOG_INTERVAL_S 30
/* The same for all messages of another process together. */
#define LOG_PASS_BURST 300

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_DEBUG };

/*
 * To be called before anything is opened: a closed standard descriptor is put on
 * /dev/null, so that no file of ours gets its number, and with it what is meant
 * for a terminal. Each is opened the wrong way round: using it fails as before.
 * name is kept, not copied. Messages above
 * max_level are dropped.
 */
void log_init(const char *name, enum log_level max_level);
void log_to_syslog(void);
/* stderr is a pipe to a process that logs: each message has its priority in front ("<3>"). */
void log_to_supervisor(void);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* What another process wants logged, which may be anything. */
void log_pass(enum log_level, const char *line);

#endif
