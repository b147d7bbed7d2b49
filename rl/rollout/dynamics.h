/* dynamics.h -- do trajectories obey the simulator?
 *
 * A trajectory [horizon, act_dim + obs_dim] is a_0 s_0 a_1 s_1 .. in the data's units.  The
 * simulation is put into s_t, does a_t, and is compared with s_{t+1}; for a drift it is put into
 * s_0 and does a_0 .. a_{k-1}.  Errors are root mean squares over trajectories, steps and entries,
 * each entry divided by the deviation of its change in one step of the data. */
#ifndef RL_DYNAMICS_H
#define RL_DYNAMICS_H
#include "datasets/dataset.h"
#include "envs/env.h"

enum { DYNAMICS_SPANS = 4 };
extern const int dynamics_span[DYNAMICS_SPANS]; /* 1, 4, 8, 16 steps */

typedef struct {
  double error;                 /* of the next state */
  double no_change;             /* if the next state were the present one */
  double drift[DYNAMICS_SPANS]; /* after so many steps; NAN for more than a trajectory has */
  int failures;                 /* steps in which the simulator gave up, which count as no change */
} Dynamics;

/* scale [obs_dim]: the standard deviation of s_{t+1} - s_t over the transitions of the file. */
void dynamics_scale(const Dataset *data, float *scale);

/* Can trajectories of this task be measured? */
bool dynamics_open(const EnvModel *model, Error *error);

/* False if the simulation cannot be set up, or not from an observation (env_set_observed). */
bool dynamics_measure(const EnvModel *model, const float *scale, const float *trajectories,
                      int count, int horizon, Dynamics *result, Error *error);

/* From each trajectory's s_0 on, its actions in the simulator: played [count, horizon, width], the
 * actions as they are.  Fails likewise. */
bool dynamics_play(const EnvModel *model, const float *trajectories, int count, int horizon,
                   float *played, Error *error);

/* How far this task is from having made the file: the error of the next state that nine tenths of
 * the transitions looked at exceed, in the unit of errors.  NAN if the simulation cannot be set up,
 * or not from an observation, or if the sizes differ. */
double dynamics_misfit(const EnvModel *model, const Dataset *data);

#endif
