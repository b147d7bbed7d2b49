/* compare_samplers.h -- how good every sampler is with how many evaluations of the network. */
#ifndef RL_COMPARE_SAMPLERS_H
#define RL_COMPARE_SAMPLERS_H
#include "rl/measure/figures.h"
#include "rl/measure/points_distance.h"

/* Two figures.  samplers.json: for each sampler that can do this model and each budget of
 * evaluations its distance to data (points_distance) beside the floor.  solvers.json, for gmm on
 * continuous schedules and methods without noise: the strong error with the exact score, the root
 * mean square distance of its points to where the ODE leads. */
bool toy_compare_samplers(const Model *model, const ToyDef *data, const ModelSampling *how,
                          Figures *figures, Error *error);

#endif
