/*
 * Finds the disk.img of a volume. The daemon's answer only chooses among the mounts of its
 * own user, as the kernel lists them (peer.h); what was opened there must be on that file
 * system, so that a link or another mount that came in between leads nowhere.
 */
#include "ctl/disk_image.h"

#include "ctl/peer.h"
#include "ctl/remains.h"

#include "remapfs/cleanup.h"
#include "remapfs/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>

int disk_image_explain(const char *folder, int code, struct error *err)
{
	const char *remedy = "check the path";
	struct dead_mount dead;

	if (dead_mount_at(folder, &dead))
		return dead_mount_explain(&dead, err);
	if (code == ENOENT)
		return error_set(err, code,
				 "%.150s holds no disk.img; mount a volume on it: remapfs VOLUME "
				 "%.150s",
				 folder, folder);
	if (code == EACCES)
		remedy = geteuid() ? "mount it with -o allow_other (and user_allow_other in "
				     "/etc/fuse.conf)"
				   : "root may not enter the mount of a user: add user_allow_other to "
				     "/etc/fuse.conf, and mount again";
	if (code == ENOTCONN || code == ECONNABORTED)
		remedy = "its daemon has died: 'fusermount3 -u' it, then mount it again";
	return error_set(err, code, "%.200s: %s; %s", folder, strerror(code), remedy);
}

/* ---- the way there ------------------------------------------------------------------- */

#define LINKS_MAX 40 /* as the kernel follows */

struct walk {
	int at;         /* where it is; AT_FDCWD to begin with */
	unsigned links; /* symbolic links so far */
	uid_t stranger; /* whose one of them is that is neither root's nor the caller's; or 0 */
	bool strangers; /* there are links of several */
};

static int walk(struct walk *w, const char *path);

static void move_to(struct walk *w, int fd)
{
	cleanup_close(&w->at);
	w->at = fd;
}

static int follow(struct walk *w, int link, uid_t owner)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(link, "", target, sizeof(target) - 1);

	close(link);
	if (n < 0 || ++w->links > LINKS_MAX)
		return -ELOOP;
	target[n] = 0;
	if (owner && owner != geteuid()) {
		w->strangers |= w->stranger && w->stranger != owner;
		w->stranger = owner;
	}
	return walk(w, target);
}

static int walk(struct walk *w, const char *path)
{
	CLEANUP_FREE char *copy = strdup(path);
	char *rest = copy, *name;
	int rc = copy ? 0 : -ENOMEM;

	if (rc == 0 && *path == '/')
		move_to(w, open("/", O_PATH | O_CLOEXEC));
	while (rc == 0 && (name = strsep(&rest, "/"))) {
		struct stat st;
		int fd = *name ? openat(w->at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;

		if (!*name)
			continue;
		if (fd < 0)
			rc = -errno;
		else if (fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
			rc = follow(w, fd, st.st_uid);
		else
			move_to(w, fd);
	}
	return rc;
}

/* What a stranger's link leads to must be this stranger's, not by chance a mount of root. */
static int check_way(const struct walk *w, const char *argument, const struct disk_image *image,
		     struct error *err)
{
	dev_t device = image->fd >= 0 ? image->st.st_dev : image->hidden;
	uid_t owner;

	if (!w->stranger || !device)
		return 0;
	if (!w->strangers && mounts_owner(device, &owner) && owner == w->stranger)
		return 0;
	return error_set(err, EACCES, "%.200s leads through a link of another user (%u) to a mount that "
			 "this user did not make; name the mount itself if you mean that", argument,
			 (unsigned)w->stranger);
}

/* ---- a folder ------------------------------------------------------------------------ */

/* As the kernel names it; only to be shown. */
static int read_path(int fd, struct disk_image *image)
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, image->path, sizeof(image->path) - 1);
	image->path[n < 0 ? 0 : n] = 0;
	return n < 0 ? -errno : 0;
}

/* Takes the disk.img in folder, which is open. 0, or -errno: -EMEDIUMTYPE if it is none. */
static int open_in(int folder, struct disk_image *image)
{
	CLEANUP_CLOSE int fd = openat(folder, "disk.img", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statfs fs;
	int rc;

	if (fd < 0 || fstat(fd, &image->st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != FUSE_SUPER_MAGIC || !S_ISREG(image->st.st_mode) ||
	    (image->st.st_blksize != 512 && image->st.st_blksize != 4096))
		return -EMEDIUMTYPE;
	rc = read_path(fd, image);
	if (rc < 0)
		return rc;
	image->sector_size = (uint32_t)image->st.st_blksize;
	image->fd = fd;
	fd = -1;
	return 0;
}

/* folder is where a volume is mounted, if it is of remapfs at all. */
static int find_in_folder(const char *folder, int fd, struct disk_image *image, struct error *err)
{
	int rc = open_in(fd, image);

	if (rc == -EMEDIUMTYPE)
		return error_set(err, EINVAL,
				 "no volume is mounted on %.150s; mount it: remapfs VOLUME %.150s",
				 folder, folder);
	return rc < 0 ? disk_image_explain(folder, -rc, err) : 0;
}

/* ---- a volume ------------------------------------------------------------------------ */

struct shape {
	uint32_t sector_size;
	uint64_t sectors;
};

static int read_shape(const char *volume, struct shape *ret, struct error *err)
{
	struct store *store;
	int rc = store_open(volume, STORE_READ, &store, err);

	if (rc < 0)
		return rc;
	*ret = (struct shape){store_volume(store)->sector_size, store_volume(store)->main_sectors};
	store_close(store);
	return 0;
}

struct search {
	dev_t device;
	struct disk_image *image;
	char point[PATH_MAX]; /* of the last mount that could not be entered */
	int rc;
};

/* The folder may be another one by now: what is opened says where it is. */
static bool open_on(const struct mount *mount, void *context)
{
	struct search *s = context;
	CLEANUP_CLOSE int fd = -1;

	if (mount->device != s->device)
		return false;
	snprintf(s->point, sizeof(s->point), "%s", mount->point);
	fd = open(mount->point, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	s->rc = fd < 0 ? -errno : open_in(fd, s->image);
	if (s->rc == 0 && s->image->st.st_dev != s->device) {
		disk_image_close(s->image);
		s->rc = -ESTALE;
	}
	return s->rc == 0;
}

static int find_on(dev_t device, const char *volume, const struct shape *shape,
		   struct disk_image *image, struct error *err)
{
	struct search s = {.device = device, .image = image};

	if (!device || (!mounts_find(open_on, &s) && !s.point[0]))
		return error_set(err, EPROTO, "the daemon of %.200s names no mount of its user that is to "
				 "be seen from here; name the mountpoint instead", volume);
	if (s.rc == -EMEDIUMTYPE || s.rc == -ESTALE)
		return error_set(err, EPROTO, "the daemon of %.150s names the mount on %.150s, which has "
				 "no disk.img of remapfs; name the mountpoint instead", volume, s.point);
	if (s.rc < 0)
		return disk_image_explain(s.point, -s.rc, err);
	if (image->sector_size != shape->sector_size || image->st.st_size < 0 ||
	    (uint64_t)image->st.st_size / shape->sector_size != shape->sectors)
		return error_set(err, EPROTO, "%.150s has not the size of volume %.150s; name the "
				 "mountpoint if that is what you want", image->path, volume);
	return 0;
}

static int find_by_volume(const char *volume, struct disk_image *image, struct error *err)
{
	struct dead_mount dead;
	struct shape shape;
	json_t *answer;
	int rc = read_shape(volume, &shape, err);

	if (rc < 0)
		return rc;
	rc = peer_status(volume, NULL, &answer, err);
	image->not_mounted = rc == -ENOENT || rc == -ECONNREFUSED;
	if (image->not_mounted && dead_mount_find(volume, &dead))
		return dead_mount_explain(&dead, err);
	if (rc < 0)
		return rc;
	if (json_is_true(json_object_get(answer, "ending")))
		rc = error_set(err, ENOENT, "volume '%.200s' was unmounted; mount it anew first", volume);
	else if (mount_reach(volume, answer, &image->out_of_sight) != MOUNT_HERE)
		image->hidden = mount_number(answer);
	else
		rc = find_on(mount_number(answer), volume, &shape, image, err);
	json_decref(answer);
	return rc;
}

int disk_image_find(const char *argument, struct disk_image *ret, struct error *err)
{
	struct walk w = {.at = AT_FDCWD};
	struct stat st;
	int rc;

	*ret = (struct disk_image){.fd = -1};
	if (stat(argument, &st) < 0 && errno == ENOENT)
		return error_set(err, ENOENT, "%.200s: %s; check the path", argument,
				 strerror(ENOENT));
	if (stat(argument, &st) < 0)
		return disk_image_explain(argument, errno, err);
	rc = walk(&w, argument);
	if (rc < 0)
		disk_image_explain(argument, -rc, err);
	else
		rc = S_ISDIR(st.st_mode) ? find_in_folder(argument, w.at, ret, err)
					 : find_by_volume(argument, ret, err);
	rc = rc < 0 ? rc : check_way(&w, argument, ret, err);
	cleanup_close(&w.at);
	return rc;
}

void disk_image_close(struct disk_image *image)
{
	cleanup_close(&image->fd);
	image->fd = -1;
}
