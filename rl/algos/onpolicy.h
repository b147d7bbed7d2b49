/* onpolicy.h -- what all methods share that fine-tune a diffusion policy by acting.
 *
 * An iteration lets `envs` simulations take `decisions` decisions each with the present weights,
 * finds advantages by a network of values, and then makes gradient steps on what was seen, `passes`
 * times over, in batches of rows.  What a row is, a method says: a step of a chain, a whole chain,
 * an action.  The policy is that of setup->from, with its kind, shape, bounds and normaliser. */
#ifndef RL_ONPOLICY_H
#define RL_ONPOLICY_H
#include "rl/algos/advantage.h"
#include "rl/algos/chains.h"
#include "rl/algos/objective.h"
#include "rl/algos/ratio.h"
#include "rl/rollout/simulations.h"

/* the first settings of every method; BATCH, RATE and GAMMA are its own defaults */
#define ONPOLICY_FIELDS_OF(F, BATCH, RATE, GAMMA, KL)                                              \
  LOOP_FIELDS_OF(F, 4000, BATCH, "rows a gradient step learns from", 64, 64, 500, 50, 500)         \
  F(INT, eval_episodes, 10, 1, 100000, "episodes of an evaluation during training")                \
  F(INT, envs, 32, 1, 4096, "simulations at once")                                                 \
  F(INT, decisions, 128, 1, 100000, "decisions of each in an iteration")                           \
  F(INT, passes, 5, 1, 1000, "passes over what an iteration has seen")                             \
  F(FLOAT, gamma, GAMMA, 0, 1, "discount")                                                         \
  F(FLOAT, lambda, 0.95, 0, 1, "of generalised advantage estimation")                              \
  F(BOOL, scale_rewards, true, 0, 1, "rewards are divided by the deviation of their running sum")  \
  F(FLOAT, actor_rate, RATE, 1e-8, 1, "learning rate of the policy")                               \
  F(FLOAT, value_rate, 1e-3, 1e-8, 1, "learning rate of the value")                                \
  F(INT, value_hidden, 256, 1, 4096, "units of a hidden layer of the value (three of Mish)")       \
  F(INT, value_first, 0, 0, NULL, "iterations at the start in which the value alone learns")       \
  F(FLOAT, clip, 1, 0, 1e6, "largest gradient norm of the policy; 0: none")                        \
  F(INT, lora, 0, 0, 4096, "rank of low-rank adapters that learn; 0: all weights do")              \
  F(FLOAT, target_kl, KL, 0, NULL, "an iteration's steps end above this divergence; 0: never")
#define ONPOLICY_FIELDS(F) ONPOLICY_FIELDS_OF(F, 2048, 1e-4, 0.99, 1)
typedef struct {
  CONFIG_MEMBERS(ONPOLICY_FIELDS)
} OnpolicyConfig;

typedef struct Onpolicy Onpolicy;

/* What a method supplies. */
typedef struct {
  int rows_per_decision; /* rows of gradient steps */
  /* answers to decision number `number` of the run, the t-th of its iteration, for what is seen
   * (onpolicy_seen): write [envs, row_stride(width)] in network units */
  void (*answer)(Onpolicy *o, int64_t number, int t, real *answer);
  /* write row number `row` of the iteration into row r of the tape's inputs */
  void (*put)(Onpolicy *o, int r, int64_t row);
} OnpolicySpec;

enum { ONPOLICY_KEPT = 12 };

/* First member of a method's state. */
struct Onpolicy {
  Agent agent;
  const AlgoSetup *setup;
  const OnpolicyConfig *cfg;
  OnpolicySpec spec;
  Simulations *simulations;
  struct OnpolicyValue *value; /* the network of values */
  int envs, decisions, rows;   /* rows: decisions of an iteration, decisions * envs */
  int seen_ld;
  real *seen;               /* [rows, seen_ld] what the network saw, decision after decision */
  real *advantage, *target; /* [rows]: normalised; of the value */
  int64_t iteration;        /* the one that is held; -1: none */
  int learned;              /* rows of the policy's last step; 0: it had none */
  int64_t done;             /* gradient steps */
  bool stopped;             /* above target_kl: the rest of the iteration's steps do nothing */
  RewardScale scale;
  double *sum;      /* [envs]: G */
  double explained; /* by the values, in this iteration */
  struct {
    const char *name;
    void *data;
    int64_t count;
    CheckpointType type;
  } kept[ONPOLICY_KEPT];
  int keeps;
  struct OnpolicyBatch *batch; /* of what acting and values read */
};

/* The policy of setup->from, whose config begins with ONPOLICY_FIELDS: the weights that acted, one
 * sample a decision.  FAIL_USAGE and FAIL_INPUT with what to do: no diffusion policy, another task.
 * Then simulations, value and memory, and adapters (lora). */
bool onpolicy_load_policy(Onpolicy *o, const AlgoSetup *setup, Error *error);
bool onpolicy_open(Onpolicy *o, const OnpolicySpec *spec, Error *error);

/* The last `tuned` of its denoising steps are to learn (0: all), and the weights that it has now
 * draw the first ones for ever (policy_split).  FAIL_USAGE for more steps than it acts in, and
 * where an older fine-tuning has split it elsewhere. */
bool onpolicy_split(Onpolicy *o, int tuned, Error *error);

/* FAIL_USAGE for a policy whose first steps have weights of their own. */
bool onpolicy_whole(const Onpolicy *o, Error *error);

/* A sampler of the policy as its act record says, for Chains. */
SamplerSpec onpolicy_sampler(const Onpolicy *o);

/* Chains of the policy's samples, one for each simulation, by the sampler of its act record. */
Chains *onpolicy_samples(const Onpolicy *o, const char *stream, Error *error);

/* [envs, seen_ld]: what the network is to see at the t-th decision of the iteration. */
const real *onpolicy_seen(const Onpolicy *o, int t);

/* A method's own numbers of an iteration, which are part of a checkpoint in the middle of it:
 * `count` of them, whose name is "iteration/NAME". */
real *onpolicy_keep(Onpolicy *o, const char *name, int64_t count);

/* An input of a tape that trains, [k, 1, n], and the memory that it reads: [batch, k,
 * row_stride(n)]. */
Tensor *onpolicy_input(const Onpolicy *o, Graph *g, const char *name, int k, int n, real **data);

/* ---- gradient steps -------------------------------------------------------------------------- */

/* Gradient steps of an iteration. */
int64_t onpolicy_steps(const Onpolicy *o);

/* Row `row` is of decision row / rows_per_decision.  All are in another order in every pass. */

/* One gradient step of the value and then of the policy, with the method's objective; the last is
 * left out while the value begins alone (value_first), and both above target_kl.  Before the first
 * one of an iteration every ratio is 1 (ratio_check).  False if a number is no longer finite.  Logs
 * what both have and what is watched: ratio_log, "episode_return", "env_steps", "reward/scale",
 * "value/explained", "stopped". */
bool onpolicy_update(Onpolicy *o, const Objective *actor, const Ratio *ratio, double clip,
                     int64_t step, Log *log);

/* ---- of the AlgoDef -------------------------------------------------------------------------- */

bool onpolicy_collect(Agent *agent, int64_t step, Error *error);
bool onpolicy_save(const Agent *agent, Checkpoint *checkpoint, Error *error);
bool onpolicy_load(Agent *agent, const Checkpoint *checkpoint, Error *error);
void onpolicy_close(Agent *agent);

#endif
