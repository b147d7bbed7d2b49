/* mujoco.c -- MuJoCo behind one door: the only file that includes its header.
 *
 * Runs with 2.2.2 (Debian 12), 3.3.7 and 4.0.1; what differs is behind mjVERSION_HEADER.
 * All workers share one mjModel, read-only, and have an mjData each.
 *
 * Three habits of the engine are tamed here.  Its errors would print, wait for a key and exit: the
 * hook jumps back into guarded() instead.  Its warnings would go to a file in the current folder:
 * they are counted in mjData and read there.  And a state that blows up is silently reset to the
 * start pose, which would look like a teleport: such a step is reported as failed. */
#include "envs/mujoco.h"
#include "core/check.h"
#include "envs/env_ops.h"
#include <math.h>
#include <mujoco/mujoco.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(mjtNum) == sizeof(double), "MuJoCo must be built with double precision");

typedef struct {
  const EnvDef *def;
  const MujocoTask *task;
  mjModel *m;
} Model;

typedef struct {
  const Model *model;
  mjData *d;
  double *before; /* [nq + nv]: the state before the step that is being taken */
} Sim;

/* ---- engine errors --------------------------------------------------------------------------- */

typedef struct {
  jmp_buf back;
  char text[256]; /* the engine's message */
} Rescue;

static _Thread_local Rescue *rescue; /* of the guarded call that this thread is in */

static void on_error(const char *text) {
  CHECK(rescue, "MuJoCo outside a guarded call: %s", text);
  snprintf(rescue->text, sizeof rescue->text, "%s", text);
  longjmp(rescue->back, 1);
}

static void on_warning(const char *text) { (void)text; }

static void install_hooks(void) {
  mju_user_error = on_error;
  mju_user_warning = on_warning;
}

/* work(context); false, and the message in r->text, if the engine raised an error meanwhile. */
static bool guarded(Rescue *r, void (*work)(void *), void *context) {
  if (setjmp(r->back) != 0) {
    rescue = NULL;
    return false;
  }
  rescue = r;
  work(context);
  rescue = NULL;
  return true;
}

/* ---- models ---------------------------------------------------------------------------------- */

/* Which geoms give mass.  The models carry for every capsule an invisible twin in group 4: the
 * cylinder whose inertia MuJoCo before 2.1.1, and so all of D4RL, took for a capsule's. */
static const char *inertia_groups(const char *physics) {
  return strcmp(physics, "v2") == 0 ? "4 4" : "0 3";
}

static bool add_file(mjVFS *vfs, const char *name, const char *text) {
#if mjVERSION_HEADER >= 313
  return mj_addBufferVFS(vfs, name, text, (int)strlen(text)) == 0;
#else
  if (mj_makeEmptyFileVFS(vfs, name, (int)strlen(text)) != 0) return false;
  memcpy(vfs->filedata[mj_findFileVFS(vfs, name)], text, strlen(text));
  return true;
#endif
}

/* Before 2.3 an mjData had room for njmax constraints squared, 13 MB by default, and a reset
 * cleared it.  A capsule on the floor makes 8 rows: cheetah and walker reach 70 with the limits of
 * all their joints. */
#if mjVERSION_HEADER < 230
#define ROOM "<size njmax='200' nconmax='50'/>"
#else
#define ROOM ""
#endif

typedef struct {
  const EnvDef *def;
  mjVFS *vfs;
  mjModel *m;
  char *reason; /* [1000] */
} Compile;

/* The model is the task's file, included by a few lines that choose physics and room. */
static void compile(void *context) {
  Compile *c = context;
  const MujocoTask *task = c->def->spec;
  char top[256];
  snprintf(top, sizeof top,
           "<mujoco><include file='task.xml'/><compiler inertiagrouprange='%s'/>" ROOM "</mujoco>",
           inertia_groups(c->def->physics));
  if (add_file(c->vfs, "task.xml", task->xml) && add_file(c->vfs, "top.xml", top))
    c->m = mj_loadXML("top.xml", c->vfs, c->reason, 1000);
}

static mjModel *compile_model(const EnvDef *def, Error *error) {
  char reason[1000] = "the engine gave no reason";
  Rescue r = { .text = "" };
  Compile c = { .def = def, .vfs = calloc(1, sizeof(mjVFS)), .reason = reason };
  if (!c.vfs) return error_set(error, FAIL_RUNNING, "out of memory"), NULL;
  mj_defaultVFS(c.vfs);
  bool ok = guarded(&r, compile, &c);
  mj_deleteVFS(c.vfs);
  free(c.vfs);
  if (!ok || !c.m)
    error_set(error, FAIL_RUNNING, "the model does not compile with %s: %s", mujoco_release(),
              ok ? reason : r.text);
  return ok ? c.m : NULL;
}

static void *model_load(const EnvDef *def, Error *error) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install_hooks);
  if (mj_version() != mjVERSION_HEADER) {
    error_set(error, FAIL_RUNNING,
              "compiled with the headers of MuJoCo %d, but the library loaded is %d (%s); "
              "rebuild, or put the library it was built with first in LD_LIBRARY_PATH",
              mjVERSION_HEADER, mj_version(), mujoco_release());
    return NULL;
  }
  Model *model = calloc(1, sizeof *model);
  if (!model) return error_set(error, FAIL_RUNNING, "out of memory"), NULL;
  model->def = def;
  model->task = def->spec;
  model->m = compile_model(def, error);
  if (!model->m) return free(model), NULL;
  CHECK(model->m->nu == def->act_dim, "%s: %d actuators, act_dim %d", def->name, (int)model->m->nu,
        def->act_dim);
  return model;
}

static void model_unload(void *compiled) {
  Model *model = compiled;
  mj_deleteModel(model->m);
  free(model);
}

/* ---- simulations ----------------------------------------------------------------------------- */

static void make_data(void *context) {
  Sim *sim = context;
  sim->d = mj_makeData(sim->model->m);
}

static void sim_destroy(void *context) {
  Sim *sim = context;
  if (sim->d) mj_deleteData(sim->d);
  free(sim->before);
  free(sim);
}

static void *sim_create(const void *compiled, Error *error) {
  const Model *model = compiled;
  Rescue r = { .text = "out of memory" };
  Sim *sim = calloc(1, sizeof *sim);
  if (sim) {
    sim->model = model;
    sim->before = calloc((size_t)(model->m->nq + model->m->nv), sizeof(double));
    if (sim->before && guarded(&r, make_data, sim) && sim->d) return sim;
    sim_destroy(sim);
  }
  error_set(error, FAIL_RUNNING, "no simulation could be made: %s", r.text);
  return NULL;
}

static Body body_of(const Sim *sim, const double *qpos, const double *qvel) {
  const Model *model = sim->model;
  return (
      Body){ .qpos = qpos, .qvel = qvel, .dt = model->m->opt.timestep * model->task->frame_skip };
}

static void sim_observe(const void *context, float *obs) {
  const Sim *sim = context;
  Body body = body_of(sim, sim->d->qpos, sim->d->qvel);
  sim->model->task->observe(&body, obs);
}

static void forward(void *context) {
  Sim *sim = context;
  mj_forward(sim->model->m, sim->d);
}

static void sim_set_positions(void *context, const double *qpos, const double *qvel) {
  Sim *sim = context;
  const mjModel *m = sim->model->m;
  Rescue r;
  mj_resetData(m, sim->d);
  memcpy(sim->d->qpos, qpos, (size_t)m->nq * sizeof(double));
  memcpy(sim->d->qvel, qvel, (size_t)m->nv * sizeof(double));
  guarded(&r, forward, sim); /* an error comes back in the first step, which reports it */
}

static double draw_noise(ResetNoise noise, Rng rng, uint64_t episode, uint32_t i) {
  if (noise.kind == NOISE_NORMAL) return noise.scale * rng_normal(rng, episode, 0, i);
  return noise.scale * (2 * rng_uniform(rng, episode, 0, i) - 1);
}

static void sim_reset(void *context, Rng rng, uint64_t episode) {
  Sim *sim = context;
  const mjModel *m = sim->model->m;
  const MujocoTask *task = sim->model->task;
  double *qpos = sim->before, *qvel = sim->before + m->nq;
  for (int i = 0; i < m->nq; i++)
    qpos[i] = m->qpos0[i] + draw_noise(task->qpos_noise, rng, episode, (uint32_t)i);
  for (int i = 0; i < m->nv; i++)
    qvel[i] = draw_noise(task->qvel_noise, rng, episode, (uint32_t)(m->nq + i));
  sim_set_positions(sim, qpos, qvel);
}

static void advance(void *context) {
  Sim *sim = context;
  for (int i = 0; i < sim->model->task->frame_skip; i++) mj_step(sim->model->m, sim->d);
}

static void set_controls(Sim *sim, const float *act) {
  for (int i = 0; i < sim->model->m->nu; i++) sim->d->ctrl[i] = (double)act[i];
}

static void sim_advance(void *context, const float *act) {
  set_controls(context, act);
  advance(context);
}

/* False if the engine has reset the state, or would at the start of the next step. */
static bool state_is_sound(const Sim *sim) {
  const mjModel *m = sim->model->m;
  const mjData *d = sim->d;
  if (d->warning[mjWARN_BADQPOS].number || d->warning[mjWARN_BADQVEL].number ||
      d->warning[mjWARN_BADQACC].number)
    return false;
  for (int i = 0; i < m->nq; i++)
    if (!(fabs(d->qpos[i]) < mjMAXVAL)) return false;
  for (int i = 0; i < m->nv; i++)
    if (!(fabs(d->qvel[i]) < mjMAXVAL)) return false;
  return true;
}

static bool sim_step(void *context, const float *act, const float *charged, double *reward,
                     bool *terminal) {
  Sim *sim = context;
  const mjModel *m = sim->model->m;
  const MujocoTask *task = sim->model->task;
  double *qpos = sim->before, *qvel = sim->before + m->nq;
  memcpy(qpos, sim->d->qpos, (size_t)m->nq * sizeof(double));
  memcpy(qvel, sim->d->qvel, (size_t)m->nv * sizeof(double));
  set_controls(sim, act);

  Rescue r;
  if (!guarded(&r, advance, sim) || !state_is_sound(sim)) {
    sim_set_positions(sim, qpos, qvel);
    return false;
  }
  Body before = body_of(sim, qpos, qvel), after = body_of(sim, sim->d->qpos, sim->d->qvel);
  *reward = task->reward(&before, &after, charged);
  *terminal = task->healthy && !task->healthy(&after);
  return true;
}

/* ---- states ---------------------------------------------------------------------------------- */

typedef struct {
  double *at;
  int count;
} Part;

enum { PARTS = 6 };

/* All that mj_step reads: what follows a load is bit for bit what followed the save. */
static size_t state_parts(const Sim *sim, Part part[PARTS]) {
  const mjModel *m = sim->model->m;
  mjData *d = sim->d;
  const Part all[PARTS] = { { &d->time, 1 },         { d->qpos, (int)m->nq },
                            { d->qvel, (int)m->nv }, { d->act, (int)m->na },
                            { d->ctrl, (int)m->nu }, { d->qacc_warmstart, (int)m->nv } };
  size_t bytes = 0;
  for (int i = 0; i < PARTS; i++) bytes += (size_t)all[i].count * sizeof(double);
  memcpy(part, all, sizeof all);
  return bytes;
}

static size_t sim_state_size(const void *context) {
  Part part[PARTS];
  return state_parts(context, part);
}

static void sim_state_save(const void *context, void *state) {
  Part part[PARTS];
  char *to = state;
  state_parts(context, part);
  for (int i = 0; i < PARTS; i++) {
    size_t bytes = (size_t)part[i].count * sizeof(double);
    if (bytes) memcpy(to, part[i].at, bytes);
    to += bytes;
  }
}

static void sim_state_load(void *context, const void *state) {
  Sim *sim = context;
  Part part[PARTS];
  const char *from = state;
  mj_resetData(sim->model->m, sim->d);
  state_parts(sim, part);
  for (int i = 0; i < PARTS; i++) {
    size_t bytes = (size_t)part[i].count * sizeof(double);
    if (bytes) memcpy(part[i].at, from, bytes);
    from += bytes;
  }
}

static int sim_nq(const void *context) { return (int)((const Sim *)context)->model->m->nq; }
static int sim_nv(const void *context) { return (int)((const Sim *)context)->model->m->nv; }

static void sim_positions(const void *context, double *qpos, double *qvel) {
  const Sim *sim = context;
  memcpy(qpos, sim->d->qpos, (size_t)sim_nq(sim) * sizeof(double));
  memcpy(qvel, sim->d->qvel, (size_t)sim_nv(sim) * sizeof(double));
}

const EnvOps mujoco_ops = {
  .load = model_load,
  .unload = model_unload,
  .create = sim_create,
  .destroy = sim_destroy,
  .reset = sim_reset,
  .step = sim_step,
  .observe = sim_observe,
  .advance = sim_advance,
  .state_size = sim_state_size,
  .state_save = sim_state_save,
  .state_load = sim_state_load,
  .nq = sim_nq,
  .nv = sim_nv,
  .positions = sim_positions,
  .set_positions = sim_set_positions,
};

/* ---- questions about the library and the models ---------------------------------------------- */

const char *mujoco_release(void) {
  static _Thread_local char text[64];
  snprintf(text, sizeof text, "mujoco %s", mj_versionString());
  return text;
}

bool mujoco_body(const EnvModel *model, const char *name, double *mass, double inertia[3],
                 double centre[3]) {
  const mjModel *m = ((const Model *)model->compiled)->m;
  int body = mj_name2id(m, mjOBJ_BODY, name);
  if (body < 0) return false;
  *mass = m->body_mass[body];
  memcpy(inertia, m->body_inertia + 3 * body, 3 * sizeof(double));
  memcpy(centre, m->body_ipos + 3 * body, 3 * sizeof(double));
  return true;
}
