/* What kind of file system a path is on. */
#ifndef REMAPFS_FILE_SYSTEM_H
#define REMAPFS_FILE_SYSTEM_H

#include <stddef.h>

#define FILE_SYSTEM_NAME 64

/*
 * Its type as mount(8) has it ("vfat", "fuse.sshfs"), for a message; "this file system"
 * where that cannot be told. name has FILE_SYSTEM_NAME bytes. Returns name.
 */
const char *file_system_name(const char *path, char *name);

#endif
