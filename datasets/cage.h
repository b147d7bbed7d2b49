/* cage.h -- what the program diffrl-hdf5 gives up once its files are open.
 *
 * A hostile file may take over the library that reads it.  In the cage a process can still compute,
 * allocate, read and write the files that it has open, and end; it can open no file, start no
 * program and reach no network.  Linux's seccomp filter; nothing where the kernel has none. */
#ifndef DATASETS_CAGE_H
#define DATASETS_CAGE_H
#include <stdbool.h>

/* Does this kernel have filters? */
bool cage_there(void);

/* From here on every system call outside the list fails with EPERM, for this process and for ever.
 * Does nothing in builds with sanitizers, which make calls of their own.  False if the kernel
 * refuses. */
bool cage_enter(void);

#endif
