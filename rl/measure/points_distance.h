/* points_distance.h -- how far the samples of a model of points are from the data. */
#ifndef RL_POINTS_DISTANCE_H
#define RL_POINTS_DISTANCE_H
#include "datasets/toy_sets.h"
#include "policy/models/points.h"

/* Data points [count, 2]: number `from` and on of the set under a seed. */
void points_data(const ToyDef *data, uint64_t seed, uint64_t from, int count, double *points);

/* Sliced Wasserstein distance between samples and data that no training saw, averaged over `draws`
 * of `count` points each. */
bool points_distance(const Model *model, const ToyDef *data, const ModelSampling *how, int count,
                     int draws, double *distance, Error *error);

/* The same between two samples of data: the best a model can do. */
double points_floor(const ToyDef *data, uint64_t seed, int count);

#endif
