/* analytic.c -- the simulator of tasks that are a formula: it keeps their numbers. */
#include "envs/analytic.h"
#include "core/check.h"
#include "envs/env_ops.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STATE = 16 };

typedef struct {
  const AnalyticTask *task;
} Model;

typedef struct {
  const AnalyticTask *task;
  double state[MAX_STATE]; /* qpos, then qvel */
} Sim;

static void *model_load(const EnvDef *def, Error *error) {
  Model *model = malloc(sizeof *model);
  if (!model) return error_set(error, FAIL_RUNNING, "out of memory"), NULL;
  model->task = def->spec;
  CHECK(model->task->nq + model->task->nv <= MAX_STATE, "%s: too large a state", def->name);
  return model;
}

static void model_unload(void *model) { free(model); }

static void *sim_create(const void *model, Error *error) {
  Sim *sim = calloc(1, sizeof *sim);
  if (!sim) return error_set(error, FAIL_RUNNING, "out of memory"), NULL;
  sim->task = ((const Model *)model)->task;
  return sim;
}

static void sim_destroy(void *sim) { free(sim); }

static void sim_reset(void *context, Rng noise, uint64_t episode) {
  Sim *sim = context;
  sim->task->reset(sim->state, sim->state + sim->task->nq, noise, episode);
}

static bool sim_step(void *context, const float *act, const float *charged, double *reward,
                     bool *terminal) {
  (void)charged; /* these tasks clip first, as Gymnasium's pendulum does */
  Sim *sim = context;
  Sim before = *sim;
  *reward = sim->task->step(sim->state, sim->state + sim->task->nq, act, terminal);
  bool sound = isfinite(*reward);
  for (int i = 0; i < sim->task->nq + sim->task->nv; i++) sound = sound && isfinite(sim->state[i]);
  if (!sound) *sim = before;
  return sound;
}

static void sim_observe(const void *context, float *obs) {
  const Sim *sim = context;
  sim->task->observe(sim->state, sim->state + sim->task->nq, obs);
}

static size_t sim_state_size(const void *sim) { return sizeof((const Sim *)sim)->state; }

static void sim_state_save(const void *sim, void *state) {
  memcpy(state, ((const Sim *)sim)->state, sim_state_size(sim));
}

static void sim_state_load(void *sim, const void *state) {
  memcpy(((Sim *)sim)->state, state, sim_state_size(sim));
}

static int sim_nq(const void *sim) { return ((const Sim *)sim)->task->nq; }
static int sim_nv(const void *sim) { return ((const Sim *)sim)->task->nv; }

static void sim_positions(const void *context, double *qpos, double *qvel) {
  const Sim *sim = context;
  for (int i = 0; i < sim->task->nq; i++) qpos[i] = sim->state[i];
  for (int i = 0; i < sim->task->nv; i++) qvel[i] = sim->state[sim->task->nq + i];
}

static void sim_set_positions(void *context, const double *qpos, const double *qvel) {
  Sim *sim = context;
  for (int i = 0; i < sim->task->nq; i++) sim->state[i] = qpos[i];
  for (int i = 0; i < sim->task->nv; i++) sim->state[sim->task->nq + i] = qvel[i];
}

const EnvOps analytic_ops = {
  .load = model_load,
  .unload = model_unload,
  .create = sim_create,
  .destroy = sim_destroy,
  .reset = sim_reset,
  .step = sim_step,
  .observe = sim_observe,
  .state_size = sim_state_size,
  .state_save = sim_state_save,
  .state_load = sim_state_load,
  .nq = sim_nq,
  .nv = sim_nv,
  .positions = sim_positions,
  .set_positions = sim_set_positions,
};
