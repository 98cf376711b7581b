#include "fuse/notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"

#define SEND_SECONDS 5

/* name is a path, or "@NAME" in the abstract name space. */
static int send_to(const char *name, const char *text)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval bound = {.tv_sec = SEND_SECONDS};
	size_t length = strlen(name);
	CLEANUP_CLOSE int fd = -1;

	if ((name[0] != '/' && name[0] != '@') || length >= sizeof(address.sun_path))
		return -EINVAL;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof(bound)) < 0 ||
	    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length)) < 0)
		return -errno;
	return 0;
}

void notify_service(const char *format, ...)
{
	const char *name = getenv("NOTIFY_SOCKET");
	char text[400];
	va_list args;
	int rc;

	if (!name || !name[0])
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	rc = send_to(name, text);
	if (rc < 0)
		log_warning("the service manager at NOTIFY_SOCKET '%s' cannot be told: %s; check the "
			    "unit", name, strerror(-rc));
}
