/* policy.h -- a policy: networks as shapes, Params by block name, and how it acts.
 *
 * It answers an observation with one action, or, if it plans (diffuser.h), with the `horizon`
 * actions of a plan, of which `act_steps` are done before it is asked again.
 *
 * How a policy acts is part of the policy: the act record is stored with the weights, printed by
 * every evaluation and obeyed everywhere.  Networks see actions in [-1, 1]; everything outside
 * sees the data's units through `low` and `high`. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H
#include "core/config.h"
#include "core/maths/normalizer.h"
#include "diffusion/sampler.h"
#include "policy/models/plans.h"
#include "policy/nets/mlp.h"

enum { POLICY_MAX_ACT = 64 };

/* the shape: enough to build the networks again from a file */
#define POLICY_FIELDS(F)                                                                           \
  F(TEXT, kind, "diffusion", "diffusion|gaussian", NULL, "family of distributions over actions")   \
  F(INT, obs_dim, 1, 1, 4096, "numbers in an observation")                                         \
  F(INT, act_dim, 1, 1, 64, "numbers in an action")                                                \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer")                                          \
  F(INT, critics, 0, 0, 64, "members of the critic; 0: none")                                      \
  F(TEXT, schedule, "vp", NULL, NULL, "noise schedule of a diffusion policy")                      \
  F(INT, diffusion_steps, 5, 0, 100000, "steps of a discrete schedule")                            \
  F(TEXT, predicts, "eps", "eps|x0", NULL, "what the denoiser's output is")
typedef struct {
  CONFIG_MEMBERS(POLICY_FIELDS)
} PolicySpec;
extern const ConfigField policy_fields[];
extern const size_t policy_field_count;

/* the act record */
#define ACT_FIELDS(F)                                                                              \
  F(TEXT, weights, "online", "online|ema", NULL, "which weights act")                              \
  F(TEXT, sampler, "ddpm", NULL, NULL, "sampler of a diffusion policy (diffrl list samplers)")     \
  F(INT, steps, 0, 0, 100000, "steps of the sampler; 0: as many as the schedule has")              \
  F(TEXT, spacing, "linspace", NULL, NULL, "how they lie in time (diffrl list spacings)")          \
  F(INT, order, 0, 0, 3, "of unipc, dpm_fast and dpmpp_fast; 0: the highest")                      \
  F(FLOAT, eta, 0.0, 0, 1, "noise of ddim (0 none, 1 as ddpm), flow_sde and sde_euler")            \
  F(INT, candidates, 1, 1, 4096, "actions drawn before one is chosen")                             \
  F(TEXT, choice, "sample", "sample|softmax|argmax|mean", NULL,                                    \
    "sample: the first; softmax, argmax: by the critics; mean: the centre of a gaussian policy")   \
  F(FLOAT, temperature, 1.0, 1e-6, 1e6, "of softmax over raw Q values")                            \
  F(INT, obs_steps, 1, 1, 1, "observations the policy sees")                                       \
  F(INT, horizon, 1, 1, 1024, "actions planned at once; the policy's own, not to be chosen")       \
  F(INT, act_steps, 1, 1, 1024, "of them those done before planning again")
typedef struct {
  CONFIG_MEMBERS(ACT_FIELDS)
} ActRecord;
extern const ConfigField act_fields[];
extern const size_t act_field_count;

typedef struct {
  PolicySpec spec;
  ActRecord act;
  float low[POLICY_MAX_ACT], high[POLICY_MAX_ACT]; /* action bounds in the data's units */
  const Normalizer *normalizer;                    /* of observations; NULL: none */
  Arena *arena;
  /* diffusion */
  const Schedule *schedule;
  const Denoiser *denoiser;      /* of an action; of a whole plan if it plans */
  const DiffuserModel *diffuser; /* the model that plans; else NULL */
  /* gaussian: mean and log standard deviation of tanh^-1(action) */
  Mlp gaussian;
  Mlp critics;
  /* blocks of those names: zeros until initialised, NULL if a file did not hold them */
  Params *actor, *actor_ema;
  Params *critic, *critic_target; /* blocks "critic", "critic_target"; NULL without critics */
} Policy;

/* Build networks and Params of this shape, numbers zero.  NULL and an error for a bad schedule. */
Policy *policy_new(Arena *arena, const PolicySpec *spec, Error *error);

/* critics(s, a): [k, 1, act_dim] -> [k, 1, E]; E values in the order of the members. */
Tensor *policy_critics(const Policy *policy, Graph *g, const Params *critic, Tensor *obs,
                       Tensor *act);

/* a ~ N(mean, std) squashed by tanh, and log pi(a) [1, 1, 1]; noise NULL: the mean.  Haarnoja et
 * al. 2018, appendix C; log std in [-5, 2] by tanh. */
Tensor *policy_gaussian(const Policy *policy, Graph *g, const Params *actor, Tensor *obs,
                        Tensor *noise, Tensor **log_prob);

/* Actions in an answer: 1, or the horizon of its plans. */
int policy_horizon(const Policy *policy);

/* Record acting as the act record says: obs [1, 1, obs_dim] -> [1, 1, act_dim] in [-1, 1], or a
 * plan as its model has it, [1, 1, horizon * width].
 * log_prob (nullable) is set for gaussian policies that sample, else NULL.  NULL and an error if
 * the record asks for what this policy has not (critics, a sampler). */
Tensor *policy_record(const Policy *policy, Graph *g, Tensor *obs, Tensor **log_prob, Error *error);

/* Its two halves: k actions [k, 1, act_dim] and, where the record has candidates, what the critics
 * say of each, q [k, 1, 1] (else NULL); and the choice of one.  Row r of n k candidates has the
 * numbers of rows n r .. n r + n - 1 of k each. */
Tensor *policy_propose(const Policy *policy, Graph *g, Tensor *obs, int k, Tensor **q,
                       Tensor **log_prob, Error *error);
Tensor *policy_choose(const Policy *policy, Tensor *x, Tensor *q);

/* Everything but Params (callers save the blocks they need): texts "policy" and "act", bounds and
 * normaliser as tensors. */
void policy_save(const Policy *policy, Checkpoint *checkpoint);

/* The act record as a JSON object, appended to `text`. */
void policy_write_act(const Policy *policy, JsonText *text);

/* Shape and act record alone, to know what loading will take; not for policies that plan. */
bool policy_read(const Checkpoint *checkpoint, PolicySpec *spec, ActRecord *act, Error *error);

/* The policy in a checkpoint with every block it holds: one that was saved as such, or the model of
 * `diffrl train diffuser`, which acts by its plans. */
Policy *policy_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

/* ---- acting ---------------------------------------------------------------------------------- */

/* A sealed tape that acts for up to max_rows observations at once.  Random numbers depend on
 * (seed, step, row_ids[r]) alone, never on the place in the batch. */
typedef struct Actor Actor;
Actor *actor_new(Arena *arena, const Policy *policy, int max_rows, uint64_t seed, Pool *pool,
                 const Kernels *kernels, Error *error);

/* A second actor on the tape of one that has acted, sharing its packed weights, without threads. */
Actor *actor_fork(Arena *arena, const Actor *actor);
void actor_reseed(Actor *actor, uint64_t seed); /* as if made with this seed */

/* obs [rows, obs_dim] -> act [rows, horizon, act_dim], both in the data's units; log_prob
 * (nullable) [rows], NAN where the policy has none.  Never allocates. */
void actor_act(Actor *actor, const float *obs, int rows, uint64_t step, const uint32_t *row_ids,
               float *act, float *log_prob);

#endif
