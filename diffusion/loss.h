/* loss.h -- training objectives of a denoiser. */
#ifndef DIFFUSION_LOSS_H
#define DIFFUSION_LOSS_H
#include "diffusion/denoiser.h"

/* L_simple: mean over rows and dimensions of (target - net(a x_0 + s eps, t, cond))^2 with
 * t uniform over the schedule, target eps or x_0 (Ho et al. 2020, eq. 14).  x0 [1, 1, dim]; a SUM
 * scalar.  Random streams "<stream> time" and "<stream> noise". */
Tensor *diffusion_loss(Graph *g, const Denoiser *denoiser, const Params *params, const char *stream,
                       Tensor *x0, Tensor *cond);

#endif
