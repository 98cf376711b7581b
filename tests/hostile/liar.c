/*
 * What a user can do who answers in the place of a daemon, or mounts something that calls
 * itself remapfs:
 *
 *     liar serve SOCKET ANSWER LOG    answers "status" with the content of the file ANSWER, and
 *                                     anything else with yes; LOG gets a line for each descriptor
 *     liar mount SOURCE MOUNTPOINT    leaves a dead mount of type fuse.remapfs, which anybody
 *                                     may enter
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

/* As recv, and the descriptor that came along, or -1. */
static ssize_t receive(int socket, char *to, size_t size, int *ret_fd)
{
	char room[CMSG_SPACE(sizeof(int))];
	struct iovec data = {to, size};
	struct msghdr message = {.msg_iov = &data, .msg_iovlen = 1, .msg_control = room,
				 .msg_controllen = sizeof(room)};
	ssize_t n = recvmsg(socket, &message, 0);
	const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	*ret_fd = -1;
	if (header && header->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
	return n;
}

/* ---- serve ------------------------------------------------------------------------ */

static int listen_at(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	unlink(path);
	check(bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0 && chmod(path, 0777) == 0 &&
		  listen(fd, 16) == 0, path);
	return fd;
}

/* What it begins with, which is not in the region that was given. */
static void note_descriptor(const char *log, int fd)
{
	char begin[17] = "";
	FILE *file = fopen(log, "ae");

	check(file != NULL, log);
	if (pread(fd, begin, 16, 0) < 0)
		snprintf(begin, sizeof(begin), "unreadable");
	fprintf(file, "has a descriptor: %s\n", begin);
	fclose(file);
	close(fd);
}

static void answer(int client, const char *answer, const char *log)
{
	char request[70000], text[8192] = "{\"ok\": true}\n";
	size_t got = 0;
	int fd, file;
	ssize_t n;

	while (got < sizeof(request) - 1 && !memchr(request, '\n', got) &&
	       (n = receive(client, request + got, sizeof(request) - 1 - got, &fd)) > 0) {
		got += (size_t)n;
		if (fd >= 0)
			note_descriptor(log, fd);
	}
	request[got] = 0;
	if (strstr(request, "\"status\"")) {
		file = open(answer, O_RDONLY | O_CLOEXEC);
		n = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
		check(n >= 0, answer);
		text[n] = 0;
		close(file);
	}
	send(client, text, strlen(text), MSG_NOSIGNAL);
	close(client);
}

static void serve(const char *path, const char *text, const char *log)
{
	int listener = listen_at(path), client;

	while ((client = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		answer(client, text, log);
}

/* ---- mount ------------------------------------------------------------------------ */

/* As libfuse does it; whoever closes /dev/fuse leaves the mount dead. */
static void leave_dead_mount(const char *source, const char *mountpoint)
{
	char options[4200], number[16], byte;
	int fds[2], fd, status = 1;
	pid_t child;

	snprintf(options, sizeof(options), "fsname=%s,subtype=remapfs,allow_other", source);
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "socketpair");
	child = fork();
	if (child == 0) {
		snprintf(number, sizeof(number), "%d", fds[0]);
		setenv("_FUSE_COMMFD", number, 1);
		close(fds[1]);
		execlp("fusermount3", "fusermount3", "-o", options, "--", mountpoint, (char *)NULL);
		_exit(127);
	}
	close(fds[0]);
	check(receive(fds[1], &byte, 1, &fd) >= 0 && fd >= 0, "no descriptor from fusermount3");
	waitpid(child, &status, 0);
	check(status == 0, "fusermount3");
	close(fd);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 5 && strcmp(argv[1], "serve") == 0)
		serve(argv[2], argv[3], argv[4]);
	else if (argc == 4 && strcmp(argv[1], "mount") == 0)
		leave_dead_mount(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
