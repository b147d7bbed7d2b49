/* policy.h -- a policy: networks as shapes, their blocks of numbers, and how it acts.
 *
 * A policy is a row of a table, as ops, methods and environments are: a kind declares its networks
 * and records how it proposes actions; files, bounds, critics, the choice among candidates, the act
 * record and acting itself (actor.h) are here, once for all.
 *
 * It sees the last `obs_steps` observations and answers with `horizon` actions at once, of which
 * `act_steps` are done before it is asked again.  How a policy acts is part of the policy: the act
 * record is stored with the weights, printed by every evaluation and obeyed everywhere. */
#ifndef POLICY_POLICY_H
#define POLICY_POLICY_H
#include "core/maths/units.h"
#include "policy/critic.h"
#include "policy/model.h"

enum { POLICY_MAX_ACT = 64 };

/* the shape that all kinds share: enough, with a kind's own, to build the networks from a file */
#define POLICY_FIELDS(F)                                                                           \
  F(TEXT, kind, "diffusion", NULL, NULL, "family of distributions over actions")                   \
  F(INT, obs_dim, 1, 1, 4096, "numbers in an observation")                                         \
  F(INT, act_dim, 1, 1, 64, "numbers in an action")                                                \
  F(INT, obs_steps, 1, 1, 64, "observations that it sees, the last ones")                          \
  F(INT, chunk, 1, 1, 256, "actions that it answers with at once")                                 \
  F(INT, hidden, 256, 1, 4096, "units of a hidden layer")                                          \
  F(INT, critics, 0, 0, 64, "members of the critic; 0: none")                                      \
  CRITIC_FIELDS(F)
typedef struct {
  CONFIG_MEMBERS(POLICY_FIELDS)
} PolicySpec;

/* The act record.  A policy has those rows that mean something for it. */
#define ACT_FIELDS(F)                                                                              \
  F(TEXT, weights, "online", "online|ema", NULL, "which weights act")                              \
  F(TEXT, sampler, "ddpm", NULL, NULL, "sampler of a diffusion policy (diffrl list samplers)")     \
  F(INT, steps, 0, 0, 100000, "steps of the sampler; 0: as many as the schedule has")              \
  F(TEXT, spacing, "linspace", NULL, NULL, "how they lie in time (diffrl list spacings)")          \
  F(INT, order, 0, 0, 3, "of unipc, dpm_fast and dpmpp_fast; 0: the highest")                      \
  F(FLOAT, eta, 0.0, 0, 1, "noise of ddim (0 none, 1 as ddpm), flow_sde and sde_euler")            \
  F(FLOAT, guidance, 0.0, 0, 1000, "how much of the energy's gradient guides; 0: nothing does")    \
  F(INT, candidates, 1, 1, 4096, "actions sampled before one is chosen")                           \
  F(TEXT, choice, "sample", "sample|softmax|argmax|average|mean", NULL,                            \
    "sample: the first; by the critics softmax: one sampled, argmax: the best, average: the mean " \
    "weighted by softmax; mean: the centre of a gaussian policy")                                  \
  F(FLOAT, temperature, 1.0, 1e-6, 1e6, "of softmax and average over raw Q values")                \
  VALUE_FIELDS(F)                                                                                  \
  F(INT, obs_steps, 1, 1, 64, "observations that it sees; the policy's own, not to be chosen")     \
  F(INT, horizon, 1, 1, 1024, "actions planned at once; the policy's own, not to be chosen")       \
  F(INT, act_steps, 1, 1, 1024, "of them those done before planning again")
typedef struct {
  CONFIG_MEMBERS(ACT_FIELDS)
} ActRecord;
enum { ACT_ROWS = 24 };

/* every row that there is, for help */
extern const ConfigField act_fields[];
extern const size_t act_field_count;

typedef struct PolicyDef PolicyDef;
typedef struct {
  const PolicyDef *def;
  Arena *arena;
  PolicySpec spec;
  ActRecord act;
  ConfigField act_row[ACT_ROWS]; /* the rows of the act record that it has */
  size_t act_rows;
  float low[POLICY_MAX_ACT], high[POLICY_MAX_ACT]; /* action bounds in the data's units */
  Units units;                                     /* with these bounds; obs: the normaliser */
  int seen, width;           /* numbers of obs_steps observations, and of `chunk` actions */
  int horizon;               /* actions in an answer: the chunk, or the horizon of its plans */
  Model *model;              /* a diffusion model of what it answers with; NULL: it has none */
  Critic *critics;           /* NULL: none, or a file without them */
  Params *actor, *actor_ema; /* the model's weights if it has one.  The average may be absent */
  Params *energy;            /* of energy_net, which guides its samples; NULL: it has none */
  const Energy *energy_net;
  Params *early;      /* weights of the first steps of its chain, from before the others */
  int early_steps;    /* were fine-tuned, and how many those are; NULL and 0: the actor's */
  bool average_waits; /* it has not begun and is a random start: the online weights act */
  bool average_asked; /* of a file: weights=ema was to act, and it has not begun */
  Blocks blocks;      /* all of these */
} Policy;

/* what a kind says beside k actions [k, 1, width] */
typedef struct {
  Tensor *q;        /* [k, 1, 1] the value of each candidate; NULL unless the record has several */
  Tensor *log_prob; /* [1, 1, 1] log density of the action; NULL where it has none */
} Proposal;

struct PolicyDef {
  const char *kind;
  const ConfigField *fields; /* its own settings, places in its struct of `size` bytes, .. */
  size_t field_count, size;  /* .. which begins with a Policy */
  const char *takes;         /* rows of the act record that mean something, without the critics' */
  const char *ignored;       /* keys that files of release 0.1 hold for nothing; or NULL */
  const ModelDef *file;      /* such policies are files of this model, not of a policy; or NULL */
  int critic_layers;         /* of critics as published */
  Map critic_activation;
  double critic_norm_eps; /* of their layer norms; 0: 1e-5 */

  /* Declare the networks: actor, actor_ema (or model) in policy->blocks.  FAIL_USAGE. */
  bool (*network)(Policy *policy, Error *error);
  /* Record k actions, in [-1, 1] or as its units say, by these weights.  NULL and an error if the
   * act record asks for what it has not. */
  Tensor *(*propose)(const Policy *policy, Graph *g, const Params *actor, Tensor *obs, int k,
                     Proposal *more, Error *error);
  /* nullable: one answer [*] -> act [horizon, act_dim] in the data's units; else by its units */
  void (*put)(const Policy *policy, const real *x, float *act);

  int lane;      /* observations that pass the cache together when acting */
  bool exported; /* can be printed as C */
};

extern const PolicyDef policy_diffusion, policy_gaussian, policy_deterministic, policy_one_step,
    policy_plans;

/* ---- building -------------------------------------------------------------------------------- */

/* A policy of a kind with default settings.  Then policy_set and the members of spec and of its
 * struct say what it is to be, and policy_build declares its networks: its blocks have no numbers
 * yet (blocks_allocate), its bounds are [-1, 1]. */
Policy *policy_start(Arena *arena, const PolicyDef *def);
void policy_set(Policy *policy, const ConfigField *fields, size_t count, const void *values);
bool policy_set_all(Policy *policy, const char *pairs, Error *error); /* "hidden=32 critics=2" */
bool policy_build(Policy *policy, Error *error);                      /* FAIL_USAGE */

/* Is a policy of such a model's kind the model's file?  And the policy that such a model is, with
 * its blocks (FAIL_USAGE). */
bool policy_is_model(const Model *model);
Policy *policy_of_model(Arena *arena, Model *model, Error *error);

/* Initial weights of this seed for the actor, its average, the critics and their targets. */
void policy_init(Policy *policy, uint64_t seed);

/* From here on the first `steps` steps of its chain keep the weights that the actor has now (block
 * "actor_early"), whatever becomes of the actor.  Of a diffusion policy. */
void policy_split(Policy *policy, int steps);

/* Bytes that loading it takes, and a tape on which it acts as its record says, with a margin. */
size_t policy_bytes(const Policy *policy);

/* ---- the act record -------------------------------------------------------------------------- */

/* "candidates=1 choice=sample" by `origin`.  FAIL_USAGE for a row that this policy does not have,
 * naming those it has, and for weights=ema where the average has not begun. */
bool policy_set_act(Policy *policy, const char *pairs, const char *origin, Error *error);

/* Its rows as a JSON object: the member `key`; NULL: the whole text. */
void policy_write_act(const Policy *policy, const char *key, JsonText *text);

/* ---- acting on a tape ------------------------------------------------------------------------ */

/* Record acting as the act record says: obs [1, 1, seen] -> [1, 1, width] in network units.
 * log_prob (nullable) is set for policies with a density that sample, else NULL.  NULL and an error
 * if the record asks for what this policy has not (critics, a sampler). */
Tensor *policy_record(const Policy *policy, Graph *g, Tensor *obs, Tensor **log_prob, Error *error);

/* Its two halves: k actions and, where the record has candidates, what the critics say of each; and
 * the choice of one.  Row r of n k candidates has the numbers of rows n r .. n r + n - 1 of k
 * each. */
Tensor *policy_propose(const Policy *policy, Graph *g, Tensor *obs, int k, Proposal *more,
                       Error *error);
Tensor *policy_choose(const Policy *policy, Tensor *x, Tensor *q);

/* One answer of the network -> act [horizon, act_dim] in the data's units. */
void policy_put(const Policy *policy, const real *x, float *act);

/* ---- files ----------------------------------------------------------------------------------- */

/* Shape, act record, bounds and normaliser; and with all blocks that it holds, or with those alone
 * that acting needs. */
void policy_save_shape(const Policy *policy, Checkpoint *checkpoint);
void policy_save(const Policy *policy, Checkpoint *checkpoint);
void policy_save_acting(const Policy *policy, Checkpoint *checkpoint);

/* The policy in a checkpoint with every block it holds, of whatever kind; first without numbers, to
 * know what it will take (FAIL_INPUT). */
Policy *policy_load_shape(Arena *arena, const Checkpoint *checkpoint, Error *error);
Policy *policy_load(Arena *arena, const Checkpoint *checkpoint, Error *error);

/* Begin with the weights of another policy: blocks_begin.  They answer in its units, so its bounds
 * and its normaliser come with them.  FAIL_USAGE if it is of another kind, predicts otherwise, or
 * normalises where this one does not, and if the file holds none of the blocks. */
bool policy_begin(Policy *policy, const Checkpoint *from, BlocksBegun *begun, Error *error);

/* To continue training: blocks, bounds and normaliser, which may be those of --init. */
bool policy_read(Policy *policy, const Checkpoint *checkpoint, Error *error);

#endif
