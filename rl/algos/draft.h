/* draft.h -- the reward at the end of a recorded chain, for the algorithm and for tests. */
#ifndef RL_DRAFT_H
#define RL_DRAFT_H
#include "diffusion/sampler.h"
#include "rl/reward/reward.h"

typedef struct {
  const Sampler *sampler; /* that drew; lives as long as the tape, as do the others */
  const Denoiser *denoiser;
  const Params *params;
  const Reward *reward;
  int last;   /* K: how many of its steps are recorded */
  int copies; /* n: not these, but the last step of so many noised copies; 0: draft-K */
} DraftSpec;

/* Rewards [k, 1, 1] of what becomes of x: ROW [1, 1, dim], the states with K steps to go (k is 1),
 * or the samples of which copies are made (k is n).  cond as for sampler_record.  Random streams
 * "draft 0", .. and "draft copies".  NULL and an error (FAIL_USAGE) for a reward without
 * gradient. */
Tensor *draft_rewards(Graph *g, const DraftSpec *spec, Tensor *x, Tensor *cond, Error *error);

#endif
