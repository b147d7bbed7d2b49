/* onpolicy_value.h -- V(s), the value that on-policy methods subtract: a network of what the policy
 * sees. */
#ifndef RL_ONPOLICY_VALUE_H
#define RL_ONPOLICY_VALUE_H
#include "rl/algos/objective.h"

typedef struct OnpolicyValue OnpolicyValue;

typedef struct {
  int seen, hidden; /* numbers that it sees; units of a layer (three of Mish) */
  double rate, clip;
} OnpolicyValueSpec;

/* Block "value", which the agent saves and loads, and its optimiser. */
OnpolicyValue *onpolicy_value_new(const AlgoSetup *setup, Agent *agent,
                                  const OnpolicyValueSpec *spec);

/* V of rows [count, row_stride(seen)] -> value [count]. */
void onpolicy_value_find(OnpolicyValue *v, const real *seen, int count, real *value);

/* Row r of the next step, of at most the run's batch. */
void onpolicy_value_put(OnpolicyValue *v, int r, const real *seen, real target);

/* A step on  1/2 mean (V(s) - R)^2; false if it is no longer finite. */
bool onpolicy_value_learn(OnpolicyValue *v, int rows, int64_t step);
void onpolicy_value_log(const OnpolicyValue *v, Log *log); /* "loss/value" and so on */

#endif
