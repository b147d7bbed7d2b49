/* pointmass.c -- a point in the plane, pushed towards the origin: learnt in seconds, for tests.
 *
 *   qpos [2]  position, qvel [2] velocity      start: U(-1, 1)^2 at rest
 *   act  [2]  acceleration
 *   obs  [4]  position, velocity
 *   reward    minus the distance to the origin after the step */
#include "envs/analytic.h"
#include "envs/env.h"
#include "envs/env_ops.h"
#include <math.h>

static const double DT = 0.1;

static void reset(double *qpos, double *qvel, Rng noise, uint64_t episode) {
  for (uint32_t i = 0; i < 2; i++) {
    qpos[i] = 2 * rng_uniform(noise, episode, 0, i) - 1;
    qvel[i] = 0;
  }
}

static double step(double *qpos, double *qvel, const float *act, bool *terminal) {
  (void)terminal;
  for (int i = 0; i < 2; i++) {
    qvel[i] += DT * (double)act[i];
    qpos[i] += DT * qvel[i];
  }
  return -hypot(qpos[0], qpos[1]);
}

static void observe(const double *qpos, const double *qvel, float *obs) {
  for (int i = 0; i < 2; i++) {
    obs[i] = (float)qpos[i];
    obs[2 + i] = (float)qvel[i];
  }
}

static const AnalyticTask pointmass = {
  .nq = 2, .nv = 2, .reset = reset, .step = step, .observe = observe
};

const EnvDef env_point_v0 = {
  .name = "point-v0",
  .task = "point",
  .physics = "none",
  .about = "point mass in the plane: come to the origin and stay",
  .obs_dim = 4,
  .act_dim = 2,
  .horizon = 100,
  .act_low = -1,
  .act_high = 1,
  .ops = &analytic_ops,
  .spec = &pointmass,
};
