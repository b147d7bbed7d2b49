/* mujoco.h -- a task simulated by MuJoCo: a model, a few numbers and three small functions.
 *
 * hopper.c is a complete one.  Tasks see a Body and never MuJoCo itself, which only mujoco.c
 * includes. */
#ifndef ENVS_MUJOCO_H
#define ENVS_MUJOCO_H
#include "core/error.h"
#include "envs/env.h"
#include <stdbool.h>

/* The generalised state of the whole model; valid during the call that receives it. */
typedef struct {
  const double *qpos; /* [nq], SI units and radians */
  const double *qvel; /* [nv] */
  double dt;          /* seconds of one control step */
} Body;

/* What a reset adds to every entry: U(-scale, scale) or N(0, scale^2). */
typedef struct {
  enum { NOISE_UNIFORM, NOISE_NORMAL } kind;
  double scale;
} ResetNoise;

typedef struct {
  const char *xml; /* MJCF text, see models.h */
  int frame_skip;  /* simulator steps a control step */
  ResetNoise qpos_noise, qvel_noise;
  void (*observe)(const Body *body, float *obs /* [obs_dim] */);
  double (*reward)(const Body *before, const Body *after, const float *act /* [act_dim] */);
  bool (*healthy)(const Body *body); /* terminal when false; NULL: never terminal */
} MujocoTask;

/* "mujoco 2.2.2": the library linked. */
const char *mujoco_release(void);

/* Mass [kg], principal moments [kg m^2] and centre of mass in the body's frame [m] of a named body
 * of a model that MuJoCo compiled; false if there is no such body. */
bool mujoco_body(const EnvModel *model, const char *name, double *mass, double inertia[3],
                 double centre[3]);

#endif
