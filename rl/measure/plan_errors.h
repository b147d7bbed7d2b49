/* plan_errors.h -- plans beside the windows of the data that begin in the same states. */
#ifndef RL_PLAN_ERRORS_H
#define RL_PLAN_ERRORS_H
#include "datasets/batch.h"
#include "envs/env.h"
#include "policy/models/plans.h"

typedef struct {
  int count;
  float *windows, *plans; /* [count, horizon, width], in the data's units; owned by the arena */
} DiffuserPlans;

/* `whole` draws windows that lie within episodes; only its data, seed and pool are used. */
bool diffuser_plans_new(DiffuserPlans *plans, Arena *arena, const PlansModel *model,
                        const ModelSampling *how, const Drawer *whole, int count, Error *error);

/* Members of a line of eval.jsonl: "plan_error", "data_error" and the rest of dynamics.h, of plans
 * and of windows.  scale: dynamics_scale.  *error_of_plans is set too. */
bool diffuser_plans_measure(const DiffuserPlans *plans, const PlansModel *model,
                            const EnvModel *env, const float *scale, JsonText *line,
                            double *error_of_plans, Error *error);

#endif
