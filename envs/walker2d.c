/* walker2d.c -- a planar biped: Gym's Walker2d, D4RL's walker2d-*-v2.
 *
 *   qpos [9]  x, z, torso angle, right thigh, leg, foot, left thigh, leg, foot    m and rad
 *   act  [6]  torques of the six hinges, of 100 N m
 *   obs [17]  qpos without x, qvel clipped to +-10 */
#include "envs/env.h"
#include "envs/env_ops.h"
#include "envs/models.h"
#include "envs/mujoco.h"
#include <math.h>

enum { NQ = 9, NV = 9, NU = 6 };

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
  double z = body->qpos[1], angle = body->qpos[2];
  return 0.8 < z && z < 2.0 && fabs(angle) < 1.0;
}

static const MujocoTask walker2d = {
  .xml = model_walker2d,
  .frame_skip = 4,
  .qpos_noise = { NOISE_UNIFORM, 5e-3 },
  .qvel_noise = { NOISE_UNIFORM, 5e-3 },
  .observe = observe,
  .reward = reward,
  .healthy = healthy,
};

#define WALKER2D                                                                                   \
  .task = "walker2d", .about = "planar biped: walk without falling", .obs_dim = 17, .act_dim = NU, \
  .horizon = 1000, .act_low = -1, .act_high = 1, .return_random = 1.629008,                        \
  .return_expert = 4592.3, .ops = &mujoco_ops, .spec = &walker2d

const EnvDef env_walker2d_v2 = { WALKER2D, .name = "walker2d-v2", .physics = "v2",
                                 .d4rl_reference = true };
const EnvDef env_walker2d_v4 = { WALKER2D, .name = "walker2d-v4", .physics = "v4",
                                 .charges_given = true };
