/* progress.h -- how far a long task is, for people on stderr: a live line on a terminal, elsewhere
 * a line now and then, and nothing of a task that is soon done. */
#ifndef CORE_PROGRESS_H
#define CORE_PROGRESS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
  char what[96];       /* "evaluating 100 episodes" */
  const char *unit;    /* "steps" */
  double began, shown; /* seconds; shown 0: not yet */
} Progress;

/* Begin now.  what is copied; unit is not. */
void progress_begin(Progress *progress, const char *unit, const char *what, ...)
    __attribute__((format(printf, 3, 4)));

/* `done` of `all` are done: "what: done of all units, 0:12 left", the time from what was done so
 * far.  Called as often as one likes; one thread at a time.  progress may be NULL. */
void progress_at(Progress *progress, int64_t done, int64_t all);

/* Take the live line away; nothing if it was never shown. */
void progress_end(const Progress *progress);

/* A live line without an end that is known, such as "making figures": on a terminal alone; "" takes
 * it away. */
void progress_live(const char *what);

/* A duration that is read at a glance: 0:07, 3:05, 2:00:00, 4 d 03:00; "?" if not a number. */
enum { PROGRESS_TIME = 24 };
const char *progress_time(char text[PROGRESS_TIME], double seconds);

#endif
