/* plans.h -- a diffusion model of plans: actions and states of `horizon` steps at once, from a
 * given first state on (Janner et al. 2022, "Planning with Diffusion for Flexible Behavior
 * Synthesis").
 *
 * A plan is a trajectory of the tape, [a_0 s_0 a_1 s_1 ..]; the temporal U-Net sees it normalised,
 * with s_0 clean.  The first state, normalised, is the condition of a sample. */
#ifndef POLICY_PLANS_H
#define POLICY_PLANS_H
#include "core/maths/units.h"
#include "policy/model.h"

/* what the network is, and how it is sampled by default */
#define PLANS_FIELDS(F)                                                                            \
  F(INT, horizon, 32, 2, 1024, "steps of a plan")                                                  \
  F(INT, hidden, 32, 1, 1024, "channels are multiples of it, and the time's features as many")     \
  F(TEXT, mults, "1,2,4,8", NULL, NULL, "the multiples, one a level; between two the plan halves") \
  F(INT, groups, 8, 1, 2048, "of the group norms")                                                 \
  F(BOOL, attention, false, NULL, NULL, "linear attention at every level")                         \
  F(TEXT, schedule, "cosine", NULL, NULL, "noise schedule")                                        \
  F(INT, diffusion_steps, 20, 1, 100000, "steps of a discrete schedule")                           \
  F(TEXT, predicts, "x0", "eps|x0|v", NULL, "what the network's output is")                        \
  F(TEXT, weights, "ema", "online|ema", NULL, "which weights plan")                                \
  F(TEXT, sampler, "ddpm", NULL, NULL, "how plans are sampled")                                    \
  F(INT, sample_steps, 0, 0, 100000, "its steps; 0: all of a discrete schedule")
#define PLANS_DATA_FIELDS(F)                                                                       \
  F(INT, obs_dim, 1, 1, 4096, "numbers of a state")                                                \
  F(INT, act_dim, 1, 1, 4096, "numbers of an action")

typedef struct {
  Model base; /* first: a PlansModel is a Model */
  CONFIG_MEMBERS(PLANS_FIELDS)
  CONFIG_MEMBERS(PLANS_DATA_FIELDS)
  int width;                      /* of a step: act_dim + obs_dim */
  Normalizer step, state, action; /* of a step, the action first; and its two parts */
  float *low, *high;              /* [act_dim] of actions in the data's units; else infinite */
} PlansModel;

extern const ModelDef model_plans;

/* Its units: observations and actions normalised, actions within the bounds. */
Units plans_units(const PlansModel *model);

/* 1 at the entries of s_0, else 0: ONCE [1, 1, dim]. */
Tensor *plans_keep(const PlansModel *model, Graph *g);

/* Plans [count, horizon, width] that begin in the states first [count, obs_dim], all in the data's
 * units; s_0 is met exactly.  Plan i depends on the seed, i and its first state alone. */
bool plans_sample(const PlansModel *model, const ModelSampling *how, int count, const float *first,
                  float *plans, Error *error);

#endif
