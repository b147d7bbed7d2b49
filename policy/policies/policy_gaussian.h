/* policy_gaussian.h -- Gaussian and deterministic policies on the tape, for the losses of those
 * who train them. */
#ifndef POLICY_GAUSSIAN_H
#define POLICY_GAUSSIAN_H
#include "policy/policy.h"

#define GAUSSIAN_FIELDS(F)                                                                         \
  F(INT, actor_layers, 2, 1, 7, "hidden layers of the policy (ReLU)")                              \
  F(TEXT, deviation, "tanh", "tanh|clip|free", NULL,                                               \
    "log deviation: of the state, in [-5, 2] by tanh or in [-20, 2] by clipping; or one vector")   \
  F(BOOL, squashed, true, NULL, NULL, "actions are the tanh of the normal; else their mean is")
typedef struct {
  Policy base; /* first: a GaussianPolicy is a Policy */
  CONFIG_MEMBERS(GAUSSIAN_FIELDS)
  Mlp trunk;
  int log_std; /* the slot of deviation=free; else -1 */
} GaussianPolicy;

/* a = tanh(u), u ~ N(mean, std), and log pi(a) [1, 1, 1] (nullable; Haarnoja et al. 2018, appendix
 * C); or, not squashed, a ~ N(tanh(mean), std).  noise [k, 1, width]; NULL: the centre, without a
 * density.  k comes from the noise. */
Tensor *gaussian_act(const Policy *policy, Graph *g, const Params *actor, Tensor *obs,
                     Tensor *noise, Tensor **log_prob);

/* log pi(act) of an action in [-1, 1], [1, 1, 1]: of the normal around tanh(mean), or, squashed,
 * around mean of tanh^-1(act).  `factor` (nullable) [1, 1, width] weighs the entries. */
Tensor *gaussian_log_prob(const Policy *policy, Graph *g, const Params *actor, Tensor *obs,
                          Tensor *act, Tensor *factor);

/* ---- a policy of one action ------------------------------------------------------------------ */

/* tanh(trunk(obs)): [1, 1, width] */
Tensor *deterministic_act(const Policy *policy, Graph *g, const Params *actor, Tensor *obs);

#endif
