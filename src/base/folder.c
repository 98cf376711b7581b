/*
 * The rule about folders: see folder.h. The real path is cut at each slash, from / on;
 * stat(2) says of each folder whose it is and who can write it.
 */
#include "remapfs/folder.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "remapfs/cleanup.h"
#include "remapfs/log.h"

#define NOBODY 65534 /* whom a user namespace shows for users that it has not */

struct walk {
	const char *path; /* as the user gave it */
	uid_t owner;      /* of the file */
	bool namespaced;  /* not all users of the machine are here */
	bool shared;      /* the folder before is sticky, and others can write it: */
	uid_t sharer;     /* its owner */
};

/* ---- whom it is left to ----------------------------------------------------------- */

/* The whole range stands in one line. Without /proc this is the machine's. */
static bool is_namespaced(void)
{
	unsigned long long inside = 0, outside = 0, count = UINT32_MAX;
	FILE *map = fopen("/proc/self/uid_map", "re");

	if (map && fscanf(map, "%llu %llu %llu", &inside, &outside, &count) != 3)
		count = UINT32_MAX;
	if (map)
		fclose(map);
	return inside || outside || count != UINT32_MAX;
}

static bool called_sudo(uid_t uid)
{
	const char *sudo = geteuid() == 0 ? getenv("SUDO_UID") : NULL;
	char *end;

	return sudo && *sudo >= '0' && *sudo <= '9' && strtoul(sudo, &end, 10) == uid && !*end;
}

/* Anyone can have put what is in a shared folder there: whose the file is says nothing. */
static bool is_trusted(const struct walk *w, uid_t uid)
{
	return uid == 0 || uid == geteuid() || uid == (w->shared ? w->sharer : w->owner) ||
	       called_sudo(uid) || (w->namespaced && uid == NOBODY);
}

/* With an ACL the bit of the group says what is the most that any of its entries may do. */
static bool others_write(const char *path, const struct stat *st)
{
	bool own_group = st->st_gid == st->st_uid &&
			 getxattr(path, "system.posix_acl_access", NULL, 0) < 0;

	return st->st_mode & S_IWOTH || (st->st_mode & S_IWGRP && !own_group);
}

/* ---- the walk --------------------------------------------------------------------- */

static enum folder_guard refuse_owner(const struct walk *w, const char *place, uid_t uid,
				      struct error *why)
{
	error_set(why, EPERM, "user %u can put another file in the place of '%s', since '%s' is that "
		  "user's; move it to a folder of yours", (unsigned)uid, w->path, place);
	return FOLDER_OPEN;
}

static enum folder_guard judge_folder(struct walk *w, const char *folder, struct error *why)
{
	struct stat st;

	if (stat(folder, &st) < 0)
		return FOLDER_GUARDED;
	if (!is_trusted(w, st.st_uid))
		return refuse_owner(w, folder, st.st_uid, why);
	w->shared = others_write(folder, &st);
	w->sharer = st.st_uid;
	if (!w->shared || st.st_mode & S_ISVTX)
		return FOLDER_GUARDED;
	error_set(why, EPERM, "others can put another file in the place of '%s', since they can write "
		  "folder '%s'; 'chmod go-w' that, or move it", w->path, folder);
	return FOLDER_OPEN;
}

/* real is cut for a moment at each slash. */
static enum folder_guard judge_way(struct walk *w, char *real, struct error *why)
{
	enum folder_guard guard = FOLDER_GUARDED;

	for (char *slash = real; slash && guard == FOLDER_GUARDED; slash = strchr(slash + 1, '/')) {
		char *end = slash == real ? slash + 1 : slash, kept = *end;

		*end = 0;
		guard = judge_folder(w, real, why);
		*end = kept;
	}
	return guard;
}

/* st: of the file; NULL: it is to be made. */
static enum folder_guard judge_file(const struct walk *w, const char *real, const struct stat *st,
				    struct error *why)
{
	if (st && !is_trusted(w, st->st_uid))
		return refuse_owner(w, real, st->st_uid, why);
	if (st && S_ISREG(st->st_mode) && others_write(real, st)) {
		error_set(why, EPERM, "others can write '%s' itself; 'chmod go-w' it", w->path);
		return FOLDER_OPEN;
	}
	if (!w->shared)
		return FOLDER_GUARDED;
	error_set(why, EPERM, "others can put files beside '%s', since they can write its folder; keep "
		  "it in a folder of its own", w->path);
	return FOLDER_SHARED;
}

/* Of a file that is to be made the folder, and its name. NULL: there is no such folder. */
static char *real_path(const char *path)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *given = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	CLEANUP_FREE char *folder = NULL;
	char *real = realpath(path, NULL);

	if (real || !given)
		return real;
	folder = realpath(slash ? given : ".", NULL);
	if (!folder || asprintf(&real, "%s/%s", strcmp(folder, "/") ? folder : "",
				slash ? slash + 1 : path) < 0)
		return NULL;
	return real;
}

enum folder_guard folder_judge(const char *path, struct error *why)
{
	CLEANUP_FREE char *real = real_path(path);
	struct walk w = {.path = path, .owner = geteuid(), .namespaced = is_namespaced()};
	enum folder_guard guard;
	struct stat st;
	bool exists;

	why->text[0] = 0;
	if (!real)
		return FOLDER_GUARDED;
	exists = stat(real, &st) == 0;
	if (exists)
		w.owner = st.st_uid;
	guard = judge_way(&w, real, why);
	return guard != FOLDER_GUARDED ? guard : judge_file(&w, real, exists ? &st : NULL, why);
}

int folder_check(const char *path, struct error *err)
{
	struct error why;
	enum folder_guard guard = folder_judge(path, &why);

	if (guard == FOLDER_OPEN && geteuid() == 0)
		return error_set(err, EPERM, "%s", why.text);
	if (guard != FOLDER_GUARDED)
		log_warning("%s", why.text);
	return 0;
}
