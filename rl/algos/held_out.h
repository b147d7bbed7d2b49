/* held_out.h -- a policy's loss on episodes kept apart: what cloning without an environment is
 * measured by. */
#ifndef RL_HELD_OUT_H
#define RL_HELD_OUT_H
#include "rl/algo.h"

typedef struct HeldOut HeldOut;

/* Records the loss of a policy's online weights on a batch of td_cloned. */
typedef Tensor *HeldOutLoss(const Policy *policy, Graph *g, const Batch *batch);

/* A tape of this loss; lives in the setup's arena. */
HeldOut *held_out_new(const AlgoSetup *setup, const Policy *policy, HeldOutLoss *loss);

/* The denoising loss of a diffusion policy; stream "held out". */
Tensor *held_out_denoising(const Policy *policy, Graph *g, const Batch *batch);

/* Mean over a fixed number of batches: the same rows and noise at every call. */
double held_out_loss(HeldOut *held, const RowSampler *sampler);

/* As a measure that chooses no best, for a loss does not say which policy acts best.  The set is of
 * agents that have a HeldOut, and applies where rows are kept apart. */
extern const Measure held_out_measures[1];
extern const MeasureSet measured_held_out;
bool held_out_applies(const Agent *agent);
const RowSampler *held_out_rows(const Agent *agent); /* of a run that learns from transitions */

#endif
