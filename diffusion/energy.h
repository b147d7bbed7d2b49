/* energy.h -- scalar functions of noisy data whose gradient guides (guide_energy), and how to learn
 * them.
 *
 * To sample p(x_0) e^r(x_0), r = beta E, the score at time t needs the gradient of
 *
 *   f(x_t, t) = ln E[e^r(x_0) | x_t],      the exact energy (Lu et al. 2023, theorem 3.1)
 *
 * and not of E[r(x_0) | x_t], though both are r where there is no noise.  The first is learned by
 * telling which of K noisy samples had how much energy, the second by regression. */
#ifndef DIFFUSION_ENERGY_H
#define DIFFUSION_ENERGY_H
#include "core/ops/ops.h"
#include "diffusion/schedule.h"

typedef struct Energy Energy;
struct Energy {
  /* x [k, 1, dim], the schedule's time [k or 1, 1, 1], cond or NULL -> [k, 1, 1]; params are NULL
   * for a function that has none */
  Tensor *(*value)(const Energy *e, Graph *g, const Params *params, Tensor *x, Tensor *time,
                   Tensor *cond);
};

/* K samples a row, all for the row's condition */
typedef struct {
  const Energy *energy;
  const Params *params;
  const Schedule *schedule;
  const char *stream; /* random streams "<stream> time" and "<stream> noise" */
  Tensor *x0;         /* [K, 1, dim] */
  Tensor *reward;     /* [K, 1, 1]: r of each */
  Tensor *cond;       /* [1, 1, c] or NULL */
} EnergyBatch;

/* - sum_i softmax_i(r) ln softmax_i(f(x_t^i, t)), mean over rows; a row's samples share one t and
 * each has its noise (contrastive energy prediction, Lu et al. 2023).  Learns f up to a function of
 * t and cond.  A SUM scalar. */
Tensor *energy_contrastive(const EnergyBatch *batch);

/* (f(x_t, t) - r)^2, mean over samples: learns E[r | x_t], which is the wrong energy at every
 * t > 0.  Here to compare with. */
Tensor *energy_regression(const EnergyBatch *batch);

#endif
