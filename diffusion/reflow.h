/* reflow.h -- rectified flow: straighter paths from a flow's own pairs (Liu et al. 2023).
 *
 * A flow couples each noise with the sample that its ODE makes of it.  Trained again on these pairs
 * instead of independent ones, the paths cross less and bend less, so few Euler steps follow them;
 * on nearly straight ones a student learns to go in a single step.  Both are the denoising loss
 * (loss.h) with .x0 and .eps given: velocity on schedule "flow" for reflow, and for the one step
 * weighting "x0" at the last time (reflow_one_step).  What is left is Params of the same network
 * and a SamplerSpec: "euler" with few steps, or "ddim" with 1 and END_CLEAN. */
#ifndef DIFFUSION_REFLOW_H
#define DIFFUSION_REFLOW_H
#include "diffusion/loss.h"
#include "diffusion/sampler.h"

/* The loop that runs `sampler`, one sample a row, and what its pairs need. */
typedef struct {
  SamplerLoop *loop;
  const Sampler *sampler;
  int dim;
  Rng noise;
  int rows;           /* of the last run */
  real *start, *last; /* [max_rows, row_stride(dim)] where it began, where it was before */
  double from, bent;  /* the time it was at; the integral below, times T, added up over rows */
} Reflow;

/* NULL and an error (FAIL_USAGE) if the sampler has noise or starts elsewhere than at the last
 * time.  spec as for sampler_loop_new, with k = 1; its stream also names the noise of the pairs. */
Reflow *reflow_new(Arena *arena, const Sampler *sampler, const Denoiser *denoiser,
                   const Params *params, const SamplerLoopSpec *spec, Error *error);

/* Fill eps and x0 [rows, row_stride(dim)] with `rows` pairs, a function of (seed, step, row). */
void reflow_pairs(Reflow *reflow, int rows, uint64_t step, const real *cond, real *eps, real *x0);

/* How bent the paths of the last pairs were: per row and dimension,
 *
 *   1/T int E |dx/dt - (x(T) - x(0)) / T|^2 dt,
 *
 * zero only for straight ones (Liu et al. 2023, sec. 2.1), of the polygon that the sampler steps
 * along; it must end at a time, not at clean data. */
double reflow_straightness(const Reflow *reflow);

/* Pairs for the loss that distils one step: at the last time of the schedule. */
LossInputs reflow_one_step(const Schedule *schedule, Tensor *eps, Tensor *x0, Tensor *cond);

#endif
