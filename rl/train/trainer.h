/* trainer.h -- a run that is set up: from what the command line asks for to an agent. */
#ifndef RL_TRAINER_H
#define RL_TRAINER_H
#include "core/config.h"
#include "rl/algo.h"
#include "rl/source/source_environment.h"
#include "rl/train/run.h"

enum { TRAIN_MAX_SETS = 64 };

/* What the command line asks for; NULL and 0 mean: not given. */
typedef struct {
  const char *algo, *data, *env, *out, *preset, *config_file, *resume, *init;
  const char *set[TRAIN_MAX_SETS]; /* "key=value" */
  int sets;
  int64_t steps;
  uint64_t seed;
  int threads;
  bool allow_env_mismatch, dry_run, json, d4rl_reference;
  Ranks *ranks; /* that train together: the same request on each; NULL: alone */
} TrainRequest;

/* A run that is set up: everything the loop needs. */
typedef struct {
  Arena *arena;
  const TrainRequest *request;
  const AlgoDef *algo;
  void *config; /* the algorithm's settings */
  const TrainConfig *shared;
  Config settings;
  const char *preset;    /* its name, or NULL */
  const char *data_name; /* as given; NULL: it learns from no data */
  const char *init;      /* whose weights it began with; NULL: its seed's */
  Run run;
  Pool *pool;
  const Kernels *kernels;
  Source *source, *beside;        /* what it learns from; an environment beside it, or NULL */
  const Environment *environment; /* the one of the two that is an environment; NULL: none */
  const EnvDef *env_def;          /* of the environment, or NULL */
  EnvModel *env;                  /* likewise */
  AlgoSetup setup;
  Arena *from_arena; /* of the checkpoint that it begins with or continues; NULL: none */
  Checkpoint from;
  const char *from_path;
  Agent *agent;
  Figures figures;   /* of the run so far; train_run opens the list */
  Warnings warnings; /* of all sittings */
  uint64_t seed;
  bool reference; /* normalised returns are shown */
} Trainer;

/* What a run needs, once it is set up and before it has touched most of it. */
typedef struct {
  size_t all;     /* weights, moments, tapes and replay */
  size_t weights; /* of these: weights and moments */
  size_t data;    /* a file's, shared with the page cache */
  size_t given;   /* by the machine and its limits, with what is taken already */
} TrainerMemory;
TrainerMemory trainer_memory(const Trainer *t);

/* Does this process write, evaluate and talk?  Rank 0 does; the others train with it. */
bool trainer_records(const Trainer *t);

/* Settings, data, environment, run folder and agent; on failure nothing is left open and the
 * error says what to do (on the rank that fails; the others fail with an empty text).
 * trainer_close(zeroed trainer) is allowed. */
bool trainer_open(Trainer *t, const TrainRequest *request, Error *error);
void trainer_close(Trainer *t);

/* The source gives rows in the units of the policy, which may be those of --init. */
void trainer_keep_units(const Trainer *t);

#endif
