#include "fuse/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/options.h"
#include "remapfs/log.h"

static int ready_fd = -1;

static volatile sig_atomic_t child_pid;

/* Who gives up waiting does not want the mount either. */
static void give_up(int signal)
{
	(void)signal;
	kill((pid_t)child_pid, SIGTERM);
	_exit(EXIT_INTERRUPTED);
}

static void allow_signals(pid_t child)
{
	struct sigaction action = {.sa_handler = give_up};
	sigset_t none;

	child_pid = child;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Without the word "ready", the child has failed, and told why. */
static void wait_for_child(int fd, pid_t child) __attribute__((noreturn));
static void wait_for_child(int fd, pid_t child)
{
	char word;
	ssize_t n;
	int status;

	allow_signals(child);
	do
		n = read(fd, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(EXIT_DONE);
	if (waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status))
		_exit(WEXITSTATUS(status));
	_exit(EXIT_SYSTEM);
}

int daemon_begin(void)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		close(fds[1]);
		wait_for_child(fds[0], child);
	}
	close(fds[0]);
	ready_fd = fds[1];
	setsid();
	return 0;
}

static void detach(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	log_to_syslog();
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
	if (chdir("/") < 0)
		log_warning("cannot leave the current folder; its file system cannot be unmounted before "
			    "this volume");
}

void daemon_ready(void)
{
	if (ready_fd < 0)
		return;
	detach();
	if (write(ready_fd, "r", 1) != 1)
		log_warning("who started remapfs did not wait for it");
	close(ready_fd);
	ready_fd = -1;
}
