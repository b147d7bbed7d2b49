/* field.h -- a network as a plain function of x and t, every row at a time of its own.
 *
 * Solvers that choose their own steps (ode.h, langevin.h) hold a point and a time for each sample;
 * the tape is recorded once and asked with both.  What the network says becomes what the solver
 * wants (x_0, eps, score or velocity, denoiser.h) by numbers of the row's own level, in double.
 *
 * Rows may be any of the samples in any order, so that finished samples leave the batch: `ids` says
 * which sample a row is, and its condition, probe and noise come along.  A row's answer does not
 * depend on the other rows, bit for bit.
 *
 * The divergence of the wanted field by x is either exact, sum_j d v_j / d x_j by a backward pass a
 * dimension, or Hutchinson's estimate e . (dv/dx) e by one, with a probe e a sample (Grathwohl et
 * al. 2019, eq. 8).  It is that of what is on the tape: guides whose own gradients it should see
 * must be recorded with t_grad_through. */
#ifndef DIFFUSION_FIELD_H
#define DIFFUSION_FIELD_H
#include "diffusion/denoiser.h"
#include "diffusion/guide.h"

typedef struct Field Field;

typedef enum { DIVERGENCE_NONE, DIVERGENCE_EXACT, DIVERGENCE_PROBE } Divergence;
enum { FIELD_EXACT_MOST = 16 }; /* dimensions of an exact divergence */

typedef struct {
  GraphSpec graph; /* kernels, pool, seed, max_rows; trained must be NULL */
  Prediction wanted;
  Divergence divergence;
  int cond;                   /* width of the condition, 0: none */
  const Guide *const *guides; /* NULL, or a list that ends with NULL */
} FieldSpec;

/* NULL and an error (FAIL_USAGE) for an exact divergence of too many dimensions, and where the tape
 * knows no derivative of the network.  Lives in the arena. */
Field *field_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                 const FieldSpec *spec, Error *error);

/* The samples that ids count, until the next call; kept by reference. */
typedef struct {
  const real *cond;        /* [samples, row_stride(cond)], or NULL */
  const double *probe;     /* [samples, dim] for DIVERGENCE_PROBE, or NULL */
  const uint32_t *row_ids; /* [samples] counters of random ops; NULL: the number of the sample */
  uint64_t step;
} FieldSamples;
void field_samples(Field *field, const FieldSamples *samples);

/* What is wanted at x [rows, dim] and t [rows] -> out [rows, dim] and its divergence [rows] (NULL:
 * not asked for).  ids [rows] NULL: rows are samples 0, 1, ..  Not finite where the network does
 * not tell (field_tells). */
void field_at(Field *field, int rows, const uint32_t *ids, const double *t, const double *x,
              double *out, double *divergence);

/* The same as an OdeSlope of y [rows, field_width]: x, and with a divergence its integral. */
void field_slope(void *field, int rows, const uint32_t *ids, const double *t, const double *y,
                 double *dy);
int field_width(const Field *field); /* dim, and 1 for a divergence */

/* false and an error (FAIL_USAGE) where the output does not tell what is wanted: eps without
 * signal, a velocity where the schedule has no slope. */
bool field_tells(const Field *field, double t, Error *error);

const Schedule *field_schedule(const Field *field);
Prediction field_wanted(const Field *field);
int field_dim(const Field *field);

#endif
