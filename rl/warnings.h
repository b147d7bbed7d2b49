/* warnings.h -- what went wrong in a run that goes on all the same: sentences that the terminal,
 * the result of `train`, config.json and the first box of the report tell.
 *
 * A happening (Q left its range at step n) is told when it is seen and stays; a state (the episodes
 * of the last evaluation were short) is judged anew each time and told at the end.  `warnings` may
 * be NULL everywhere: then nobody listens. */
#ifndef RL_WARNINGS_H
#define RL_WARNINGS_H
#include "core/json.h"
#include <stdint.h>

enum { WARNINGS_MOST = 16, WARNINGS_TEXT = 640 };

typedef struct {
  char key[24];   /* of its kind, such as "q_range": at most one of each */
  int64_t step;   /* of the happening, or when the state was last judged */
  bool happening; /* told already */
  char text[WARNINGS_TEXT];
} Warning;

typedef struct {
  Warning item[WARNINGS_MOST];
  int count;
  int64_t step; /* that the run is at */
  bool changed; /* since they were written */
} Warnings;

/* The first of its key is told and kept, later ones are not looked at. */
void warnings_happened(Warnings *warnings, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Keep it while it holds; when it no longer does, it is gone. */
void warnings_state(Warnings *warnings, const char *key, bool holds, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Those behind the step are seen again when their steps are done again: forget them. */
void warnings_rewind(Warnings *warnings, int64_t step);

/* The elements of an array: objects of key, step, happening and text; and back. */
void warnings_write(Warnings *warnings, JsonText *out);
void warnings_read(Warnings *warnings, const Json *array);

#endif
