/* denoiser_mlp.h -- eps(x_t, t, cond) for vectors: the network of Diffusion-QL. */
#ifndef POLICY_DENOISER_MLP_H
#define POLICY_DENOISER_MLP_H
#include "diffusion/denoiser.h"

/* Declare the network's parameters in p.  The result holds shapes and slots, no numbers: apply it
 * with any Params of this layout (online, target, average).  cond: width of the condition. */
Denoiser *mlp_denoiser_new(Arena *arena, Params *p, const Schedule *schedule, Prediction predicts,
                           int dim, int cond, int hidden);

#endif
