/* env.h -- tasks that can be simulated: constant description (EnvDef), compiled model (EnvModel,
 * read-only, shared by all workers) and one simulation (Env).
 *
 *   EnvModel *model = env_load(env_find("hopper-v2"), &error);
 *   Env *env = env_create(model, &error);
 *   env_reset(env, seed, episode, obs);
 *   while (!(step = env_step(env, act, obs)).terminal && !step.timeout) ...
 *
 * Actions are in the task's own units, [act_low, act_high] a dimension, and are clipped to them
 * before the simulator sees them.  What effort costs is counted of the clipped action, as D4RL's
 * wrapper does, or of the one given, as Gymnasium's -v4 tasks do.  Observations are float32. */
#ifndef ENVS_ENV_H
#define ENVS_ENV_H
#include "core/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct EnvDef EnvDef;
typedef struct EnvModel EnvModel;
typedef struct Env Env;

enum { ENV_MAX_OBS = 128, ENV_MAX_ACT = 32 };

typedef struct {
  float reward;
  bool terminal; /* the task is over: no value beyond this state */
  bool timeout;  /* the horizon is reached: the state goes on, the episode does not */
  bool failed;   /* the simulator gave up (a silent reset, say); counts as terminal too */
} EnvStep;

/* What one simulation task supplies; see hopper.c for a complete one. */
struct EnvDef {
  const char *name;    /* "hopper-v2": task and physics */
  const char *task;    /* "hopper" */
  const char *physics; /* "v2", "v4", or "none" */
  const char *about;   /* one line for `list envs` */
  int obs_dim, act_dim, horizon;
  double act_low, act_high;            /* the same for every dimension */
  double return_random, return_expert; /* D4RL's reference returns; both 0: none for this task */
  bool d4rl_reference;      /* normalised returns are shown by default (the v2 physics) */
  bool charges_given;       /* effort is that of the action given, not of the clipped one */
  const struct EnvOps *ops; /* how it is simulated */
  const void *spec;         /* the simulator's own description (a MujocoTask) */
};

const EnvDef *const *env_list(size_t *count);
const EnvDef *env_find(const char *name); /* NULL if unknown */

/* 100 (return - random) / (expert - random); only where return_expert > return_random. */
double env_normalized(const EnvDef *def, double episode_return);

/* NULL and an error if the model does not compile.  env_unload(NULL) is allowed.  Not while other
 * threads step: MuJoCo's compiler borrows the process-wide error hook. */
EnvModel *env_load(const EnvDef *def, Error *error);
void env_unload(EnvModel *model);
const EnvDef *env_def(const EnvModel *model);

Env *env_create(const EnvModel *model, Error *error);
void env_free(Env *env); /* env may be NULL */

/* Start episode number `episode` of stream `seed`: the same state whatever came before. */
void env_reset(Env *env, uint64_t seed, uint64_t episode, float *obs /* [obs_dim] */);

/* One control step.  After terminal or timeout, reset before the next step.  A step that failed
 * (the simulator gave up, or the action holds a NaN) earns 0 and leaves state and obs as they
 * were. */
EnvStep env_step(Env *env, const float *act /* [act_dim] */, float *obs /* [obs_dim] */);

/* What the simulator itself does in env_step, and nothing else: no clipping, reward, observation or
 * check.  For measuring; CHECKs that the simulator (MuJoCo) has it. */
void env_advance(Env *env, const float *act /* [act_dim] */);

/* The whole simulator state, warm start and episode step included: after a load, the steps that
 * follow are bit for bit those that followed the save (same simulator release and machine type). */
size_t env_state_size(const Env *env);
void env_state_save(const Env *env, void *state);
bool env_state_load(Env *env, const void *state); /* false, unchanged: no simulation is so */

/* Generalised positions and velocities for data files; sizes may be 0. */
int env_nq(const Env *env);
int env_nv(const Env *env);
void env_positions(const Env *env, double *qpos /* [nq] */, double *qvel /* [nv] */);

/* Put the simulation into this state, as a reset would: no warm start, episode step 0.  For tests
 * and for replaying recorded transitions. */
void env_set_positions(Env *env, const double *qpos /* [nq] */, const double *qvel /* [nv] */,
                       float *obs /* [obs_dim] */);

/* The same from an observation [obs_dim], where observations are positions without the first (a
 * place along the track, which changes nothing; 0 is taken) and then velocities.  False, and
 * nothing changed, for tasks whose observations are of another size.  A velocity that was clipped
 * stays so. */
bool env_set_observed(Env *env, const float *obs);

/* "mujoco 2.2.2": the simulator in use, for records. */
const char *env_simulator(void);

#endif
