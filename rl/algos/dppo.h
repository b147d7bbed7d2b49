/* dppo.h -- the loss of dppo, for the algorithm and for tests. */
#ifndef RL_DPPO_H
#define RL_DPPO_H
#include "rl/algos/ratio.h"

/* ln p of one number of an action is kept within these, as in the published code */
#define DPPO_LEAST (-5.0)
#define DPPO_MOST  2.0

typedef struct {
  Tensor *next; /* [1, 1, dim]: x' as it was drawn */
  Tensor *old;  /* [1, 1, 1]: the mean over dim of ln p(x' | x), kept within the bounds, then */
  Tensor *advantage, *clip; /* [1, 1, 1]: with its discount; the step's clip range */
} DppoInputs;

/* mean max(-A rho, -A clip(rho, 1 - e, 1 + e)), rho = exp(mean ln p - old): a SUM scalar */
Tensor *dppo_loss(Ratio *ratio, const Transition *step, const DppoInputs *in);

/* e of fine-tuned step i of n, from the noisiest: base + (clip - base) (exp(rate i / (n - 1)) - 1)
 * / (exp(rate) - 1); n 1: clip. */
double dppo_clip(double base, double clip, double rate, int i, int n);

#endif
