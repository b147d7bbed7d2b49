/* critic.h -- Q(s, a): an ensemble of networks, and the one value that its members stand for.
 *
 * Ensembles, layer norm and lower bounds are settings of whoever has critics, so that any method
 * can have them: REDQ's and EDAC's many members, ReBRAC's norm (Tarasov et al. 2023), the lower
 * confidence bound of Ghasemipour et al. 2022. */
#ifndef POLICY_CRITIC_H
#define POLICY_CRITIC_H
#include "core/config.h"
#include "policy/blocks.h"
#include "policy/nets/mlp.h"

/* the network; `critics` is listed beside them by each who has it, with its own default */
#define CRITIC_FIELDS(F)                                                                           \
  F(INT, critic_layers, 0, 0, 7, "hidden layers of a critic; 0: as published")                     \
  F(TEXT, critic_activation, "own", "own|relu|mish|gelu|silu|tanh", NULL,                          \
    "after every hidden layer of a critic; own: as published")                                     \
  F(TEXT, layernorm, "none", "none|before|after", NULL,                                            \
    "layer norm in the critics, before or after the activation")

/* how its members become one value */
#define VALUE_FIELDS(F)                                                                            \
  F(TEXT, value, "min", "min|mean|lower", NULL,                                                    \
    "the value that critics stand for: the least, the mean, the mean - rho std over them")         \
  F(FLOAT, rho, 1.0, 0, 1000, "value=lower: standard deviations below the mean")

typedef struct {
  int members, layers; /* hidden layers */
  Map activation;
  MlpNorm norm;
  double norm_eps; /* 0: 1e-5 */
  int inputs, hidden;
} CriticSpec;

typedef struct {
  Mlp net;
  int members;
  Params *online, *target; /* blocks "critic" and "critic_target"; no numbers until allocated */
} Critic;

/* Declare both blocks. */
Critic *critic_new(Arena *arena, Blocks *blocks, const CriticSpec *spec);
void critic_init(Critic *critic, uint64_t seed); /* both at the initial weights of this seed */

/* Q(s, a) by these numbers: obs [1, 1, *], act [k, 1, *] -> [k, 1, members] */
Tensor *critic_q(const Critic *critic, Graph *g, const Params *params, Tensor *obs, Tensor *act);

/* q [k, 1, members] -> [k, 1, 1]: their least, their mean, or mean - rho std, the standard
 * deviation over the members (dividing by their number).  kind: a choice of VALUE_FIELDS. */
Tensor *critic_value(Tensor *q, const char *kind, double rho);

#endif
