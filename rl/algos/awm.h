/* awm.h -- the loss of awm, for the algorithm and for tests. */
#ifndef RL_AWM_H
#define RL_AWM_H
#include "rl/algos/matching.h"

/* What three weights say to a sample at one noise level.  reference: nullable where beta is 0.  A
 * SUM scalar. */
typedef struct {
  const LossTerms *now, *old, *reference;
} AwmTerms;
Tensor *awm_loss(Ratio *ratio, const AwmTerms *terms, Tensor *advantage, double clip, double beta);

#endif
