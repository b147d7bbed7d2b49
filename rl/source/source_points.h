/* source_points.h -- endless sets of points in the plane (datasets/toy_sets.h). */
#ifndef RL_SOURCE_POINTS_H
#define RL_SOURCE_POINTS_H
#include "datasets/toy_sets.h"
#include "rl/source/source.h"

extern const SourceDef source_points;

const ToyDef *points_of(const Source *source); /* CHECKs the kind */

#endif
