/* timesteps.h -- the K steps that lose least of the variational bound (Watson et al. 2021).
 *
 * The bound is a sum over the steps taken.  A step from level t down to s costs, for D dimensions
 * and the posterior's variance b (ddpm),
 *
 *   E KL(q(x_s | x_t, x_0) || p(x_s | x_t)) = (SNR_s - SNR_t) / 2 mse_t,
 *   mse_t = E |x_0 - x0_hat(x_t, t)|^2,
 *
 * and for another model variance v = r b that over r, and D/2 (ln r + 1/r - 1).  So N numbers
 * price all N (N - 1) / 2 steps.  As mse grows with t, splitting a step never costs more: the
 * shortest path must be layered by its number of steps, or it would take all of them. */
#ifndef DIFFUSION_TIMESTEPS_H
#define DIFFUSION_TIMESTEPS_H
#include "diffusion/denoiser.h"

typedef enum {
  STEP_SMALL, /* v = b: ddpm */
  STEP_LARGE, /* v = b s_t^2 / s_s^2, the noise added between the two: ddpm_large */
} StepVariance;

/* one step, in nats */
double timesteps_cost(const Level *t, const Level *s, double mse, int dim, StepVariance variance);

/* All K from one run: time O(K N^2), memory O(K N). */
typedef struct {
  const Level *level; /* [levels] */
  int levels, most;
  double *cost; /* [most + 1, levels]: least cost from level i to 0 in k steps; INFINITY: none */
  int *next;    /* [most + 1, levels]: where the first of these steps goes */
} Timesteps;

/* level [levels], from data to noise, all noisy; kept, not copied.  mse [levels]; most <
 * levels. */
Timesteps *timesteps_new(Arena *arena, const Level *level, const double *mse, int levels, int dim,
                         StepVariance variance, int most);

double timesteps_total(const Timesteps *plan, int steps);

/* steps + 1 times from noise to data.  As SamplerSpec: .times with `steps` and END_LAST at .final =
 * times[steps], or with steps + 1 and END_CLEAN. */
void timesteps_path(const Timesteps *plan, int steps, double *times);

/* ---- mse_t of a denoiser --------------------------------------------------------------------- */

/* One question, recorded once and replayed for every level. */
typedef struct TimestepsError TimestepsError;

/* spec: kernels, pool, seed, max_rows; trained NULL.  cond: width of the condition, 0: none. */
TimestepsError *timesteps_error_new(Arena *arena, const Denoiser *denoiser, const Params *params,
                                    const GraphSpec *spec, int cond);

/* mse [levels] from data rows x0 [rows, row_stride(dim)]; the same noise at every level, so that
 * mse is as smooth in t as the denoiser.  false (FAIL_USAGE) where the output does not tell x_0. */
bool timesteps_error_run(TimestepsError *question, const Level *level, int levels, int rows,
                         uint64_t step, const real *x0, const real *cond, double *mse,
                         Error *error);

#endif
