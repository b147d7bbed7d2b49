/* evaluate.h -- the return of a policy over many episodes.
 *
 * Episode i of an evaluation seed starts the same for every checkpoint and worker count, and its
 * random numbers are its own, so neither threads nor the order in which episodes end matter. */
#ifndef RL_EVALUATE_H
#define RL_EVALUATE_H
#include "core/json.h"
#include "envs/env.h"
#include "policy/policy.h"
#include "rl/measure/measure.h"

typedef enum {
  SEEDS_SELECTION, /* while training, to choose `best` */
  SEEDS_REPORT,    /* for figures that are told: other episodes */
} EvalSeeds;

typedef struct {
  int episodes;
  EvalSeeds seeds;
  uint64_t seed;
  Pool *pool;
  const Kernels *kernels;
  Profile *profile;   /* nullable: see rollout.h */
  bool (*stop)(void); /* nullable: asked every step; true ends the evaluation early */
  bool tells;         /* how far it is, on stderr */
} EvalSpec;

typedef struct {
  int episodes, failures; /* failures: the simulator gave up; they count with the return reached */
  bool stopped;           /* early: nothing below means anything */
  double return_mean, return_std; /* over episodes, n - 1 */
  double length_mean;
  double *returns; /* [episodes], in the arena */
  int *lengths;    /* [episodes] */
  bool *failed;    /* [episodes] */
} EvalResult;

/* Arena: for envs' buffers and the result; may be reset afterwards.  Fails if the simulator cannot
 * be set up or the act record asks for what the policy has not. */
bool evaluate(Arena *arena, const EnvModel *env, const Policy *policy, const EvalSpec *spec,
              EvalResult *result, Error *error);

/* The seed of episodes and of the policy's noise; the two kinds have nothing in common. */
uint64_t eval_episode_seed(EvalSeeds seeds, uint64_t seed);

/* A result as the numbers of measure_returns, measures_numbers(.., result->episodes) of them;
 * reference: use the task's reference scores. */
void eval_values(const EvalResult *result, const EnvDef *env, bool reference, double *value);

/* These as members of a line of eval.jsonl and of `eval --json`, behind the step, without braces,
 * and what they were made with.  `which` says which checkpoint. */
void eval_write(const double *value, int episodes, const EnvDef *env, const Policy *policy,
                const char *which, bool reference, JsonText *out);

#endif
