/* caged_program.c -- the program diffrl-hdf5, the only code that looks into files of data, in a
 * process of its own.
 *
 *   diffrl-hdf5 import HORIZON CHOICE NAME IN.. 3<>OUT   files -> the flat cache (cache.h)
 *   diffrl-hdf5 export <ROWS 3<>OUT                      rows (rows.h) -> a D4RL v2 file
 *
 * The output is open already: a file that needs no name cannot be left behind.  A hostile file may
 * take over the library that reads it, so files are met here, with limits on memory, time and what
 * is written, and in a cage once they are open (cage.h); the caller treats a crash like any other
 * refusal.  One message on stderr and exit status 3 for bad input, 1 if something else failed. */
#include "datasets/formats/caged_program.h"
#include "datasets/formats/hdf5_library.h"
#include "datasets/hdf5_process.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static void limit(int resource, rlim_t value) {
  struct rlimit old;
  getrlimit(resource, &old);
  if (value > old.rlim_max) value = old.rlim_max;
  setrlimit(resource, &(struct rlimit){ value, old.rlim_max });
}

void program_limit(uint64_t bytes) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  limit(RLIMIT_AS, (rlim_t)4 * bytes + ((rlim_t)1 << 30));
#endif
  limit(RLIMIT_CPU, HDF5_CPU_SECONDS(bytes));
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_NOFILE, 16 + HDF5_MAX_FILES * 2);
}

int main(int count, char **argument) {
  Error error = { 0 };
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  hdf5_start();
  bool done;
  if (count >= 6 && !strcmp(argument[1], "import"))
    done = import(strtoll(argument[2], NULL, 10), argument[3], argument[4], argument + 5, count - 5,
                  &error);
  else if (count == 2 && !strcmp(argument[1], "export"))
    done = hdf5_export(&error);
  else
    done = error_set(&error, FAIL_USAGE,
                     "usage: diffrl-hdf5 import HORIZON CHOICE NAME IN.. 3<>OUT | export <ROWS "
                     "3<>OUT");
  if (!done) fprintf(stderr, "%s\n", error.text);
  fflush(stderr);
  _exit(error.kind); /* what HDF5 would do at exit to a damaged file is not wanted */
}
