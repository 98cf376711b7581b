/* What remapctl doctor asks of the machine. */
#include "ctl/doctor.h"

#include "remapfs/cleanup.h"
#include "remapfs/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define FUSE_CONF "/etc/fuse.conf"
#define UNITS "/etc/remapfs/*.conf"

static void look_at_fuse(struct doctor *doctor)
{
	CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	int code = errno;

	if (fd >= 0)
		doctor_find(doctor, DOCTOR_PASS, "fuse", "/dev/fuse can be opened");
	else if (code == ENOENT || code == ENODEV || code == ENXIO)
		doctor_find(doctor, DOCTOR_FAIL, "fuse", "/dev/fuse: %s, so nothing can be "
			    "mounted; load the module with 'modprobe fuse', or give the container "
			    "the device", strerror(code));
	else
		doctor_find(doctor, DOCTOR_FAIL, "fuse", "/dev/fuse: %s, so nothing can be "
			    "mounted; 'chmod 666 /dev/fuse', or allow the container to use it",
			    strerror(code));
}

/* Users mount through it, and everybody unmounts with it. */
static bool has_fusermount(void)
{
	const char *path = getenv("PATH");
	CLEANUP_FREE char *list = strdup(path ? path : "/usr/bin:/bin");
	char *rest = list, *folder, name[4096 + 16];

	while (list && (folder = strsep(&rest, ":"))) {
		snprintf(name, sizeof(name), "%.4096s/fusermount3", *folder ? folder : ".");
		if (access(name, X_OK) == 0)
			return true;
	}
	return false;
}

static void look_at_fusermount(struct doctor *doctor)
{
	if (has_fusermount())
		doctor_find(doctor, DOCTOR_PASS, "fusermount", "fusermount3 is there");
	else
		doctor_find(doctor, DOCTOR_WARN, "fusermount", "there is no fusermount3, so only "
			    "root can mount; install the package fuse3");
}

/* A line of its own, as libfuse reads it: blanks around it are no matter. */
static bool allows_other(FILE *conf)
{
	CLEANUP_FREE char *line = NULL;
	size_t room = 0;
	char word[32], more[2];

	while (getline(&line, &room, conf) > 0)
		if (sscanf(line, "%31s %1s", word, more) == 1 &&
		    strcmp(word, "user_allow_other") == 0)
			return true;
	return false;
}

static void look_at_conf(struct doctor *doctor)
{
	FILE *conf = fopen(FUSE_CONF, "re");
	bool allowed = conf && allows_other(conf);

	if (conf)
		fclose(conf);
	if (geteuid() == 0)
		doctor_find(doctor, DOCTOR_PASS, "allow-other", "root enters what root mounts");
	else if (allowed)
		doctor_find(doctor, DOCTOR_PASS, "allow-other",
			    FUSE_CONF " lets users open their mounts to root");
	else
		doctor_find(doctor, DOCTOR_WARN, "allow-other", "root cannot enter what a user "
			    "mounts, so losetup does not work there; add a line user_allow_other "
			    "to " FUSE_CONF);
}

/* Linux 6.9 hands the requests of a daemon that died to its successor. */
static void look_at_kernel(struct doctor *doctor)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	if (uname(&name) < 0 || sscanf(name.release, "%u.%u", &major, &minor) != 2)
		doctor_find(doctor, DOCTOR_NOTE, "kernel", "the version of the kernel cannot be "
			    "told; a mount outlives its daemon on Linux 6.9 and later");
	else if (major > 6 || (major == 6 && minor >= 9))
		doctor_find(doctor, DOCTOR_PASS, "kernel",
			    "Linux %.60s: a mount outlives the death of its daemon", name.release);
	else
		doctor_find(doctor, DOCTOR_WARN, "kernel", "Linux %.60s: a mount ends when its "
			    "daemon dies; use Linux 6.9 or later", name.release);
}

/* The units run as root what these say. */
static void look_at_units(struct doctor *doctor)
{
	glob_t found = {0};
	struct error why;

	if (glob(UNITS, 0, NULL, &found) == 0)
		for (size_t i = 0; i < found.gl_pathc; i++)
			if (folder_judge(found.gl_pathv[i], &why) != FOLDER_GUARDED)
				doctor_find(doctor, DOCTOR_FAIL, "units", "%s", why.text);
	globfree(&found);
}

void doctor_system(struct doctor *doctor)
{
	look_at_fuse(doctor);
	look_at_fusermount(doctor);
	look_at_conf(doctor);
	look_at_kernel(doctor);
	look_at_units(doctor);
}
