/* train.h -- the training loop that all algorithms share.
 *
 * Batches, periodic evaluation, `last` and `best`, metrics, signals and resuming.  A run that was
 * interrupted anywhere and resumed writes the same bits as one that was not. */
#ifndef RL_TRAIN_H
#define RL_TRAIN_H
#include "core/config.h"
#include "rl/algo.h"
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
  const char *data_name; /* as given; NULL for online algorithms */
  Run run;
  Pool *pool;
  const Kernels *kernels;
  Dataset *data;
  const ToyDef *toy;      /* what toy models learn; else NULL */
  const ImageSet *images; /* what image models learn; else NULL */
  DatasetSummary summary;
  const EnvDef *env_def; /* NULL: no environment */
  EnvModel *env;
  Drawer drawer, held; /* held: rows kept apart when there is no environment */
  AlgoSetup setup;
  Agent *agent;
  Figures figures; /* of the run so far; train_run opens the list */
  uint64_t seed;
  bool reference; /* normalised scores are shown */
} Trainer;

/* The name of what it learns from, and the hash of its content; NULL: nothing, or no file. */
const char *trainer_data(const Trainer *t);
const char *trainer_data_hash(const Trainer *t);

/* Does this process write, evaluate and talk?  Rank 0 does; the others train with it. */
bool trainer_records(const Trainer *t);

/* Settings, data, environment, run folder and agent; on failure nothing is left open and the
 * error says what to do (on the rank that fails; the others fail with an empty text).
 * trainer_close(zeroed trainer) is allowed. */
bool trainer_open(Trainer *t, const TrainRequest *request, Error *error);
void trainer_close(Trainer *t);

/* The state a checkpoint of this trainer holds, and back. */
bool trainer_save(const Trainer *t, const char *path, int64_t step, int64_t evaluated, double best,
                  const Log *log, Error *error);

typedef struct {
  int64_t steps;
  double seconds, steps_per_s;
  int64_t sent; /* bytes a step that this rank sent; 0: alone */
  int signal;   /* that stopped the run; 0: it is complete */
} TrainOutcome;

/* Train to the end (or a signal).  Fails with FAIL_DIVERGED if numbers are no longer finite, and
 * with FAIL_RUNNING if a rank is lost: the last good checkpoint stands. */
bool train_run(Trainer *t, TrainOutcome *outcome, Error *error);

/* What a sitting leaves behind: RUN/measures.json, unless a signal ended it, and figures.  For the
 * rank that records; what fails is noted, for the training is saved. */
void train_show(Trainer *t, const TrainOutcome *outcome);

#endif
