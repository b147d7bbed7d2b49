/* fpo.h -- the loss of fpo, for the algorithm and for tests. */
#ifndef RL_FPO_H
#define RL_FPO_H
#include "rl/algos/matching.h"

typedef struct {
  Tensor *x0, *eps, *time; /* [k, 1, dim] twice, [k, 1, 1]: k noise levels of one action */
  Tensor *cond;            /* [1, 1, c] */
  Tensor *old;             /* [k, 1, 1]: the losses by the weights that drew */
  Tensor *advantage;       /* [1, 1, 1] */
} FpoInputs;

/* The denoising loss of each noise level, at most `most`: [k, 1, 1]. */
Tensor *fpo_losses(Graph *g, const Model *model, const FpoInputs *in, double most);

/* each: FPO++, a ratio for every noise level and a quadratic penalty where the advantage is below
 * 0; else FPO's one ratio of their mean.  A SUM scalar. */
Tensor *fpo_loss(Ratio *ratio, Tensor *losses, const FpoInputs *in, double clip, bool each);

#endif
