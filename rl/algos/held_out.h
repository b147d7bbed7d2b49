/* held_out.h -- the denoising loss on episodes kept apart: the score of a run without an
 * environment. */
#ifndef RL_HELD_OUT_H
#define RL_HELD_OUT_H
#include "rl/algo.h"

/* What cloning looks at: "obs" and "act". */
extern const Column cloned_columns[];

typedef struct HeldOut HeldOut;

/* A tape of the loss of this policy's online weights; lives in the setup's arena. */
HeldOut *held_out_new(const AlgoSetup *setup, const Policy *policy);

/* Mean over a fixed number of batches: the same rows and noise at every call. */
double held_out_loss(HeldOut *held, const Drawer *drawer);

#endif
