/* likelihood.h -- ln p(x) of a diffusion model, by the instantaneous change of variables.
 *
 * Along the probability-flow ODE dx/dt = v(x, t) from data to noise
 *
 *   ln p(x_from) = ln p_to(x_to) + integral of div v dt     Chen et al. 2018, Song et al. 2021 (39)
 *
 * The divergence is exact (a backward pass a dimension), or estimated with one probe a sample that
 * stays the same all along the path: unbiased, and a probe drawn anew in each evaluation would be
 * noise to the solver's error control.  x_to is taken to be normal; where the schedule ends
 * with some signal left, that is a bias (1e-3 nats for vp-sde), which an exact prior takes away. */
#ifndef DIFFUSION_LIKELIHOOD_H
#define DIFFUSION_LIKELIHOOD_H
#include "diffusion/field.h"
#include "diffusion/ode.h"

/* ln p_to(x), x [dim] */
typedef double LogDensity(void *user, const double *x, int dim);

typedef enum { PROBE_SIGNS, PROBE_NORMAL } Probe; /* entries +-1 (Rademacher), or N(0, 1) */

typedef struct {
  GraphSpec graph;       /* kernels, pool, seed, max_rows; trained must be NULL */
  Divergence divergence; /* exact, or by probe */
  Probe probe;
  const char *stream;         /* of probes; needed where they are drawn */
  OdeSpec ode;                /* dp5; zeros are its own */
  double from, to;            /* times; 0: the schedule's first and last */
  LogDensity *prior;          /* NULL: N(0, 1), or N(0, s^2) where a stays 1 */
  void *user;                 /* of the prior */
  int cond;                   /* width of the condition, 0: none */
  const Guide *const *guides; /* NULL, or a list that ends with NULL */
} LikelihoodSpec;

typedef struct Likelihood Likelihood;

/* NULL and an error (FAIL_USAGE) for settings that make no sense, where the network does not tell
 * the velocity at an end, and for what field_new and ode_new refuse.  Lives in the arena. */
Likelihood *likelihood_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                           const LikelihoodSpec *spec, Error *error);

typedef struct {
  int rows;
  uint64_t step;
  const uint32_t *row_ids; /* counters of probes; NULL: 0, 1, .. */
  const real *cond;        /* [rows, row_stride(c)], or NULL */
  const double *probe;     /* [rows, dim] given ones, or NULL: drawn */
} LikelihoodRows;

/* ln p of x [rows, dim] in nats -> log_p [rows]; latent [rows, dim] (nullable): x_to.  result
 * [rows] (nullable): evaluations.  false and an error (FAIL_DIVERGED) where a path did not arrive;
 * that sample's log_p is NAN.  In bits: bits_per_dim(-log_p, ..) of bound.h. */
bool likelihood_run(Likelihood *l, const LikelihoodRows *who, const double *x, double *log_p,
                    double *latent, OdeResult *result, Error *error);

#endif
