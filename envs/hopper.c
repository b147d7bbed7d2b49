/* hopper.c -- a one-legged planar hopper: Gym's Hopper, D4RL's hopper-*-v2.
 *
 *   qpos [6]  x, z, torso angle, thigh, leg, foot    m and rad
 *   act  [3]  torques of thigh, leg and foot         of 200 N m
 *   obs [11]  qpos without x, qvel clipped to +-10 */
#include "envs/env.h"
#include "envs/env_ops.h"
#include "envs/models.h"
#include "envs/mujoco.h"
#include <math.h>

enum { NQ = 6, NV = 6, NU = 3 };

static void observe(const Body *body, float *obs) {
  for (int i = 1; i < NQ; i++) *obs++ = (float)body->qpos[i];
  for (int i = 0; i < NV; i++) *obs++ = (float)fmin(fmax(body->qvel[i], -10), 10);
}

/* Forward speed, 1 for being alive (also in the step that ends it), less a little effort. */
static double reward(const Body *before, const Body *after, const float *act) {
  double speed = (after->qpos[0] - before->qpos[0]) / after->dt, effort = 0;
  for (int i = 0; i < NU; i++) effort += (double)act[i] * (double)act[i];
  return speed + 1 - 1e-3 * effort;
}

static bool healthy(const Body *body) {
  for (int i = 2; i < NQ; i++)
    if (!(fabs(body->qpos[i]) < 100)) return false;
  for (int i = 0; i < NV; i++)
    if (!(fabs(body->qvel[i]) < 100)) return false;
  return body->qpos[1] > 0.7 && fabs(body->qpos[2]) < 0.2;
}

static const MujocoTask hopper = {
  .xml = model_hopper,
  .frame_skip = 4,
  .qpos_noise = { NOISE_UNIFORM, 5e-3 },
  .qvel_noise = { NOISE_UNIFORM, 5e-3 },
  .observe = observe,
  .reward = reward,
  .healthy = healthy,
};

#define HOPPER                                                                                     \
  .task = "hopper", .about = "one-legged planar hopper: run without falling", .obs_dim = 11,       \
  .act_dim = NU, .horizon = 1000, .act_low = -1, .act_high = 1, .return_random = -20.272305,       \
  .return_expert = 3234.3, .ops = &mujoco_ops, .spec = &hopper

const EnvDef env_hopper_v2 = { HOPPER, .name = "hopper-v2", .physics = "v2",
                               .d4rl_reference = true };
const EnvDef env_hopper_v4 = { HOPPER, .name = "hopper-v4", .physics = "v4",
                               .charges_given = true };
