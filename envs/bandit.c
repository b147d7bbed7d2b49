/* bandit.c -- one choice, four good answers, one of them best: the smallest test of a policy that
 * must be multimodal before it may be greedy.
 *
 *   act  [2]  a point in the square
 *   obs  [1]  always 1
 *   reward    sum of four Gaussian bumps of width 0.2 at (+-0.8, +-0.8): the one at (0.8, 0.8) of
 *             height 1, the others of height 1/2 */
#include "envs/analytic.h"
#include "envs/env.h"
#include "envs/env_ops.h"
#include <math.h>

static const struct {
  double x, y, height;
} bumps[] = { { 0.8, 0.8, 1 }, { 0.8, -0.8, 0.5 }, { -0.8, 0.8, 0.5 }, { -0.8, -0.8, 0.5 } };

static void reset(double *qpos, double *qvel, Rng noise, uint64_t episode) {
  (void)qpos, (void)qvel, (void)noise, (void)episode;
}

static double step(double *qpos, double *qvel, const float *act, bool *terminal) {
  const double width = 0.2;
  double reward = 0;
  (void)qpos, (void)qvel;
  for (int i = 0; i < 4; i++) {
    double dx = (double)act[0] - bumps[i].x, dy = (double)act[1] - bumps[i].y;
    reward += bumps[i].height * exp(-(dx * dx + dy * dy) / (2 * width * width));
  }
  *terminal = true;
  return reward;
}

static void observe(const double *qpos, const double *qvel, float *obs) {
  (void)qpos, (void)qvel;
  *obs = 1;
}

static const AnalyticTask bandit = { .reset = reset, .step = step, .observe = observe };

const EnvDef env_bandit_v0 = {
  .name = "bandit-v0",
  .task = "bandit",
  .physics = "none",
  .about = "one step, four modes of reward: choose the best",
  .obs_dim = 1,
  .act_dim = 2,
  .horizon = 1,
  .act_low = -1,
  .act_high = 1,
  .ops = &analytic_ops,
  .spec = &bandit,
};
