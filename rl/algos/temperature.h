/* temperature.h -- SAC's policy and its temperature as two objectives, for all that stand on it.
 * Haarnoja et al. 2018 (arXiv 1812.05905), equations 7 and 18.
 *
 *   Jpi = mean (alpha log pi(a|s) - min_i Q_i(s, a)),            a ~ pi(. | s)
 *   Ja  = -mean alpha (log pi(a|s) + target entropy),            target entropy = -dim A */
#ifndef RL_TEMPERATURE_H
#define RL_TEMPERATURE_H
#include "rl/algos/objective.h"

typedef struct {
  const char *value; /* how critics become one, and rho: critic_value */
  double rho;
  double actor_rate, temperature_rate;
  bool by_alpha; /* Ja multiplies alpha, as in the paper; else log alpha, as released code does */
} SoftSpec;

typedef struct {
  Objective actor, temperature;
  Params *log_alpha; /* block "temperature" */
} SoftActor;

/* Records both; the agent's policy is gaussian and has critics, the batch a column "obs". */
void soft_actor_begin(SoftActor *soft, const AlgoSetup *setup, Agent *agent, const SoftSpec *spec,
                      const Batch *batch);

/* alpha as a number of another tape. */
Tensor *soft_alpha(const SoftActor *soft, Graph *g);

/* The temperature's block, before a tape reads it. */
void soft_actor_declare(SoftActor *soft, const AlgoSetup *setup, Agent *agent);

bool soft_actor_step(SoftActor *soft, int rows, int64_t step, Log *log);

#endif
