/* dpok.h -- the loss of dpok, for the algorithm and for tests. */
#ifndef RL_DPOK_H
#define RL_DPOK_H
#include "rl/algos/ratio.h"

/* mean of -min(A rho, A clip(rho, 1 - e, 1 + e)) + kl KL(p || p_reference) / D, a SUM scalar;
 * `step` and `reference` are the transitions of the rows by the weights that are trained and by
 * those that came.  `distance` is the mean of KL / D, a SUM scalar. */
Tensor *dpok_loss(Ratio *ratio, const FinetuneInputs *in, const Transition *step,
                  const Transition *reference, double clip, double kl, Tensor **distance);

#endif
