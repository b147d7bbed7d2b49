/* denoiser_residual.h -- the residual layer-norm network of IDQL (Hansen-Estruch et al. 2023). */
#ifndef POLICY_DENOISER_RESIDUAL_H
#define POLICY_DENOISER_RESIDUAL_H
#include "policy/nets/denoiser_mlp.h"

enum { RESIDUAL_MAX_BLOCKS = 8 };

/* `blocks` 1 to RESIDUAL_MAX_BLOCKS (IDQL: 3), `hidden` IDQL's 256; else as vector_mlp_new. */
Denoiser *vector_residual_new(Arena *arena, Params *p, const VectorSpec *spec);

#endif
