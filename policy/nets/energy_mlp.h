/* energy_mlp.h -- a scalar function f(x_t, t, cond) of noisy vectors, whose gradient guides. */
#ifndef POLICY_ENERGY_MLP_H
#define POLICY_ENERGY_MLP_H
#include "diffusion/energy.h"

typedef struct {
  const Schedule *schedule;
  int dim, cond; /* of a vector, of the condition (0: none) */
  int hidden, layers;
} EnergyMlpSpec;

/* Declare its parameters in p.  The result holds shapes and slots, no numbers: it is asked with any
 * Params of this layout.  At its initial weights it is 0 everywhere, so it does not guide before it
 * has learned. */
const Energy *energy_mlp_new(Arena *arena, Params *p, const EnergyMlpSpec *spec);

#endif
