/* env_ops.h -- the seam between env.c and the simulators: what a simulator must be able to do.
 * Private to envs/.  A simulator sees clipped, finite actions and knows nothing of horizons. */
#ifndef ENVS_ENV_OPS_H
#define ENVS_ENV_OPS_H
#include "core/rng.h"
#include "envs/env.h"

typedef struct EnvOps EnvOps;

struct EnvOps {
  /* Compile def's model; NULL and an error if it does not. */
  void *(*load)(const EnvDef *def, Error *error);
  void (*unload)(void *model);
  /* One simulation of the model, which must outlive it. */
  void *(*create)(const void *model, Error *error);
  void (*destroy)(void *sim);

  /* The start state of this episode: draw i of the stream is (noise, episode, 0, i). */
  void (*reset)(void *sim, Rng noise, uint64_t episode);
  /* One control step; effort is charged for `charged`, the action given or act again.  False: the
   * simulator gave up, and the state is the one before the step. */
  bool (*step)(void *sim, const float *act, const float *charged, double *reward, bool *terminal);
  void (*observe)(const void *sim, float *obs);
  /* nullable: what the simulator itself does in a control step, and nothing else */
  void (*advance)(void *sim, const float *act);

  size_t (*state_size)(const void *sim);
  void (*state_save)(const void *sim, void *state);
  void (*state_load)(void *sim, const void *state);

  int (*nq)(const void *sim);
  int (*nv)(const void *sim);
  void (*positions)(const void *sim, double *qpos, double *qvel);
  void (*set_positions)(void *sim, const double *qpos, const double *qvel);
};

struct EnvModel {
  const EnvDef *def;
  void *compiled; /* the simulator's own */
};

extern const EnvOps mujoco_ops; /* and analytic_ops, of analytic.h */

#endif
