/* plans_picture.h -- plans beside windows of the data, as a PNG file. */
#ifndef RL_PLANS_PICTURE_H
#define RL_PLANS_PICTURE_H
#include "rl/measure/plan_errors.h"

/* A PNG of entries of the state over time: windows (NULL: without), plans, and what the simulator
 * makes of the plans' actions (env NULL: without). */
bool plan_samples_plot(const PlanSamples *plans, const PlansModel *model, const EnvModel *env,
                       const char *path, Error *error);

#endif
