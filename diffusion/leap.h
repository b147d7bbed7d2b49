/* leap.h -- the steps of a sampler cut into equal pieces, one drawn for every row of a batch.
 *
 * Distillation asks a teacher to go a short way from a noise level that differs from row to row.
 * Every way it can go is a slice of one stage table: two DDIM steps (progressive distillation), one
 * Heun step (consistency distillation).  So a leap is a slice of a Sampler, its numbers are one row
 * of a table, and a batch row draws one of these rows.  The table is given, not recorded: the chain
 * may be halved or refined while the tape stays. */
#ifndef DIFFUSION_LEAP_H
#define DIFFUSION_LEAP_H
#include "diffusion/sampler.h"

enum { LEAP_STAGES = 8, LEAP_OWN = 2 };

typedef struct {
  Level from, to;
  const Stage *stage;    /* [stages] of the teacher */
  double chance, weight; /* chance: of being drawn, all adding up to 1 */
  double own[LEAP_OWN];  /* what else an objective needs */
} Leap;

typedef struct {
  const Denoiser *student; /* the one asked where leaps begin and end */
  int most, count;         /* leaps there is room for; leaps now, from noise to data */
  int stages;              /* of a leap; 0: levels alone */
  Leap *leap;              /* [most] */
  bool rebase[LEAP_STAGES];
  bool clip, data_form; /* as in the chain */
  double low, high;
  real *values;  /* [most, row_stride(columns)] */
  Tensor *given; /* NULL until leaps_record */
} Leaps;

Leaps *leaps_new(Arena *arena, const Denoiser *student, int most, int stages);

/* Leap i is the stages i * stages, .. of the chain, all equally likely and of weight 1.  The chain
 * is kept, not copied; it may be replaced by another of the same method.  false (FAIL_USAGE) if it
 * has noise, guides or memory across the cuts, or more leaps than there is room for. */
bool leaps_cut(Leaps *leaps, const Sampler *chain, Error *error);

/* Leap i goes from level i to i + 1, without a teacher. */
bool leaps_between(Leaps *leaps, const Level *level, int levels, Error *error);

/* ---- on the tape ----------------------------------------------------------------------------- */

/* numbers of one end of a leap, and how the student is asked for x_0 there: [1, 1, 1] each */
typedef struct {
  Tensor *t, *a, *s; /* the schedule's time and level */
  Tensor *time, *scale, *to_x, *to_out;
} LeapEnd;

typedef struct {
  const Leaps *leaps;
  Tensor *numbers; /* [1, 1, columns] of the leap that a row drew */
  LeapEnd from, to;
  Tensor *weight, *own[LEAP_OWN];
} LeapDraw;

/* Each row draws a leap: random stream `name`.  After the first cut; once for one Leaps. */
LeapDraw leaps_record(Leaps *leaps, Graph *g, const char *name);

/* Hand chances, weights, own numbers and stages to the tape: before its first run, and after every
 * change.  false (FAIL_USAGE) where the student's output does not tell x_0. */
bool leaps_give(Leaps *leaps, Error *error);

Tensor *leap_noised(const LeapEnd *end, Tensor *x0, Tensor *eps); /* a x_0 + s eps */

/* What the student says x_0 is. */
Tensor *leap_x0(Graph *g, const Leaps *leaps, const LeapEnd *end, const Params *params, Tensor *x,
                Tensor *cond);

/* Where the teacher gets from x.  Not detached. */
Tensor *leap_run(Graph *g, const LeapDraw *draw, const Denoiser *teacher, const Params *params,
                 Tensor *x, Tensor *cond);

#endif
