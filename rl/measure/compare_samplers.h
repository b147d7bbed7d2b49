/* compare_samplers.h -- how good every sampler is with how many evaluations of the network. */
#ifndef RL_COMPARE_SAMPLERS_H
#define RL_COMPARE_SAMPLERS_H
#include "rl/measure/points_distance.h"

/* A JSON array, one object for each sampler that can do this model and each budget of evaluations:
 * its distance to data (toy_distance) and the floor; for gmm on continuous schedules, for methods
 * without noise, also the strong error with the exact score: the root mean square distance of its
 * points to where the ODE leads. */
bool toy_compare_samplers(const Model *model, const ToyDef *data, const ModelSampling *how,
                          const char *path, Error *error);

#endif
