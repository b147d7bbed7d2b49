/* worlds.h -- a diffusion model of what an action does: the change of the state, the reward, and
 * whether the episode ends.
 *
 * A sample is [change of the observation, reward, end], normalised, the end as 1 or -1; its
 * condition is the observation and the action, normalised.  By default its network has Karras et
 * al.'s preconditioning and is sampled in 3 Euler steps, as DIAMOND's (Alonso et al. 2024). */
#ifndef POLICY_WORLDS_H
#define POLICY_WORLDS_H
#include "core/maths/normalizer.h"
#include "policy/model.h"

/* what the network is, and how it is sampled by default */
#define WORLDS_FIELDS(F)                                                                           \
  F(TEXT, net, "residual", "mlp|residual", NULL,                                                   \
    "three layers of Mish; or IDQL's residual network")                                            \
  F(INT, hidden, 256, 1, 4096, "units of a layer")                                                 \
  F(INT, blocks, 3, 1, 8, "residual: blocks")                                                      \
  F(TEXT, embedding, "ddpm", "ddpm|openai|edm|gaussian|fourier", NULL, "features of the time")     \
  F(TEXT, time, "log-sigma", "own|thousands|log-sigma", NULL, "the number they are features of")   \
  F(TEXT, schedule, "edm", NULL, NULL, "noise schedule")                                           \
  F(INT, diffusion_steps, 100, 1, 100000, "steps of a discrete schedule")                          \
  F(TEXT, predicts, "edm", "eps|x0|score|v|velocity|edm", NULL, "what the network's output is")    \
  F(TEXT, weights, "ema", "online|ema", NULL, "which weights predict")                             \
  F(TEXT, sampler, "euler", NULL, NULL, "how outcomes are sampled")                                \
  F(INT, sample_steps, 3, 0, 100000, "its steps; 0: all of a discrete schedule")                   \
  F(TEXT, spacing, "karras", "linspace|leading|trailing|quadratic|lambda|karras", NULL,            \
    "at which times it steps")
#define WORLDS_DATA_FIELDS(F)                                                                      \
  F(INT, obs_dim, 1, 1, 4094, "numbers of an observation")                                         \
  F(INT, act_dim, 1, 1, 4096, "numbers of an action")

enum { WORLDS_MORE = 2 }; /* numbers of a sample behind the change */

typedef struct {
  Model base; /* first: a WorldsModel is a Model */
  CONFIG_MEMBERS(WORLDS_FIELDS)
  CONFIG_MEMBERS(WORLDS_DATA_FIELDS)
  Normalizer state, action; /* of the condition */
  Normalizer outcome;       /* [obs_dim + 2]; of the end: mean 0, deviation 1 */
} WorldsModel;

extern const ModelDef model_worlds;

/* What may follow `count` actions act [count, act_dim] in obs [count, obs_dim]: next [count,
 * obs_dim], reward [count] and end [count], all in the data's units; the last two may be NULL.
 * Outcome i depends on the seed of `how`, i, and its own state and action.  next may be obs. */
bool worlds_predict(const WorldsModel *model, const ModelSampling *how, int count, const float *obs,
                    const float *act, float *next, float *reward, bool *end, Error *error);

#endif
