/*
 * What a process gives up before it reads what others made: rights that it does
 * not use, so that who gains power over it by a fault of ours gains little.
 *
 * To be called while there is one thread: all later ones inherit it, and nothing
 * takes it back. Each measure is optional, since kernels, containers and
 * supervisors of other kinds may lack or refuse it; `refused` gets the names and
 * errors of those, or "", and the rest holds.
 */
#ifndef CONFINE_CONFINE_H
#define CONFINE_CONFINE_H

#include <stddef.h>

/*
 * A system call that the worker's filter does not know ends the process with
 * SIGSYS; before, told(number) is called, in a signal handler.
 *
 * Afterwards the process can start no program and no process, has no socket but
 * Unix ones, maps nothing that can be executed, and has lost all capabilities
 * but those that opening the files of others takes.
 */
void confine_calls(void (*told)(long number), char *refused, size_t size);

/*
 * From here on only these files can be opened; what is open stays so. folder:
 * where files may be made and removed (that of the database: SQLite's log, the
 * control socket). files: read and written, not made; those that are missing are
 * left out. In a folder among them sockets may be made and removed. Names are
 * followed now: what is put in their place later is not reached.
 */
void confine_files(const char *folder, const char *const *files, size_t count, char *refused,
		   size_t size);

/*
 * For the process that mounts, starts workers, and unmounts. What it may not do,
 * its workers may not either, also those of a later version. So only what has
 * no place in any of them is taken: to reach into other processes, to load
 * modules or programs into the kernel, to mount, to become another user, and the
 * capabilities for that. As root only: a user unmounts through a program that
 * gains rights (fusermount3), and a process that forgoes those cannot start it.
 */
void confine_supervisor(char *refused, size_t size);

#endif
