/* run.h -- a run is a folder, and one process at a time writes to it. */
#ifndef RL_RUN_H
#define RL_RUN_H
#include "core/arena.h"
#include "core/error.h"
#include <stdbool.h>

typedef struct {
  const char *folder;
  const char *config, *metrics, *eval, *measures, *figures, *last, *best, *report,
      *lock_path; /* its files */
  int lock;
  bool fresh, made; /* a new run; and its folder is new, too */
} Run;

/* The names of its files; nothing is touched.  For ranks that do not write. */
void run_name(Run *run, Arena *arena, const char *folder);

/* Make the folder (and its parents) and take its lock.  With `fresh` a folder that holds a run is
 * refused with the command that resumes it; without, one that holds none.  FAIL_USAGE if another
 * process is writing to it. */
bool run_open(Run *run, Arena *arena, const char *folder, bool fresh, Error *error);

/* Give the lock back.  A new run that was refused before it had a config.json leaves no lock, and
 * no folder if it made it. */
void run_close(Run *run);

/* Before a new run: no file of it may be an older one's, of a run that has lost its config.json.
 * Logs are removed; checkpoints are refused (FAIL_USAGE), but for a `last` if the new run begins by
 * replacing it. */
bool run_clear(const Run *run, bool replaces_last, Error *error);

/* Before a run goes on: remove drafts that a killed process left; what cannot be removed stays. */
void run_sweep(const Run *run);

#endif
