/* bound.h -- the variational bound on -ln p(x_0), term by term.
 *
 * A chain over times t_0 < .. < t_{K-1} makes the bound a sum (Ho et al. 2020, eq. 5):
 *
 *   prior    KL(q(x_{K-1} | x_0) || N(0, prior^2))
 *   k >= 1   KL(q(x_{k-1} | x_k, x_0) || p(x_{k-1} | x_k))          two Gaussians
 *   k = 0    -ln p(x_0 | x_0th)
 *
 * With the variance of the posterior, term k >= 1 is (SNR_{k-1} - SNR_k) |x_0 - x_0hat|^2 / 2: one
 * expected error per time gives every chain's bound (Watson et al. 2021).
 *
 * Term 0 is the density of N(x_0hat, v); for data of 2 or more bins the mass of x_0's bin, the
 * first and the last bin open to the outside (Ho et al. 2020, eq. 13), by the normal distribution
 * function itself, not by the tanh in its place.  v is the posterior's of step 1 on all n of a
 * discrete schedule, as published, and s^2 / a^2 on times of one's own: those may lie close. */
#ifndef DIFFUSION_BOUND_H
#define DIFFUSION_BOUND_H
#include "diffusion/denoiser.h"

typedef struct {
  const double *times; /* [steps], growing; NULL: every n of a discrete schedule */
  int steps;
  bool large;       /* fixed variance: that of q(x_k | x_{k-1}) instead of the posterior's */
  int bins;         /* of the data, evenly from low to high; 0: real numbers */
  double low, high; /* both 0: -1, 1.  Also where `clip` ends */
  bool clip;        /* x_0hat */
} BoundSpec;

/* one step of the chain, from k to k - 1 or to the data */
typedef struct {
  Level at;
  Form x0;                  /* output -> x_0 */
  double c0, log_variance;  /* posterior: mean c0 x_0 + c1 x, ln v; for k = 0 the decoder's */
  double log_low, log_high; /* learned: what v = -1 and v = 1 mean */
  double log_model;         /* fixed: ln of the model's variance */
} BoundStep;

typedef struct {
  BoundSpec spec;
  const Denoiser *denoiser;
  int steps;
  BoundStep *step;
} Bound;

/* NULL and an error (FAIL_USAGE) for times that do not grow or where x_0 cannot be told from the
 * output, for a continuous schedule without times, and for one bin.  Lives in the arena. */
Bound *bound_new(Arena *arena, const BoundSpec *spec, const Denoiser *denoiser, Error *error);

typedef struct {
  Tensor *nats;    /* [k, 1, 1]: sum over dimensions */
  Tensor *squares; /* [k, 1, 1]: |x_0 - x_0hat|^2 */
} BoundTerm;

/* The term of step `index` [k, 1, 1] of each row, given what the network said at x = a x_0 + s eps
 * [k, 1, dim].  v is NULL where the denoiser learns no variance. */
BoundTerm bound_term(const Bound *bound, Tensor *index, Tensor *x0, Tensor *x, Tensor *output,
                     Tensor *v);

/* The same, evaluating the network. */
BoundTerm bound_record(Graph *g, const Bound *bound, const Params *params, Tensor *index,
                       Tensor *x0, Tensor *eps, Tensor *cond);

/* Expectation of the prior term over rows x0 [rows, row_stride(dim)], nats. */
double bound_prior(const Bound *bound, int rows, const real *x0);

/* ---- all terms of a batch -------------------------------------------------------------------- */

/* One tape, asked for each step. */
typedef struct BoundRun BoundRun;
BoundRun *bound_run_new(Arena *arena, const Bound *bound, const Params *params,
                        const GraphSpec *graph /* trained NULL */, const char *stream,
                        int cond /* its width, 0: none */);

/* Means over the rows, one draw of noise per row and term: nats [steps + 1], the prior's last, and
 * squares [steps] (nullable); each [rows] (nullable): the sum of every row's nats.  Returns the sum
 * of the nats: an unbiased estimate of the bound. */
double bound_run(BoundRun *run, int rows, uint64_t step, const uint32_t *row_ids, const real *x0,
                 const real *cond, double *nats, double *squares, double *each);

/* Bits per dimension.  cell: 1 for masses (bins); for densities of dequantised data the width of
 * one value's cell, 2/256 for 8 bits in [-1, 1] (+7 bits), 1/256 in [0, 1] (+8). */
double bits_per_dim(double nats, int dim, double cell);

#endif
