/* analytic.h -- a task whose dynamics are a formula of a few numbers.  pointmass.c is complete. */
#ifndef ENVS_ANALYTIC_H
#define ENVS_ANALYTIC_H
#include "core/rng.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct {
  int nq, nv;
  /* The start of this episode; draw i of the stream is (noise, episode, 0, i). */
  void (*reset)(double *qpos, double *qvel, Rng noise, uint64_t episode);
  /* Advance the state in place; returns the reward.  *terminal comes in false. */
  double (*step)(double *qpos, double *qvel, const float *act, bool *terminal);
  void (*observe)(const double *qpos, const double *qvel, float *obs);
} AnalyticTask;

extern const struct EnvOps analytic_ops; /* of an EnvDef whose spec is an AnalyticTask */

#endif
