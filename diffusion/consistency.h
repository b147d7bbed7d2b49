/* consistency.h -- consistency models (Song et al. 2023), improved (Song & Dhariwal 2024).
 *
 * A consistency function says from any point of an ODE trajectory where it ends:
 *
 *   f(x, t) = x_0 at sigma_min,   sigma = s/a,  y = x/a
 *
 * so it is a Denoiser that says x_0, and sampler "consistency" (x_0, noise again) or one step of
 * ddim samples from it.  Any denoiser becomes one by its answer F in the form of EDM:
 *
 *   f = c_skip y + c_out F,   c_skip = d^2 / ((sigma - sigma_min)^2 + d^2)
 *                             c_out = (sigma - sigma_min) d / sqrt(sigma^2 + d^2)
 *
 * At sigma_min, the first time of the schedule, it is y, whatever the network says. */
#ifndef DIFFUSION_CONSISTENCY_H
#define DIFFUSION_CONSISTENCY_H
#include "diffusion/leap.h"

/* f of this network with the same Params; data_std is the inner one's (0: 1). */
Denoiser *consistency_denoiser(Arena *arena, const Denoiser *inner);

/* ---- objectives ------------------------------------------------------------------------------ */

/* A leap goes from t to the less noisy u.  The loss is
 *
 *   weight distance(f(x_t, t), stop-gradient f-(x_u, u))
 *
 *   distillation   x_t = a x_0 + s eps, x_u where the teacher's ODE step leads from there
 *   training       x_u = a x_0 + s eps with the same x_0 and eps: no teacher */
typedef struct {
  const Params *target;    /* of f-: an average, or the trained ones themselves */
  const Denoiser *teacher; /* NULL: training */
  const Params *teacher_params;
  double huber; /* 0: distance = |d|^2; c: sqrt(|d|^2 + c^2) - c (iCT: consistency_huber) */
} ConsistencySpec;

double consistency_huber(int dim); /* 0.00054 sqrt(dim) */

/* A SUM scalar: the mean over rows; of |d|^2 over dimensions too.  Random stream `noise`. */
Tensor *consistency_loss(Graph *g, const LeapDraw *draw, const ConsistencySpec *spec,
                         const Params *params, const char *noise, Tensor *x0, Tensor *cond);

/* ---- which leaps ----------------------------------------------------------------------------- */

/* Distillation: leaps_cut of a chain of any solver down to the schedule's first time, as "edm_heun"
 * with spacing "karras" and 39 steps.  Training: the levels of such a grid (at most leaps->most +
 * 1), leaps without stages; scratch is given back. */
bool consistency_grid(Leaps *leaps, Arena *scratch, const char *spacing, int levels, Error *error);

/* What iCT adds: weights 1 / (sigma_t - sigma_u), and leaps drawn as if ln sigma_u ~ N(mean,
 * std^2), mean -1.1 and std 2 as published. */
void consistency_improve(Leaps *leaps, double mean, double std);

/* ---- schedules over training ----------------------------------------------------------------- */

/* Levels at step k of K: ceil(sqrt(k/K ((s1 + 1)^2 - s0^2) + s0^2) - 1) + 1, published s0 = 2,
 * s1 = 150 */
int consistency_levels(int64_t k, int64_t K, int s0, int s1);

/* min(s0 2^floor(k/K'), s1) + 1 with K' = floor(K / (log2 floor(s1/s0) + 1)), s0 = 10, s1 = 1280 */
int consistency_levels_improved(int64_t k, int64_t K, int s0, int s1);

/* Decay of the target's average: exp(s0 ln(mu0) / (levels - 1)), mu0 = 0.95; 0 improved. */
double consistency_decay(int levels, int s0, double mu0);

#endif
