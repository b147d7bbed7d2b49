/* finetune.h -- what all methods share that fine-tune a generator against a reward.
 *
 * An epoch draws `samples` chains with the present weights and asks the reward once for each; then
 * gradient steps train on them, `passes` times over, in batches of rows.  What a row is, a method
 * says: a random step of a chain (policy gradients), or a sample with a noise level of its own
 * (methods without log-probabilities).  The reference is the generator as it came. */
#ifndef RL_FINETUNE_H
#define RL_FINETUNE_H
#include "rl/algos/chains.h"
#include "rl/algos/objective.h"
#include "rl/reward/reward.h"

/* The first settings of every method, in three parts: those without a word on advantages leave the
 * second out of their table. */
#define FINETUNE_FIELDS(F)                                                                         \
  FINETUNE_DRAWING(F)                                                                              \
  FINETUNE_ADVANTAGES(F)                                                                           \
  FINETUNE_TRAINING(F)
#define FINETUNE_DRAWING(F)                                                                        \
  LOOP_FIELDS_OF(F, 400, 608, "rows a gradient step learns from", 16, 8, 40, 4, 20)                \
  F(TEXT, reward, "", NULL, NULL,                                                                  \
    "what is raised: NAME or NAME:ARGUMENT of `diffrl list rewards`")                              \
  F(TEXT, also, "", NULL, NULL, "another reward, which is only measured")                          \
  F(FLOAT, reward_seconds, 0, 0, 86400, "a plugin or program may take for a batch; 0: 60")         \
  F(TEXT, label, "all", NULL, NULL, "labels of the samples: all in turn, none, or one of them")    \
  F(FLOAT, guidance, 1, 0, 100, "towards the label (classifier-free); 1: as trained")              \
  F(INT, samples, 128, 2, 65536, "samples of an epoch, each a question to the reward")             \
  F(INT, passes, 1, 1, 1000, "passes over the samples of an epoch")                                \
  F(TEXT, sampler, "ddim", NULL, NULL, "how they are drawn")                                       \
  F(INT, sample_steps, 20, 1, 1000, "its steps")                                                   \
  F(TEXT, spacing, "linspace", "linspace|leading|trailing|quadratic|lambda|karras", NULL,          \
    "at which times it steps")                                                                     \
  F(FLOAT, eta, 1, 0, 100, "noise of ddim, flow_sde and sde_euler")
#define FINETUNE_ADVANTAGES(F)                                                                     \
  F(TEXT, baseline, "label", "label|epoch|none", NULL,                                             \
    "advantage = reward - the mean of its label's samples, or of the epoch's")                     \
  F(TEXT, deviation, "epoch", "label|epoch|none", NULL, "then divided by whose deviation")         \
  F(FLOAT, advantage_clip, 5, 0, NULL, "advantages are kept within this; 0: they are not")
#define FINETUNE_TRAINING(F) FINETUNE_TRAINING_OF(F, 3e-4)
#define FINETUNE_TRAINING_OF(F, RATE)                                                              \
  F(FLOAT, rate, RATE, 1e-8, 1, "learning rate")                                                   \
  F(FLOAT, clip, 1, 0, 1e6, "largest gradient norm; 0: none")                                      \
  F(INT, lora, 0, 0, 4096, "rank of low-rank adapters that learn; 0: all weights do")              \
  F(INT, eval_samples, 64, 2, 65536, "samples of an evaluation")                                   \
  F(INT, grid, 4, 0, 100, "rows of the sheet of pictures at an evaluation; 0: none")               \
  F(INT, patience, 0, 0, NULL,                                                                     \
    "end after so many evaluations in a row in which `also` fell; 0: never")
typedef struct {
  CONFIG_MEMBERS(FINETUNE_FIELDS)
} FinetuneConfig;

/* First member of a method's state. */
typedef struct {
  Agent agent;
  const AlgoSetup *setup;
  const FinetuneConfig *cfg;
  Model *model;
  Params *reference; /* the weights that came: block "reference" */
  Params *old;       /* the weights that draw: block "old"; NULL: those that are trained */
  Reward *reward, *also;
  Chains *chains, *shown; /* of an epoch; of an evaluation */
  Chains *before;         /* like the latter, by the reference */
  int samples;
  float *value, *also_value; /* [samples] of the epoch */
  real *advantage;           /* [samples] */
  int *group;                /* [samples]: the label of each, or 0 */
  int *sample;               /* [batch]: whose the rows of a gradient step are */
  int groups;
  int64_t rows;                /* of an epoch's pass */
  int64_t epoch;               /* the one that is held; -1: none */
  int64_t done;                /* gradient steps */
  struct FinetuneRows *held;   /* what a step's rows are copied into */
  struct FinetuneDrift *drift; /* how far it has gone from the reference */
  struct FinetuneFeatures *features;
  double fell; /* evaluations in a row */
  double best_also;
} Finetune;

typedef struct {
  int rows_per_sample;   /* 0: a row for each random step of its chain, or .. */
  int nearest, farthest; /* .. one for each chain: its state with so many steps to go, drawn evenly
                          * between these; farthest 0: not so */
  int from, to;          /* the window of random steps; to 0: all */
  bool any_sampler; /* chains need no log-probability; with rows of samples, nor their states */
  bool old;         /* the weights that draw are others, which finetune_follow moves */
  bool reference;   /* .. or those that came */
} FinetuneSpec;

/* The generator of setup->from, its reference and chains.  The config of the method begins with
 * FINETUNE_FIELDS.  FAIL_USAGE and FAIL_INPUT with what to do. */
bool finetune_open(Finetune *f, const AlgoSetup *setup, const FinetuneSpec *spec, Error *error);

/* ---- tapes ----------------------------------------------------------------------------------- */

/* The inputs of a row, which finetune_rows fills.  Of a step of a chain: x, next, numbers, old (the
 * log-probability at drawing); of a sample: x.  Always: cond (or NULL), advantage. */
typedef struct {
  Tensor *x, *next, *numbers, *old, *cond, *advantage;
} FinetuneInputs;
FinetuneInputs finetune_inputs(Finetune *f, Graph *g);

/* The transition of the rows by these weights. */
Transition finetune_transition(const Finetune *f, const FinetuneInputs *in, const Params *params);

/* Fill the inputs for gradient step `step`; returns how many rows it has. */
int finetune_rows(Finetune *f, int64_t step);

/* Random steps from .. to - 1 from the next epoch on (mixed ODE and SDE). */
void finetune_window(Finetune *f, int from, int to);

/* Gradient steps on one epoch. */
int64_t finetune_steps(const Finetune *f);

/* Is this the first step on newly drawn samples, whose ratios are 1? */
bool finetune_first(const Finetune *f, int64_t step);

/* After the last gradient step on an epoch: old = decay old + (1 - decay) trained. */
void finetune_follow(Finetune *f, int64_t step, double decay);

/* ---- of the AlgoDef -------------------------------------------------------------------------- */

/* Draw the samples of an epoch and ask for their rewards, where one begins. */
bool finetune_collect(Agent *agent, int64_t step, Error *error);
/* Means of the epoch: "reward/mean", "reward/std", "also/mean", "queries". */
void finetune_log(const Finetune *f, Log *log);
bool finetune_show(Agent *agent, MeasureWhen when, Figures *figures, Error *error);
bool finetune_save(const Agent *agent, Checkpoint *checkpoint, Error *error);
bool finetune_load(Agent *agent, const Checkpoint *checkpoint, Error *error);
void finetune_close(Agent *agent);
extern const MeasureSet finetune_measured, finetune_also, finetune_features;

#endif
