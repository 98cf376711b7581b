/* Which physical disks a file lies on, through partitions, dm, md and loop. */
#ifndef REMAPFS_CTL_DISKS_H
#define REMAPFS_CTL_DISKS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define DISKS_MAX 64

struct disks {
	dev_t file_system; /* that the file is on; of a block device: itself */
	dev_t disk[DISKS_MAX];
	size_t count;
	const char *memory; /* where in memory some of it is: "tmpfs"; NULL: on disks, or unknown */
	bool incomplete; /* below it is something that cannot be looked through */
};

/* path is a file or a block device. 0 or a negative errno. */
int disks_of(const char *path, struct disks *ret);

enum disks_shared { DISKS_APART, DISKS_SHARED, DISKS_UNKNOWN };
enum disks_shared disks_compare(const struct disks *, const struct disks *);

/*
 * Warns on stderr if path is in memory, where it is gone at the next boot. what: "the
 * database".
 */
void disks_warn_memory(const char *what, const char *path);

#endif
