/* halfcheetah.c -- a planar cheetah's half: Gym's HalfCheetah, D4RL's halfcheetah-*-v2.
 *
 *   qpos [9]  x, z, pitch, back thigh, shin, foot, front thigh, shin, foot    m and rad
 *   act  [6]  torques of the six hinges, of 120, 90, 60, 120, 60 and 30 N m
 *   obs [17]  qpos without x, qvel
 *
 * It never terminates: a cheetah on its back runs on. */
#include "envs/env.h"
#include "envs/env_ops.h"
#include "envs/models.h"
#include "envs/mujoco.h"

enum { NQ = 9, NV = 9, NU = 6 };

static void observe(const Body *body, float *obs) {
  for (int i = 1; i < NQ; i++) *obs++ = (float)body->qpos[i];
  for (int i = 0; i < NV; i++) *obs++ = (float)body->qvel[i];
}

/* Forward speed less effort. */
static double reward(const Body *before, const Body *after, const float *act) {
  double speed = (after->qpos[0] - before->qpos[0]) / after->dt, effort = 0;
  for (int i = 0; i < NU; i++) effort += (double)act[i] * (double)act[i];
  return speed - 0.1 * effort;
}

static const MujocoTask halfcheetah = {
  .xml = model_halfcheetah,
  .frame_skip = 5,
  .qpos_noise = { NOISE_UNIFORM, 0.1 },
  .qvel_noise = { NOISE_NORMAL, 0.1 },
  .observe = observe,
  .reward = reward,
};

#define HALFCHEETAH                                                                                \
  .task = "halfcheetah", .about = "planar two-legged cheetah: run fast", .obs_dim = 17,            \
  .act_dim = NU, .horizon = 1000, .act_low = -1, .act_high = 1, .return_random = -280.178953,      \
  .return_expert = 12135.0, .ops = &mujoco_ops, .spec = &halfcheetah

const EnvDef env_halfcheetah_v2 = { HALFCHEETAH, .name = "halfcheetah-v2", .physics = "v2",
                                    .d4rl_reference = true };
const EnvDef env_halfcheetah_v4 = { HALFCHEETAH, .name = "halfcheetah-v4", .physics = "v4",
                                    .charges_given = true };
