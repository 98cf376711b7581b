#include "fuse/image.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define ROOT_INODE FUSE_ROOT_ID
#define IMAGE_INODE 2
#define CACHE_SECONDS 1.0

/* In direct mode the kernel sends loop's I/O as background requests. */
#define BACKGROUND_MAX 64

/*
 * Above this, copying takes longer than waking a thread: then threads copy side by
 * side, and I/O is theirs.
 */
#define SMALL_IO (64u << 10)

static _Thread_local struct exchange *serving;

static struct image *image_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

void image_serve_with(struct exchange *exchange)
{
	serving = exchange;
}

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_write = IMAGE_MAX_IO;
	conn->max_background = BACKGROUND_MAX;
	conn->congestion_threshold = BACKGROUND_MAX * 3 / 4;
	/* A pipe cannot be spliced into an O_DIRECT file. */
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE);
	/* So that open with O_TRUNC can be told from truncate. */
	conn->want |= conn->capable & FUSE_CAP_ATOMIC_O_TRUNC;
}

/* ---- names and attributes -------------------------------------------------------------- */

static int fill_attributes(const struct image *image, fuse_ino_t inode, struct stat *st)
{
	*st = (struct stat){
		.st_ino = inode,
		.st_uid = image->uid,
		.st_gid = image->gid,
		.st_atim = image->since,
		.st_mtim = image->since,
		.st_ctim = image->since,
	};
	if (inode == ROOT_INODE) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (inode != IMAGE_INODE)
		return -ENOENT;
	st->st_mode = S_IFREG | (image->read_only ? 0400 : 0600);
	st->st_nlink = 1;
	st->st_size = (off_t)volume_size(image->volume);
	st->st_blocks = st->st_size / 512;
	st->st_blksize = (blksize_t)volume_sector_size(image->volume);
	return 0;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry = {
		.ino = IMAGE_INODE,
		.attr_timeout = CACHE_SECONDS,
		.entry_timeout = CACHE_SECONDS,
	};

	if (parent != ROOT_INODE || strcmp(name, IMAGE_NAME) != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	fill_attributes(image_of(req), IMAGE_INODE, &entry.attr);
	fuse_reply_entry(req, &entry);
}

static void reply_attributes(fuse_req_t req, fuse_ino_t inode)
{
	struct stat st;
	int rc = fill_attributes(image_of(req), inode, &st);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &st, CACHE_SECONDS);
}

static void on_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	(void)fi;
	reply_attributes(req, inode);
}

/* As a block device: its size is what it is, its times are nobody's concern. */
static void on_setattr(fuse_req_t req, fuse_ino_t inode, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	(void)fi;
	if (to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		fuse_reply_err(req, EPERM);
	else if ((to_set & FUSE_SET_ATTR_SIZE) &&
		 (inode != IMAGE_INODE || attr->st_size != (off_t)volume_size(image_of(req)->volume)))
		fuse_reply_err(req, EINVAL);
	else
		reply_attributes(req, inode);
}

static void on_readdir(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
		       struct fuse_file_info *fi)
{
	static const struct {
		const char *name;
		fuse_ino_t inode;
	} entries[] = {{".", ROOT_INODE}, {"..", ROOT_INODE}, {IMAGE_NAME, IMAGE_INODE}};
	char buf[512];
	size_t used = 0;

	(void)fi;
	if (inode != ROOT_INODE) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	size = size < sizeof(buf) ? size : sizeof(buf);
	for (off_t i = offset; i >= 0 && i < 3; i++) {
		struct stat st;
		size_t n;

		fill_attributes(image_of(req), entries[i].inode, &st);
		n = fuse_add_direntry(req, buf + used, size - used, entries[i].name, &st, i + 1);
		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
}

static void on_statfs(fuse_req_t req, fuse_ino_t inode)
{
	struct volume *v = image_of(req)->volume;
	/* Loop takes its discard granularity from f_bsize. */
	struct statvfs st = {
		.f_bsize = volume_sector_size(v),
		.f_frsize = volume_sector_size(v),
		.f_blocks = volume_size(v) / volume_sector_size(v),
		.f_files = 2,
		.f_namemax = 255,
	};

	(void)inode;
	fuse_reply_statfs(req, &st);
}

/* ---- the file --------------------------------------------------------------------------- */

/*
 * O_TRUNC is passed over, as a block device does. The reply is made by hand
 * since libfuse 3.14 has no name for parallel direct writes.
 */
static void on_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	struct fuse_open_out reply = {.open_flags = FOPEN_DIRECT_IO};

#ifdef FOPEN_PARALLEL_DIRECT_WRITES
	reply.open_flags |= FOPEN_PARALLEL_DIRECT_WRITES;
#endif
	if (inode != IMAGE_INODE)
		fuse_reply_err(req, inode == ROOT_INODE ? EISDIR : ENOENT);
	else if (image_of(req)->read_only && (fi->flags & O_ACCMODE) != O_RDONLY)
		fuse_reply_err(req, EROFS);
	else
		fuse_reply_buf(req, (const char *)&reply, sizeof(reply));
}

static void on_release(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	(void)inode;
	(void)fi;
	fuse_reply_err(req, 0);
}

/* How many of `size` bytes at offset lie inside the image. */
static size_t inside(const struct volume *v, size_t size, off_t offset)
{
	uint64_t end = volume_size(v), at = (uint64_t)offset;

	if (offset < 0 || at >= end)
		return 0;
	return size < end - at ? size : (size_t)(end - at);
}

static void answer_read(fuse_req_t req, const char *data, size_t length, int rc)
{
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, data, length);
}

static void answer_write(fuse_req_t req, size_t length, int rc)
{
	if (rc < 0)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_write(req, length);
}

void image_finish(struct exchange *x, int result)
{
	fuse_req_t req = x->started;
	const struct volume_io io = *x->io;
	int rc = volume_finish(image_of(req)->volume, x->io, result);

	x->started = NULL;
	if (io.write)
		answer_write(req, io.length, rc);
	else
		answer_read(req, io.buf, io.length, rc);
}

static bool is_small(const struct exchange *x, size_t length)
{
	return x->io && length <= SMALL_IO;
}

static void on_read(fuse_req_t req, fuse_ino_t inode, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	struct volume *v = image_of(req)->volume;
	struct exchange *x = serving;
	size_t length = inside(v, size, offset);
	int rc = 0;

	(void)fi;
	if (inode == IMAGE_INODE && is_small(x, length) &&
	    volume_start_read(v, x->payload, length, (uint64_t)offset, x->io)) {
		x->started = req;
		return;
	}
	x->takes_long(x);
	if (inode != IMAGE_INODE)
		rc = -EISDIR;
	else if (length > IMAGE_MAX_IO)
		rc = -EINVAL; /* never asked for; a short count would be zeros to loop */
	else if (length > 0)
		rc = volume_read(v, x->payload, length, (uint64_t)offset);
	answer_read(req, x->payload, length, rc);
}

/* Past the end there is no room, as on a block device. */
static void on_write(fuse_req_t req, fuse_ino_t inode, const char *buf, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	struct volume *v = image_of(req)->volume;
	struct exchange *x = serving;
	size_t length = inside(v, size, offset);
	int rc;

	(void)fi;
	if (inode == IMAGE_INODE && is_small(x, length) &&
	    volume_start_write(v, buf, length, (uint64_t)offset, x->io)) {
		x->started = req;
		return;
	}
	x->takes_long(x);
	if (inode != IMAGE_INODE)
		rc = -EISDIR;
	else if (length == 0 && size > 0)
		rc = -ENOSPC;
	else
		rc = volume_write(v, buf, length, (uint64_t)offset);
	answer_write(req, length, rc);
}

/* close(2): nothing is held back that a flush could write. */
static void on_flush(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *fi)
{
	(void)inode;
	(void)fi;
	fuse_reply_err(req, 0);
}

static void on_fsync(fuse_req_t req, fuse_ino_t inode, int datasync, struct fuse_file_info *fi)
{
	(void)inode;
	(void)datasync;
	(void)fi;
	serving->takes_long(serving);
	fuse_reply_err(req, -volume_flush(image_of(req)->volume));
}

/*
 * EOPNOTSUPP, never ENOSYS: the kernel takes the latter for ever. Nothing can
 * be made larger, and what is there is allocated as far as that is ours to say.
 */
static int image_fallocate(struct volume *v, int mode, off_t offset, off_t length)
{
	uint64_t bytes = (uint64_t)length;

	if (offset < 0 || length <= 0)
		return -EINVAL;
	if (inside(v, (size_t)length, offset) < bytes) {
		if (!(mode & FALLOC_FL_KEEP_SIZE))
			return -EFBIG;
		bytes = inside(v, (size_t)length, offset);
	}
	switch (mode & ~FALLOC_FL_KEEP_SIZE) {
	case FALLOC_FL_PUNCH_HOLE:
		return bytes ? volume_discard(v, (uint64_t)offset, bytes) : 0;
	case FALLOC_FL_ZERO_RANGE:
		return bytes ? volume_zero(v, (uint64_t)offset, bytes) : 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void on_fallocate(fuse_req_t req, fuse_ino_t inode, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi)
{
	(void)fi;
	serving->takes_long(serving);
	if (inode != IMAGE_INODE)
		fuse_reply_err(req, EISDIR);
	else
		fuse_reply_err(req, -image_fallocate(image_of(req)->volume, mode, offset, length));
}

static void on_lseek(fuse_req_t req, fuse_ino_t inode, off_t offset, int whence,
		     struct fuse_file_info *fi)
{
	struct volume *v = image_of(req)->volume;
	uint64_t start, end, size = volume_size(v);
	int rc;

	(void)fi;
	serving->takes_long(serving);
	if (inode != IMAGE_INODE || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (offset < 0 || (uint64_t)offset >= size) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	rc = volume_next_data(v, (uint64_t)offset, &start, &end);
	if (whence == SEEK_DATA && rc == 0)
		fuse_reply_lseek(req, (off_t)start);
	else if (whence == SEEK_HOLE && (rc == 0 || rc == -ENXIO))
		/* The end of the file counts as a hole. */
		fuse_reply_lseek(req, rc == 0 && start == (uint64_t)offset ? (off_t)end : offset);
	else
		fuse_reply_err(req, -rc);
}

/* ---- what this folder does not do ----------------------------------------------------------- */

static void deny_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent;
	(void)name;
	fuse_reply_err(req, EPERM);
}

static void deny_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	deny_name(req, parent, name);
}

static void deny_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	(void)mode;
	(void)dev;
	deny_name(req, parent, name);
}

static void deny_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			struct fuse_file_info *fi)
{
	(void)mode;
	(void)fi;
	deny_name(req, parent, name);
}

static void deny_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target;
	deny_name(req, parent, name);
}

static void deny_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
			const char *to_name, unsigned flags)
{
	(void)to_parent;
	(void)to_name;
	(void)flags;
	deny_name(req, parent, name);
}

static void deny_link(fuse_req_t req, fuse_ino_t inode, fuse_ino_t parent, const char *name)
{
	(void)inode;
	deny_name(req, parent, name);
}

const struct fuse_lowlevel_ops image_ops = {
	.mknod = deny_mknod,
	.mkdir = deny_mkdir,
	.create = deny_create,
	.symlink = deny_symlink,
	.link = deny_link,
	.rename = deny_rename,
	.unlink = deny_name,
	.rmdir = deny_name,
	.init = on_init,
	.lookup = on_lookup,
	.getattr = on_getattr,
	.setattr = on_setattr,
	.readdir = on_readdir,
	.statfs = on_statfs,
	.open = on_open,
	.release = on_release,
	.read = on_read,
	.write = on_write,
	.flush = on_flush,
	.fsync = on_fsync,
	.fallocate = on_fallocate,
	.lseek = on_lseek,
};
