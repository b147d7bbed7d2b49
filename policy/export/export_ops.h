/* export_ops.h -- printing a sealed tape as C: one emitter for each op that a policy may use.
 *
 * Everything is printed with the prefix walk_; export.c puts the policy's name in its place. */
#ifndef POLICY_EXPORT_OPS_H
#define POLICY_EXPORT_OPS_H
#include "core/tape/op.h"
#include <stdio.h>

enum { EXPORT_MAX_STREAMS = 4096, EXPORT_MAX_WIDTHS = 1024 };

/* What has been printed so far.  Row values lie in the state's memory, which the C calls m. */
typedef struct {
  const Graph *g; /* sealed, for lanes of one row, and run once: its once-nodes have values */
  FILE *tables, *steps;
  size_t *place;                /* by node id: where inputs and kept nodes lie in m */
  bool *printed;                /* by node id: has it a table? */
  int zeros[EXPORT_MAX_WIDTHS]; /* widths that there is a row of zeros of, and how many */
  int widths;
  const char *stream[EXPORT_MAX_STREAMS];
  int streams;
  bool refused;
  Error *error; /* the first reason */
} Export;

/* Print the row-nodes as calls; false if it was refused. */
bool export_tape(Export *e);

/* "static const float walk_NAME[] = { .. };": rows of n numbers, ld apart. */
void export_table(Export *e, const char *name, const real *values, int rows, int n, int ld);

void export_refuse(Export *e, Failure kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Has policy/export/text/walk.c a section with this title? */
bool export_has(const char *title);

#endif
