/* env.c -- the list of tasks, and what all of them share: clipped actions, horizons, reset streams.
 *
 * Everything else is the simulator's (env_ops.h). */
#include "envs/env.h"
#include "core/check.h"
#include "core/names.h"
#include "core/rng.h"
#include "envs/env_ops.h"
#include "envs/mujoco.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One line a task; its EnvDef is env_<name>, in a file of its own or of its family. */
#define TASKS(X)                                                                                   \
  X(hopper_v2)                                                                                     \
  X(hopper_v4)                                                                                     \
  X(halfcheetah_v2)                                                                                \
  X(halfcheetah_v4)                                                                                \
  X(walker2d_v2)                                                                                   \
  X(walker2d_v4)                                                                                   \
  X(pendulum_v1)                                                                                   \
  X(pendulum_angle_v1)                                                                             \
  X(point_v0)                                                                                      \
  X(bandit_v0)

#define DECLARE(name) extern const EnvDef env_##name;
#define ENTRY(name)   &env_##name,

TASKS(DECLARE)
static const EnvDef *const registry[] = { TASKS(ENTRY) };

struct Env {
  const EnvModel *model;
  void *sim;
  int64_t step; /* control steps since the reset */
};

static const EnvOps *ops_of(const Env *env) { return env->model->def->ops; }

const EnvDef *const *env_list(size_t *count) {
  *count = sizeof registry / sizeof *registry;
  return registry;
}

const EnvDef *env_find(const char *name) {
  size_t count;
  const EnvDef *const *all = env_list(&count);
  int i = names_index(NAMES(all, count, .pointers = true), name);
  return i < 0 ? NULL : all[i];
}

double env_normalized(const EnvDef *def, double episode_return) {
  CHECK(def->return_expert > def->return_random, "%s has no reference returns", def->name);
  return 100 * (episode_return - def->return_random) / (def->return_expert - def->return_random);
}

EnvModel *env_load(const EnvDef *def, Error *error) {
  EnvModel *model = calloc(1, sizeof *model);
  if (!model) return error_set(error, FAIL_RUNNING, "%s: out of memory", def->name), NULL;
  model->def = def;
  model->compiled = def->ops->load(def, error);
  if (model->compiled) return model;
  error_prefix(error, "environment %s", def->name);
  free(model);
  return NULL;
}

void env_unload(EnvModel *model) {
  if (!model) return;
  model->def->ops->unload(model->compiled);
  free(model);
}

const EnvDef *env_def(const EnvModel *model) { return model->def; }

Env *env_create(const EnvModel *model, Error *error) {
  Env *env = calloc(1, sizeof *env);
  if (!env) return error_set(error, FAIL_RUNNING, "%s: out of memory", model->def->name), NULL;
  env->model = model;
  env->sim = model->def->ops->create(model->compiled, error);
  if (env->sim) return env;
  error_prefix(error, "environment %s", model->def->name);
  free(env);
  return NULL;
}

void env_free(Env *env) {
  if (!env) return;
  ops_of(env)->destroy(env->sim);
  free(env);
}

void env_reset(Env *env, uint64_t seed, uint64_t episode, float *obs) {
  env->step = 0;
  ops_of(env)->reset(env->sim, rng_stream(seed, "env reset"), episode);
  ops_of(env)->observe(env->sim, obs);
}

/* False if a number of the action is not one. */
static bool clip_action(const EnvDef *def, const float *act, float *clipped) {
  for (int i = 0; i < def->act_dim; i++) {
    if (isnan(act[i])) return false;
    clipped[i] = fminf(fmaxf(act[i], (float)def->act_low), (float)def->act_high);
  }
  return true;
}

EnvStep env_step(Env *env, const float *act, float *obs) {
  const EnvDef *def = env->model->def;
  float clipped[ENV_MAX_ACT];
  double reward = 0;
  bool terminal = false;
  const float *charged = def->charges_given ? act : clipped;
  bool ok = clip_action(def, act, clipped) &&
            def->ops->step(env->sim, clipped, charged, &reward, &terminal) && isfinite(reward);
  def->ops->observe(env->sim, obs);
  env->step++;
  if (!ok) return (EnvStep){ .terminal = true, .failed = true };
  return (EnvStep){ .reward = (float)reward,
                    .terminal = terminal,
                    .timeout = !terminal && env->step >= def->horizon };
}

void env_advance(Env *env, const float *act) {
  CHECK(ops_of(env)->advance, "%s: no simulator of its own", env->model->def->name);
  ops_of(env)->advance(env->sim, act);
}

size_t env_state_size(const Env *env) {
  return sizeof env->step + ops_of(env)->state_size(env->sim);
}

void env_state_save(const Env *env, void *state) {
  memcpy(state, &env->step, sizeof env->step);
  ops_of(env)->state_save(env->sim, (char *)state + sizeof env->step);
}

bool env_state_load(Env *env, const void *state) {
  const char *from = (const char *)state + sizeof env->step;
  int64_t step;
  memcpy(&step, state, sizeof step);
  bool sound = step >= 0 && step <= env->model->def->horizon;
  for (size_t i = 0; i + sizeof(double) <= ops_of(env)->state_size(env->sim); i += sizeof(double)) {
    double number; /* all that simulators save */
    memcpy(&number, from + i, sizeof number);
    sound = sound && isfinite(number);
  }
  if (!sound) return false;
  env->step = step;
  ops_of(env)->state_load(env->sim, from);
  return true;
}

int env_nq(const Env *env) { return ops_of(env)->nq(env->sim); }
int env_nv(const Env *env) { return ops_of(env)->nv(env->sim); }

void env_positions(const Env *env, double *qpos, double *qvel) {
  ops_of(env)->positions(env->sim, qpos, qvel);
}

void env_set_positions(Env *env, const double *qpos, const double *qvel, float *obs) {
  env->step = 0;
  ops_of(env)->set_positions(env->sim, qpos, qvel);
  ops_of(env)->observe(env->sim, obs);
}

bool env_set_observed(Env *env, const float *obs) {
  double q[2 * ENV_MAX_OBS] = { 0 };
  float same[ENV_MAX_OBS];
  int nq = env_nq(env), n = env->model->def->obs_dim;
  if (nq < 2 || nq + env_nv(env) != n + 1) return false;
  for (int i = 0; i < n; i++) q[i + 1] = (double)obs[i];
  env_set_positions(env, q, q + nq, same);
  return true;
}

const char *env_simulator(void) { return mujoco_release(); }
