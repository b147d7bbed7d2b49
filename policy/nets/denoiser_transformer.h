/* denoiser_transformer.h -- the diffusion transformer (DiT; Peebles & Xie 2023) for pictures and
 * trajectories. */
#ifndef POLICY_DENOISER_TRANSFORMER_H
#define POLICY_DENOISER_TRANSFORMER_H
#include "policy/nets/denoiser_mlp.h"

enum { TRANSFORMER_MAX_BLOCKS = 8 };

typedef struct {
  VectorSpec vector; /* dim is the plane's size; cond e.g. a label, one-hot; octaves unused */
  Plane plane;       /* height 1: a trajectory */
  int patch;         /* positions of a token along each axis; trajectories: along their length */
  int heads;
} TransformerSpec;

/* False with a sentence: a plane that patches do not cover, a width that heads do not share. */
bool transformer_fits(const TransformerSpec *spec, Error *error);

/* Declare the parameters in p; CHECKs transformer_fits.  The network is zero before its first step
 * of training, and each block the identity. */
Denoiser *transformer_new(Arena *arena, Params *p, const TransformerSpec *spec);

#endif
