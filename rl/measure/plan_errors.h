/* plan_errors.h -- how well plans obey the simulator, beside windows of the data that begin in the
 * same states. */
#ifndef RL_PLAN_ERRORS_H
#define RL_PLAN_ERRORS_H
#include "datasets/batch.h"
#include "envs/env.h"
#include "policy/models/plans.h"
#include "rl/measure/measure.h"

typedef struct {
  int count;
  float *windows, *plans; /* [count, horizon, width], in the data's units; owned by the arena */
} PlanSamples;

/* `whole` samples windows that lie within episodes; only its data, seed and pool are used. */
bool plan_samples_new(PlanSamples *plans, Arena *arena, const PlansModel *model,
                      const ModelSampling *how, const RowSampler *whole, int count, Error *error);

/* What dynamics.h says of plans and of windows, as measures; scale: dynamics_scale. */
enum { PLAN_MEASURES = 15 };
extern const Measure plan_measures[PLAN_MEASURES];
bool plan_samples_measure(const PlanSamples *plans, const PlansModel *model, const EnvModel *env,
                          const float *scale, double value[PLAN_MEASURES], Error *error);

#endif
