/* pendulum.c -- swing a pendulum up and hold it: Gym's Pendulum-v1.
 *
 *   qpos [1]  angle, 0 = up       qvel [1] its rate, within +-8        rad, s
 *   act  [1]  torque, within +-2 N m: too little to lift it in one go
 *   obs  [3]  cos, sin, rate; pendulum-angle-v1: [2] cos, sin, so only a history shows the rate */
#include "envs/analytic.h"
#include "envs/env.h"
#include "envs/env_ops.h"
#include <math.h>

static const double PI = 3.14159265358979323846;

static void reset(double *qpos, double *qvel, Rng noise, uint64_t episode) {
  *qpos = PI * (2 * rng_uniform(noise, episode, 0, 0) - 1);
  *qvel = 2 * rng_uniform(noise, episode, 0, 1) - 1;
}

/* The cost is that of the state before the step. */
static double step(double *qpos, double *qvel, const float *act, bool *terminal) {
  const double g = 10, m = 1, l = 1, dt = 0.05, u = (double)*act;
  double from_top = remainder(*qpos, 2 * PI);
  double cost = from_top * from_top + 0.1 * *qvel * *qvel + 1e-3 * u * u;
  double rate = *qvel + (3 * g / (2 * l) * sin(*qpos) + 3 / (m * l * l) * u) * dt;
  (void)terminal;
  *qvel = fmin(fmax(rate, -8), 8);
  *qpos += *qvel * dt;
  return -cost;
}

static void observe_angle(const double *qpos, const double *qvel, float *obs) {
  (void)qvel;
  obs[0] = (float)cos(*qpos);
  obs[1] = (float)sin(*qpos);
}

static void observe(const double *qpos, const double *qvel, float *obs) {
  observe_angle(qpos, qvel, obs);
  obs[2] = (float)*qvel;
}

static const AnalyticTask pendulum = {
  .nq = 1, .nv = 1, .reset = reset, .step = step, .observe = observe
};
static const AnalyticTask pendulum_angle = {
  .nq = 1, .nv = 1, .reset = reset, .step = step, .observe = observe_angle
};

const EnvDef env_pendulum_v1 = {
  .name = "pendulum-v1",
  .task = "pendulum",
  .physics = "none",
  .about = "torque-limited pendulum: swing up and hold",
  .obs_dim = 3,
  .act_dim = 1,
  .horizon = 200,
  .act_low = -2,
  .act_high = 2,
  .ops = &analytic_ops,
  .spec = &pendulum,
};

const EnvDef env_pendulum_angle_v1 = {
  .name = "pendulum-angle-v1",
  .task = "pendulum-angle",
  .physics = "none",
  .about = "the same without its rate: needs a history of observations",
  .obs_dim = 2,
  .act_dim = 1,
  .horizon = 200,
  .act_low = -2,
  .act_high = 2,
  .ops = &analytic_ops,
  .spec = &pendulum_angle,
};
