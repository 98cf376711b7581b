/*
 * A file system that lacks something, as vfat, exfat, 9p and many others of FUSE do:
 *
 *     poor_fs FOLDER LACK[,LACK...] MOUNTPOINT [FUSE OPTIONS]
 *
 * shows FOLDER without links (hard links), sockets, maps (shared maps of files) or writes.
 */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static int base;
static bool no_links, no_sockets, no_maps, no_writes;

static const char *below(const char *path)
{
	return path[1] ? path + 1 : ".";
}

static int answer(long rc)
{
	return rc < 0 ? -errno : (int)rc;
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	return answer(fstatat(base, below(path), st, AT_SYMLINK_NOFOLLOW));
}

static int do_mknod(const char *path, mode_t mode, dev_t device)
{
	if (no_writes)
		return -EROFS;
	if (no_sockets && S_ISSOCK(mode))
		return -EPERM;
	return answer(mknodat(base, below(path), mode, device));
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
	int fd;

	if (no_writes && (fi->flags & O_ACCMODE) != O_RDONLY)
		return -EROFS;
	fd = openat(base, below(path), (fi->flags & ~O_DIRECT) | O_CLOEXEC);
	fi->fh = (uint64_t)fd;
	fi->direct_io = no_maps;
	return fd < 0 ? -errno : 0;
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	int fd;

	if (no_writes)
		return -EROFS;
	fd = openat(base, below(path), (fi->flags & ~O_DIRECT) | O_CREAT | O_CLOEXEC, mode);
	fi->fh = (uint64_t)fd;
	fi->direct_io = no_maps;
	return fd < 0 ? -errno : 0;
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
	(void)path;
	close((int)fi->fh);
	return 0;
}

static int do_read(const char *path, char *buf, size_t size, off_t at, struct fuse_file_info *fi)
{
	(void)path;
	return answer(pread((int)fi->fh, buf, size, at));
}

static int do_write(const char *path, const char *buf, size_t size, off_t at,
		    struct fuse_file_info *fi)
{
	(void)path;
	return answer(pwrite((int)fi->fh, buf, size, at));
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
	int fd = fi ? (int)fi->fh : openat(base, below(path), O_WRONLY | O_CLOEXEC), rc;

	rc = answer(ftruncate(fd, size));
	if (!fi && fd >= 0)
		close(fd);
	return rc;
}

static int do_fsync(const char *path, int data, struct fuse_file_info *fi)
{
	(void)path;
	(void)data;
	return answer(fsync((int)fi->fh));
}

static int do_link(const char *from, const char *to)
{
	return no_links ? -EPERM : answer(linkat(base, below(from), base, below(to), 0));
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
	return answer(renameat2(base, below(from), base, below(to), flags));
}

static int do_unlink(const char *path)
{
	return answer(unlinkat(base, below(path), 0));
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
	(void)fi;
	return answer(fchmodat(base, below(path), mode, 0));
}

static int do_statfs(const char *path, struct statvfs *fs)
{
	(void)path;
	return answer(fstatvfs(base, fs));
}

/* A file that is open is removed at once, not hidden until it is closed. */
static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
	(void)connection;
	config->hard_remove = 1;
	return NULL;
}

static const struct fuse_operations operations = {
	.init = do_init,
	.getattr = do_getattr, .mknod = do_mknod, .open = do_open, .create = do_create,
	.release = do_release, .read = do_read, .write = do_write, .truncate = do_truncate,
	.fsync = do_fsync, .link = do_link, .rename = do_rename, .unlink = do_unlink,
	.chmod = do_chmod, .statfs = do_statfs,
};

int main(int argc, char **argv)
{
	if (argc < 4 || (base = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0) {
		fprintf(stderr, "usage: poor_fs FOLDER LACK[,LACK...] MOUNTPOINT [OPTIONS]\n");
		return 2;
	}
	no_links = strstr(argv[2], "links");
	no_sockets = strstr(argv[2], "sockets");
	no_maps = strstr(argv[2], "maps");
	no_writes = strstr(argv[2], "writes");
	argv[2] = argv[0];
	return fuse_main(argc - 2, argv + 2, &operations, NULL);
}
