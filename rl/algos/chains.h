/* chains.h -- chains of a diffusion model that are drawn and kept: every state from noise to
 * sample, and the log-probability of every random step.  What reinforcement learning trains on. */
#ifndef RL_CHAINS_H
#define RL_CHAINS_H
#include "diffusion/transition.h"
#include "rl/algo.h"

typedef struct {
  const Model *model;
  const Params *params; /* that draw */
  const char *stream;   /* of the noise */
  SamplerSpec sampler;  /* random in the stages of the window */
  double guidance;
  int from, to; /* the window: stages from .. to - 1, the others without noise; to 0: all */
  int count;    /* chains */
  bool ends;    /* the samples alone are kept, so any sampler will do */
  /* of policies that explore by their noise (Ren et al. 2024): */
  double least_std, least_log_std; /* at least so much noise in every stage, and in its density;
                                    * 0: as the sampler has it */
  double most_noise;               /* a normal number is kept within this; 0: it is not */
  double low, high;                /* ln p of one dimension is kept within; both 0: it is not */
  const Params *early;             /* nullable: other weights, which draw .. */
  int early_stages;                /* .. the first stages */
} ChainsSpec;

typedef struct {
  const Model *model;
  const Sampler *sampler, *still; /* the same times with and without noise */
  int count, stages, dim;
  int ld, cond_ld, number_ld; /* strides of a row */
  int from, to;
  real *x;        /* [stages + 1, count, ld]: from noise to sample; or [count, ld]: the samples */
  real *log_prob; /* [stages, count]: 0 where nothing is random; NULL: samples alone */
  real *cond;     /* [count, cond_ld], filled by the caller; NULL: no condition */
  real *number;   /* [stages, number_ld]: of each stage as it was drawn */
  struct ChainTape *tape, *early; /* early: nullable; or */
  int early_stages;
  double least_std, least_log_std;
  SamplerLoop *loop; /* of samples alone */
} Chains;

/* NULL and an error (FAIL_USAGE) for a sampler whose steps are no transitions, or that has no form
 * without noise though a window asks for one.  Its memory is taken here. */
Chains *chains_new(const AlgoSetup *setup, const ChainsSpec *spec, Error *error);

/* Another window from the next drawing on. */
void chains_window(Chains *chains, int from, int to);

/* Draw them all; chain i depends on the seed, `epoch`, its condition and i alone. */
void chains_draw(Chains *chains, uint64_t epoch);

const real *chains_state(const Chains *chains, int stage, int chain); /* [ld] */
const real *chains_samples(const Chains *chains);                     /* [count, ld] */
bool chains_random(const Chains *chains, int stage);                  /* as it was drawn */
int chains_random_count(const Chains *chains);

#endif
