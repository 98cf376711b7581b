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
 * Afterwards the process can start no program and no process, makes and connects no
 * socket, and sends to none by name; it signals itself only, asks devices but does not
 * command them, makes no file set-user-ID, and maps nothing that can be executed. It has
 * lost all capabilities but those that opening the files of others takes, and no process
 * of the same user can look into it, nor dump its core. It may send descriptors through
 * the socket `up`, which it then cannot close; -1: through none.
 */
void confine_calls(void (*told)(long number), int up, char *refused, size_t size);

/*
 * From here on only what is in these folders can be opened; what is open stays so.
 * They are descriptors (O_PATH), so that no name decides what is open. folder: where
 * files may be made and removed, at any depth (that of the database: SQLite's log, the
 * control socket). sockets: where sockets may be made and removed, and nothing be
 * opened; -1: there is none.
 */
void confine_files(int folder, int sockets, char *refused, size_t size);

/*
 * For the process that mounts, starts workers, and unmounts. What it may not do,
 * its workers may not either, also those of a later version. So only what has
 * no place in any of them is taken: to reach into other processes, to load
 * modules or programs into the kernel, to mount, to become another user, and the
 * capabilities for that. As root only: a user unmounts through a program that
 * gains rights (fusermount3), and a process that forgoes those cannot start it. That
 * others of the same user cannot look into it holds for any user.
 */
void confine_supervisor(char *refused, size_t size);

#endif
