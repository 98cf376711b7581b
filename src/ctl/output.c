/*
 * Output to a file that the user named. It may lie in a folder that others write, too:
 * they can put a link, a FIFO or a file of theirs there, at any moment. So the folder is
 * opened once, a new file is made under a name that was not there, and rename(2) puts it
 * in its place without looking at what was there.
 */
#include "ctl/output.h"

#include "remapfs/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

static bool is_file(const struct stat *st, const char *path)
{
	struct stat other;

	return stat(path, &other) == 0 && other.st_dev == st->st_dev && other.st_ino == st->st_ino;
}

static bool is_database(const struct stat *st, const char *path)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	CLEANUP_FREE char *real = realpath(path, NULL);
	char name[PATH_MAX + 8];

	for (size_t i = 0; real && i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		snprintf(name, sizeof(name), "%s%s", real, suffixes[i]);
		if (is_file(st, name))
			return true;
	}
	return false;
}

static bool belongs_to(const struct stat *st, const struct output_volume *volume)
{
	const struct store_spare *spares;
	size_t count = 0;

	if (is_database(st, volume->path))
		return true;
	if (!volume->store)
		return false;
	if (is_file(st, store_volume(volume->store)->main_path))
		return true;
	spares = store_spares(volume->store, &count);
	for (size_t i = 0; i < count; i++)
		if (is_file(st, spares[i].path))
			return true;
	return false;
}

static int refuse_to_write(const char *path, int code, struct error *err)
{
	return error_set(err, code, "cannot write '%.200s': %s; name a file in a folder that is "
			 "there, with room and the right to write", path, strerror(code));
}

static int check_is_none_of(const struct stat *st, const struct output_volume *volume,
			    const char *path, struct error *err)
{
	return belongs_to(st, volume) ? error_set(err, EINVAL, "'%.200s' belongs to the volume; name "
						  "another file", path) : 0;
}

/* ---- where it goes ------------------------------------------------------------------ */

/* *ret_name is the last part of path, and in it. */
static int open_folder(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *folder = strndup(path, slash ? (size_t)(slash - path) + 1 : 0);
	int fd;

	if (!folder)
		return -ENOMEM;
	fd = open(slash ? folder : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	*ret_name = slash ? slash + 1 : path;
	return fd < 0 ? -errno : fd;
}

/* ---- a new file --------------------------------------------------------------------- */

static int make_temporary(struct output *o)
{
	uint64_t random;

	for (int tries = 0; tries < 100; tries++) {
		int fd;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return -EIO;
		snprintf(o->temporary, sizeof(o->temporary), ".remapfs-%016" PRIx64, random);
		fd = openat(o->folder, o->temporary,
			    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd >= 0 || errno != EEXIST)
			return fd < 0 ? -errno : fd;
	}
	return -EEXIST;
}

static int begin_beside(struct output *o, struct error *err)
{
	int fd = make_temporary(o), rc;

	if (fd < 0)
		return refuse_to_write(o->path, -fd, err);
	o->to = fdopen(fd, "w");
	if (o->to)
		return 0;
	rc = refuse_to_write(o->path, errno, err);
	close(fd);
	unlinkat(o->folder, o->temporary, 0);
	return rc;
}

/* ---- written through ---------------------------------------------------------------- */

static bool may_write_through(const struct stat *st)
{
	return S_ISREG(st->st_mode) || S_ISFIFO(st->st_mode) || S_ISCHR(st->st_mode);
}

static bool is_standard_output(const struct stat *st)
{
	struct stat out;

	return fstat(STDOUT_FILENO, &out) == 0 && out.st_dev == st->st_dev &&
	       out.st_ino == st->st_ino;
}

/* there: what name has to be, unless it is the target of a link. */
static int open_through(struct output *o, int folder, const char *name, const struct stat *there,
			const struct output_volume *volume, struct error *err)
{
	int flags = O_WRONLY | O_NOCTTY | O_CLOEXEC | (there ? O_NOFOLLOW : 0);
	CLEANUP_CLOSE int fd = openat(folder, name, flags);
	struct stat st;
	int rc;

	if (fd < 0 || fstat(fd, &st) < 0)
		return refuse_to_write(o->path, errno, err);
	rc = check_is_none_of(&st, volume, o->path, err);
	if (rc < 0)
		return rc;
	if (there && (st.st_dev != there->st_dev || st.st_ino != there->st_ino))
		return refuse_to_write(o->path, EBUSY, err);
	if (!may_write_through(&st) || (S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0))
		return refuse_to_write(o->path, S_ISREG(st.st_mode) ? errno : EINVAL, err);
	o->to = fdopen(fd, "w");
	if (!o->to)
		return refuse_to_write(o->path, errno, err);
	fd = -1;
	return 0;
}

static int refuse_foreign(const char *path, const char *what, struct error *err)
{
	return error_set(err, EPERM, "'%.200s' is a %s of another user; name another file", path, what);
}

static bool is_own(const struct stat *st)
{
	return st->st_uid == 0 || st->st_uid == geteuid();
}

/* The link is held while its owner and its text are read: nobody can exchange it between. */
static int begin_through_link(struct output *o, int folder, const char *name,
			      const struct output_volume *volume, struct error *err)
{
	CLEANUP_CLOSE int link = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char text[PATH_MAX];
	const char *target = text;
	struct statfs fs;
	struct stat st;
	ssize_t n;

	if (link < 0 || fstat(link, &st) < 0)
		return refuse_to_write(o->path, errno, err);
	if (!is_own(&st))
		return refuse_foreign(o->path, "link", err);
	n = readlinkat(link, "", text, sizeof(text) - 1);
	if (n < 0 || fstatfs(link, &fs) < 0)
		return refuse_to_write(o->path, errno, err);
	text[n] = 0;
	/* /dev/fd/3: the text of such a link is no path, and nobody puts anything there. */
	if (fs.f_type == PROC_SUPER_MAGIC)
		target = name;
	if (fstatat(folder, target, &st, 0) < 0)
		return refuse_to_write(o->path, errno, err);
	if (!may_write_through(&st))
		return error_set(err, EINVAL, "'%.200s' leads to no regular file; name another, or '-' "
				 "for standard output", o->path);
	return is_standard_output(&st) ? 0 : open_through(o, folder, target, NULL, volume, err);
}

/* there: what lstat said of name in folder; no regular file. */
static int begin_through(struct output *o, int folder, const char *name, const struct stat *there,
			 const struct output_volume *volume, struct error *err)
{
	if (S_ISLNK(there->st_mode))
		return begin_through_link(o, folder, name, volume, err);
	if (!may_write_through(there))
		return error_set(err, EINVAL, "'%.200s' is no regular file; name another, or '-' for "
				 "standard output", o->path);
	if (!S_ISCHR(there->st_mode) && !is_own(there))
		return refuse_foreign(o->path, "FIFO", err);
	return is_standard_output(there) ? 0 : open_through(o, folder, name, there, volume, err);
}

/* ---- all of it ---------------------------------------------------------------------- */

/* folder is closed, or handed on to o. */
static int begin_in(int folder, const char *name, const struct output_volume *volume,
		    struct output *o, struct error *err)
{
	CLEANUP_CLOSE int fd = folder;
	struct stat st;
	int rc = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;

	if (rc < 0 && rc != -ENOENT)
		return refuse_to_write(o->path, -rc, err);
	if (rc == 0 && !S_ISREG(st.st_mode))
		return begin_through(o, fd, name, &st, volume, err);
	rc = rc == 0 ? check_is_none_of(&st, volume, o->path, err) : 0;
	o->folder = fd;
	rc = rc < 0 ? rc : begin_beside(o, err);
	if (rc == 0)
		fd = -1;
	return rc;
}

int output_begin(const char *path, const struct output_volume *volume, struct output *ret,
		 struct error *err)
{
	const char *name;
	int folder;

	*ret = (struct output){.to = stdout, .path = path, .folder = -1};
	if (!path || strcmp(path, "-") == 0)
		return 0;
	folder = open_folder(path, &name);
	if (folder < 0)
		return refuse_to_write(path, -folder, err);
	return begin_in(folder, *name ? name : ".", volume, ret, err);
}

static int set_mode(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	return fchmod(fd, 0666 & ~mask);
}

/* What has no content to keep, such as a pipe, refuses fsync with EINVAL. */
static int complete(struct output *o)
{
	const char *slash = strrchr(o->path, '/');
	int fd = fileno(o->to);

	if (fflush(o->to) != 0 || (fsync(fd) < 0 && errno != EINVAL))
		return -errno;
	if (ferror(o->to))
		return -EIO;
	if (o->folder < 0)
		return 0;
	if (set_mode(fd) < 0 ||
	    renameat(o->folder, o->temporary, o->folder, slash ? slash + 1 : o->path) < 0)
		return -errno;
	return 0;
}

int output_end(struct output *o, int rc, struct error *err)
{
	if (o->to == stdout)
		return rc; /* main.c finds out whether all of it arrived */
	if (rc == 0 && (rc = complete(o)) < 0)
		refuse_to_write(o->path, -rc, err);
	if (rc < 0 && o->folder >= 0)
		unlinkat(o->folder, o->temporary, 0);
	fclose(o->to);
	if (o->folder >= 0)
		close(o->folder);
	return rc;
}

int output_put(const char *path, const char *data, size_t size, const struct output_volume *volume,
	       struct error *err)
{
	struct output output;
	int rc = output_begin(path, volume, &output, err);

	if (rc < 0)
		return rc;
	if (fwrite(data, 1, size, output.to) != size && output.to != stdout)
		rc = refuse_to_write(path, errno, err);
	return output_end(&output, rc, err);
}
