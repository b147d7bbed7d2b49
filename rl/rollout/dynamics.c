/* dynamics.c -- one simulation, put into one state after the other. */
#include "rl/rollout/dynamics.h"
#include "core/sort.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const int dynamics_span[DYNAMICS_SPANS] = { 1, 4, 8, 16 };

/* ---- the unit of errors ---------------------------------------------------------------------- */

/* mean over transitions of (change of entry j - centre)^power; a terminal row has no successor */
static double moment(const Dataset *data, int j, double centre, int power) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < data->transitions; i++) {
    int64_t row = data->transition[i];
    if (data->terminals && data->terminals[row]) continue;
    const float *s = data->observations + row * data->obs_dim + j;
    double d = (double)s[data->obs_dim] - (double)*s - centre;
    sum += power == 1 ? d : d * d;
    count++;
  }
  return count ? sum / (double)count : 0;
}

void dynamics_scale(const Dataset *data, float *scale) {
  /* the deviation of one step's change, so that errors of all entries count alike */
  for (int j = 0; j < data->obs_dim; j++) {
    float deviation = (float)sqrt(moment(data, j, moment(data, j, 0, 1), 2));
    scale[j] = deviation > 0 ? deviation : 1;
  }
}

/* ---- trajectories ---------------------------------------------------------------------------- */

typedef struct {
  Env *env;
  const float *scale;
  int obs_dim, act_dim, width;
} Replay;

static bool replay_open(Replay *replay, const EnvModel *model, const float *scale, Error *error) {
  const EnvDef *def = env_def(model);
  float obs[ENV_MAX_OBS];
  *replay = (Replay){ .env = env_create(model, error), .scale = scale };
  replay->obs_dim = def->obs_dim, replay->act_dim = def->act_dim;
  replay->width = def->obs_dim + def->act_dim;
  if (!replay->env) return false;
  /* tried once: for some tasks an observation does not tell the state */
  env_reset(replay->env, 0, 0, obs);
  if (env_set_observed(replay->env, obs)) return true;
  env_free(replay->env);
  return error_set(error, FAIL_USAGE, "%s cannot be put into the state of an observation",
                   def->name);
}

bool dynamics_open(const EnvModel *model, Error *error) {
  Replay replay;
  if (!replay_open(&replay, model, NULL, error)) return false;
  env_free(replay.env);
  return true;
}

/* squared distance of two observations, each entry in its unit */
static double squares(const Replay *replay, const float *a, const float *b) {
  double sum = 0;
  for (int j = 0; j < replay->obs_dim; j++) {
    double d = ((double)a[j] - (double)b[j]) / (double)replay->scale[j];
    sum += d * d;
  }
  return sum;
}

/* step [width]: an action and the state that it is done in */
static void replay_steps(const Replay *replay, const float *step, int horizon, Dynamics *sums) {
  float obs[ENV_MAX_OBS];
  for (int t = 0; t + 1 < horizon; t++, step += replay->width) {
    const float *state = step + replay->act_dim, *next = state + replay->width;
    /* from the trajectory's own state at every step, so that errors do not add up */
    env_set_observed(replay->env, state);
    sums->failures += env_step(replay->env, step, obs).failed;
    sums->error += squares(replay, obs, next);
    /* beside it, the error of saying that nothing changes */
    sums->no_change += squares(replay, state, next);
  }
}

/* All actions from the first state on, without correction: how far the states drift apart. */
static void replay_drift(const Replay *replay, const float *step, int horizon, Dynamics *sums) {
  float obs[ENV_MAX_OBS];
  env_set_observed(replay->env, step + replay->act_dim);
  for (int t = 1; t < horizon; t++) {
    /* compared at a few distances, up to the length of the trajectory */
    env_step(replay->env, step + (t - 1) * replay->width, obs);
    for (int k = 0; k < DYNAMICS_SPANS; k++)
      if (dynamics_span[k] == t)
        sums->drift[k] += squares(replay, obs, step + t * replay->width + replay->act_dim);
  }
}

bool dynamics_measure(const EnvModel *model, const float *scale, const float *trajectories,
                      int count, int horizon, Dynamics *result, Error *error) {
  Replay replay;
  if (!replay_open(&replay, model, scale, error)) return false;
  /* both replays of every trajectory, added up */
  *result = (Dynamics){ 0 };
  for (int i = 0; i < count; i++) {
    const float *step = trajectories + (ptrdiff_t)i * horizon * replay.width;
    replay_steps(&replay, step, horizon, result);
    replay_drift(&replay, step, horizon, result);
  }
  env_free(replay.env);
  /* sums of squares to root mean squares over trajectories, steps and entries */
  double states = (double)count * replay.obs_dim;
  result->error = sqrt(result->error / (states * (horizon - 1)));
  result->no_change = sqrt(result->no_change / (states * (horizon - 1)));
  for (int k = 0; k < DYNAMICS_SPANS; k++)
    result->drift[k] = dynamics_span[k] < horizon ? sqrt(result->drift[k] / states) : (double)NAN;
  return true;
}

bool dynamics_play(const EnvModel *model, const float *trajectories, int count, int horizon,
                   float *played, Error *error) {
  Replay replay;
  if (!replay_open(&replay, model, NULL, error)) return false;
  size_t size = (size_t)horizon * (size_t)replay.width;
  memcpy(played, trajectories, (size_t)count * size * sizeof *played);
  /* actions stay as they are; every state but the first becomes the simulator's */
  for (int i = 0; i < count; i++) {
    float *step = played + (size_t)i * size;
    env_set_observed(replay.env, step + replay.act_dim);
    for (int t = 1; t < horizon; t++, step += replay.width)
      env_step(replay.env, step, step + replay.width + replay.act_dim);
  }
  env_free(replay.env);
  return true;
}

/* ---- who made a file ------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double dynamics_misfit(const EnvModel *model, const Dataset *data) {
  enum { LOOKS = 200 };
  Error ignored;
  Replay replay;
  float scale[ENV_MAX_OBS], obs[ENV_MAX_OBS];
  double error[LOOKS];
  int count = 0;
  if (data->obs_dim != env_def(model)->obs_dim || data->act_dim != env_def(model)->act_dim ||
      !replay_open(&replay, model, scale, &ignored))
    return NAN;
  dynamics_scale(data, scale);
  for (int i = 0; i < LOOKS; i++) {
    /* a terminal row's successor belongs to another episode */
    int64_t row = data->transition[data->transitions * i / LOOKS];
    if (data->terminals && data->terminals[row]) continue;
    const float *state = data->observations + row * data->obs_dim;
    env_set_observed(replay.env, state);
    if (env_step(replay.env, data->actions + row * data->act_dim, obs).failed) continue;
    error[count++] = sqrt(squares(&replay, obs, state + data->obs_dim) / data->obs_dim);
  }
  env_free(replay.env);
  /* the best tenth: where limbs collide another release of the simulator differs, and velocities
   * that the observation clipped cannot be set */
  sort(error, (size_t)count, sizeof *error, ascending);
  return count ? error[count / 10] : (double)NAN;
}
