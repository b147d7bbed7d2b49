/* run.h -- a run is a folder, and one process at a time writes to it. */
#ifndef RL_RUN_H
#define RL_RUN_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>

typedef struct {
  const char *folder;
  const char *config, *metrics, *eval, *measures, *last, *best, *report; /* paths of its files */
  int lock;
} Run;

/* The names of its files; nothing is touched.  For ranks that do not write. */
void run_name(Run *run, Arena *arena, const char *folder);

/* Make the folder (and its parents) and take its lock.  With `fresh` a folder that holds a run is
 * refused with the command that resumes it; without, one that holds none.  FAIL_USAGE if another
 * process is writing to it. */
bool run_open(Run *run, Arena *arena, const char *folder, bool fresh, Error *error);
void run_close(Run *run);

#endif
