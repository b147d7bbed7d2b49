/* flow_grpo.h -- the loss of flow-grpo, for the algorithm and for tests. */
#ifndef RL_FLOW_GRPO_H
#define RL_FLOW_GRPO_H
#include "rl/algos/ratio.h"

typedef struct {
  double clip; /* e: ratios stay within 1 - e and 1 + e */
  double beta; /* of the divergence from the reference; 0: none */
  double mask; /* instead of the clip: the divergence from the old weights beyond which a row is
                * left out that moves further; 0: none */
  bool guard;  /* the regulated ratio */
} FlowGrpoSpec;

/* The same step by three weights.  old: nullable without guard and mask; reference: nullable where
 * beta is 0. */
typedef struct {
  const Transition *now, *old, *reference;
} FlowGrpoSteps;

/* A SUM scalar.  `kept` (nullable without mask) is set to 0 or 1 a row, [1, 1, 1]. */
Tensor *flow_grpo_loss(Ratio *ratio, const FlowGrpoSpec *spec, const FinetuneInputs *in,
                       const FlowGrpoSteps *steps, Tensor **kept);

/* First step of the window of epoch number `epoch`: it moves on by one step every `every` epochs,
 * from the noise to the last `window` of `steps` random steps, and begins again. */
int flow_grpo_window(int64_t epoch, int64_t every, int window, int steps);

#endif
