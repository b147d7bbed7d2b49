/* algo.h -- what an algorithm is.
 *
 * An algorithm is one file: a list of settings, `create` (which makes its policy or model and
 * records its objectives as tapes), `update` (one gradient step, the paper's inner loop) and what
 * it is measured by.  What a checkpoint holds follows from its blocks.  Batches, evaluation, logs,
 * checkpoints and resuming are the same for all: rl/train/train.h. */
#ifndef RL_ALGO_H
#define RL_ALGO_H
#include "core/config.h"
#include "core/log.h"
#include "core/tape/optim.h"
#include "datasets/batch.h"
#include "policy/actor.h"
#include "rl/measure/figures.h"
#include "rl/measure/measure.h"
#include "rl/source/source.h"
#include "rl/warnings.h"

/* settings every algorithm has; the first members of every algorithm's struct */
#define LOOP_FIELDS_OF(F, STEPS, BATCH, ABOUT, GROUP, LANE, EVAL, LOG, SAVE)                       \
  F(INT, steps, STEPS, 1, NULL, "gradient steps")                                                  \
  F(INT, batch, BATCH, 1, 65536, ABOUT)                                                            \
  F(INT, group, GROUP, 1, 65536, "rows whose sums are one block; changes bits")                    \
  F(INT, lane, LANE, 1, 65536, "rows that pass through the cache together; changes bits")          \
  F(TEXT, kernels, "own", "own|amx|avx512|avx2|plain|openblas", NULL, "what computes products")    \
  F(TEXT, schedule_rate, "constant", "constant|cosine", NULL, "learning rates over training")      \
  F(INT, rate_steps, 0, 0, NULL, "length of a cosine rate; 0: the first --steps")                  \
  F(INT, eval_every, EVAL, 0, NULL, "steps between evaluations; 0: only at the end")               \
  F(INT, log_every, LOG, 1, NULL, "steps between lines of metrics.jsonl")                          \
  F(INT, save_every, SAVE, 1, NULL, "steps between writes of last.safetensors")                    \
  F(INT, keep_every, 0, 0, NULL, "steps between kept step-N.safetensors; 0: none")
#define LOOP_FIELDS(F)                                                                             \
  LOOP_FIELDS_OF(F, 200000, 256, "transitions a gradient step samples", 64, 64, 5000, 1000, 5000)
typedef struct {
  CONFIG_MEMBERS(LOOP_FIELDS)
} TrainConfig;

/* and those of algorithms whose policies act */
#define TRAIN_FIELDS(F)                                                                            \
  LOOP_FIELDS(F)                                                                                   \
  F(INT, eval_episodes, 10, 1, 100000, "episodes of an evaluation during training")

/* what `create` gets; everything outlives the agent */
typedef struct {
  const struct AlgoDef *def;
  Arena *arena;
  Pool *pool;
  Ranks *ranks; /* that train together; NULL: alone */
  const Kernels *kernels;
  Profile *profile; /* nullable: of the tapes that train */
  uint64_t seed;
  int obs_dim, act_dim;            /* 0 where nothing acts */
  const float *act_low, *act_high; /* [act_dim] */
  const Source *source;            /* of the kind that the algorithm names: transitions_of .. */
  const EnvModel *env;             /* what it acts in or is measured in; NULL: none */
  bool reference;                  /* normalised returns are shown */
  const char *run;                 /* the run's folder */
  const Checkpoint *from;          /* --init's, or the last of a run that is resumed; or NULL */
  Warnings *warnings;              /* nullable: where it is told what goes wrong */
  const void *config;              /* the algorithm's settings; a TrainConfig first */
  /* nullable: sees each tape that trains before it is sealed (a test gives its own noise) */
  void (*recorded)(void *user, Graph *g);
  void *user;
} AlgoSetup;

typedef struct AlgoDef AlgoDef;
typedef struct {
  const AlgoDef *def;
  const AlgoSetup *setup; /* what it was made with */
  Policy *policy;         /* what it yields; NULL: a model that does not act */
  Model *model;           /* likewise, where nothing acts; or NULL: its blocks are all it has */
  Blocks blocks;          /* what it owns beside them: optimisers above all */
  const struct Adapter *adapter; /* nullable: what learns in place of the matrices of its `into` */
  struct HeldOut *held;          /* nullable: its loss on rows kept apart (rl/algos/held_out.h) */
  bool wants_init;               /* needs --init */
  bool ended;                    /* it has stopped by itself: the run ends before its last step */
} Agent;                         /* first member of every algorithm's state */

/* Measures that are taken together (rl/measure/measure.h says what a measure is).  A set without
 * any looks at the agent for warnings alone (rl/warnings.h). */
typedef struct {
  const Measure *measures;
  int count;
  MeasureWhen when;
  bool (*applies)(const Agent *agent); /* nullable: to every run */
  /* the numbers, in the table's order */
  bool (*measure)(Agent *agent, double *value, Error *error);
  /* nullable: the members of the line where it says more than the numbers, with what they were
   * made; else measures_put */
  void (*write)(const Agent *agent, const double *value, JsonText *out);
} MeasureSet;

enum { ALGO_MEASURES = 4 };

/* A setting that has an effect only where another has a value, or ("but") another than that. */
typedef struct {
  const char *key, *where, *is, *but; /* one of the last two is NULL */
} SettingNeed;

struct AlgoDef {
  const char *name, *paper, *about;
  const SourceDef *source; /* what it learns from */
  const SourceDef *also;   /* &source_environment: it acts there while it learns; else NULL */
  const ConfigField *fields;
  size_t field_count, config_size;
  bool fine_tunes; /* `create` builds what `from` holds and begins with its numbers: needs --init */
  const SettingNeed *needs; /* nullable: what may not be set for nothing; ends with a key NULL */
  Agent *(*create)(const AlgoSetup *setup, Error *error);
  /* nullable: one step in the environment before update number `step` */
  bool (*collect)(Agent *agent, int64_t step, Error *error);
  /* one gradient step; false if the numbers are no longer finite */
  bool (*update)(Agent *agent, int64_t step, Log *log);
  /* what it is measured by: all of these that apply, in this order; NULL ends */
  const MeasureSet *measured[ALGO_MEASURES + 1];
  /* nullable: figures of what was learned, after an evaluation or at the end of a sitting; what
   * fails is noted and ends nothing */
  bool (*show)(Agent *agent, MeasureWhen when, Figures *figures, Error *error);
  /* nullable: state beyond policy, model and blocks (a simulator's) */
  bool (*save_more)(const Agent *agent, Checkpoint *checkpoint, Error *error);
  bool (*load_more)(Agent *agent, const Checkpoint *checkpoint, Error *error);
  void (*close)(Agent *agent); /* nullable: give back what is not in the arena */
};

const AlgoDef *const *algo_list(size_t *count);
const AlgoDef *algo_find(const char *name, Error *error); /* suggests the nearest */

/* Bytes of all weights and of what optimisers keep beside them. */
size_t algo_bytes(const Agent *agent);

/* The setting eval_episodes; 0: nothing acts. */
int algo_episodes(const AlgoSetup *setup);

/* Adam at this rate under the shared settings (schedule, its length). */
OptimSpec algo_optim(const TrainConfig *config, double rate, double clip);

/* A policy of this kind for this run: the shape that the settings say, initial weights, action
 * bounds and normaliser of the data.  NULL and an error for a shape that cannot be. */
Policy *algo_policy(const AlgoSetup *setup, const PolicyDef *def, Error *error);

/* A model of this kind that learns `data`, with the settings of the run; then its struct's other
 * members, and algo_model_build: network, blocks, initial weights (FAIL_USAGE). */
Model *algo_model(const AlgoSetup *setup, const ModelDef *def, const char *data);
bool algo_model_build(const AlgoSetup *setup, Model *model, Error *error);

/* Sampling as the model's settings say, with the run's seed and threads. */
ModelSampling algo_sampling(const AlgoSetup *setup, const Model *model);

/* An optimiser of these Params that the agent saves and loads. */
Optim *algo_train(const AlgoSetup *setup, Agent *agent, Params *params, double rate, double clip);

/* The steps after which the average of the policy's weights is one, 0 if it has none; and, before
 * it is measured or saved, has it begun?  Until then the online weights act. */
int64_t algo_average_from(const Agent *agent);
void algo_average(const Agent *agent);

/* Can what it yields act as its act record will say?  FAIL_USAGE if not; true if nothing acts. */
bool algo_check_acting(const Agent *agent, Error *error);

/* All that a checkpoint holds of an agent: policy or model, blocks, and what is special. */
bool algo_save(const Agent *agent, Checkpoint *checkpoint, Error *error);
bool algo_load(Agent *agent, const Checkpoint *checkpoint, Error *error);

/* --init: begin with the weights of another run. */
bool algo_begin(Agent *agent, const Checkpoint *from, BlocksBegun *begun, Error *error);

/* A tape of this run.  One that trains Params is shared by all ranks, each of which must run it;
 * one that trains none (NULL) belongs to the rank that runs it. */
GraphSpec algo_graph_spec(const AlgoSetup *setup, Params *trained);
Graph *algo_graph(const AlgoSetup *setup, Params *trained);

/* A batch of this run, of which each rank samples the rows it owns; the others stay zero. */
Batch *algo_batch(const AlgoSetup *setup, const Column *columns);

#endif
